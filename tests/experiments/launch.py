"""Runs a launcher's `main` in this process, as its command line would."""

import atexit
from collections.abc import Callable, Iterator, Sequence
import contextlib
import functools
import io
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple
from unittest import mock

from absl import flags
from absl.testing import flagsaver
import jax
from jax.experimental.compilation_cache import compilation_cache

from experiments.core import app
from experiments.core import progressing
from saliency_jax import data
from saliency_jax import models

_CONFIG = (
  'jax_compilation_cache_dir',
  'jax_enable_compilation_cache',
  'jax_persistent_cache_min_compile_time_secs',
  'jax_persistent_cache_min_entry_size_bytes',
)
# Compiled programs are kept for all the processes that tests start.
CACHE = os.environ['JAX_COMPILATION_CACHE_DIR']
# A network is read once for all the tests, and each example of a package.
load = functools.cache(models.load)
_open, _stack = data.load, data.arrays
_PACKAGED = ('digits', 'photos')


@functools.cache
def _packaged(name: str, split: str) -> data.Source:
  source = _open(name, split)
  read = functools.cache(source.__getitem__)
  return data.Source(
    lambda i: dict(read(i)),
    len(source),
    name=name,
    class_names=source.class_names,
  )


def _load_data(name, split='test', **where):
  packaged = name in _PACKAGED
  return _packaged(name, split) if packaged else _open(name, split, **where)


_stack_once = functools.cache(_stack)


def _arrays(source):
  packaged = getattr(source, 'name', None) in _PACKAGED
  return _stack_once(source) if packaged else _stack(source)


def _two_devices():
  """Returns a mesh on which few examples leave no device without any."""
  return jax.make_mesh(
    (2,),
    ('data',),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=jax.devices()[:2],
  )


class Outcome(NamedTuple):
  code: int  # 0, or what the process would have exited with.
  stdout: str
  stderr: str


# One process imports a launcher, and each command is a child of its own, as if
# it were run alone: JAX starts its devices, and threads, in the child. What
# stands between them waits for its end.
_SERVER = """
import importlib, json, os, pathlib, sys
import jax
from experiments.core import app
launcher = sys.argv[1]
main = importlib.import_module('experiments.' + launcher).main
for line in sys.stdin:
  arguments, out, num_devices = json.loads(line)
  out = pathlib.Path(out)
  if os.fork():
    continue
  child = os.fork()
  if child:
    print(child, flush=True)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    (out / 'written').write_text(str(code))
    (out / 'written').rename(out / 'code')
    os._exit(0)
  os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
  for i, name in enumerate(('stdout', 'stderr'), 1):
    os.dup2(os.open(out / name, os.O_WRONLY | os.O_CREAT), i)
  if num_devices is not None:
    jax.config.update('jax_num_cpu_devices', num_devices)
  sys.argv = [launcher, *arguments]
  app.run(main)
"""


class Process(NamedTuple):
  """A launcher that runs in a process of its own."""

  pid: int
  out: pathlib.Path  # Where its code, stdout and stderr are written.

  def ended(self) -> bool:
    return (self.out / 'code').exists()

  def kill(self) -> None:
    """Kills it, if it has not ended, and waits until it has."""
    with contextlib.suppress(ProcessLookupError):
      os.kill(self.pid, signal.SIGKILL)
    self.wait()

  def wait(self, seconds: float = 300) -> Outcome:
    deadline = time.monotonic() + seconds
    while not self.ended():
      if time.monotonic() > deadline:
        raise TimeoutError(f'{self} has not ended')
      time.sleep(0.01)
    return Outcome(
      int((self.out / 'code').read_text()),
      *((self.out / name).read_text() for name in ('stdout', 'stderr')),
    )


@functools.cache
def _server(launcher):
  server = subprocess.Popen(
    [sys.executable, '-c', _SERVER, launcher],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  atexit.register(server.wait)
  atexit.register(server.kill)  # Before it waits.
  return server


def start(
  launcher: str,
  arguments: Sequence[str],
  out: pathlib.Path,
  num_devices: int | None = None,
) -> Process:
  """Starts a command line of a launcher in a process.

  Args:
    launcher: its name.
    arguments: of the command line.
    out: an empty folder for what it prints.
    num_devices: how many JAX has there.
  """
  server = _server(launcher)
  server.stdin.write(json.dumps((arguments, str(out), num_devices)) + '\n')
  server.stdin.flush()
  return Process(int(server.stdout.readline()), out)


def commands(launcher: str, *commands: list[str]) -> list[Outcome]:
  """Runs command lines of a launcher that end soon, each in a process.

  Args:
    launcher: its name.
    *commands: the arguments of each.
  """
  done = []
  for command in commands:
    with tempfile.TemporaryDirectory() as folder:
      done.append(start(launcher, command, pathlib.Path(folder)).wait())
  return done


def run(main: Callable[[app.Setup], None], **values: Any) -> Outcome:
  """Sets flags, runs `main`, and puts flags and JAX back as they were."""
  # array_record defines flags when it is first used: flagsaver would drop them.
  data.load('photos')
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])
  values.setdefault('compilation_cache_dir', CACHE)
  stdout, stderr, code = io.StringIO(), io.StringIO(), 0
  with (
    flagsaver.flagsaver(**values),
    config_restored(),
    mock.patch.object(models, 'load', load),
    mock.patch.object(data, 'load', _load_data),
    mock.patch.object(data, 'arrays', _arrays),
    mock.patch.object(app, 'local_mesh', _two_devices),
    # A slow machine adds no line to what a test reads.
    mock.patch.object(progressing, '_SECONDS', math.inf),
    contextlib.redirect_stdout(stdout),
    contextlib.redirect_stderr(stderr),
  ):
    try:
      with app.user_errors():
        main(app.set_up())
    except SystemExit as e:
      code = e.code
  return Outcome(code, stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def config_restored() -> Iterator[None]:
  """Puts JAX's settings of its compilation cache back."""
  before = {name: getattr(jax.config, name) for name in _CONFIG}
  try:
    yield
  finally:
    for name, value in before.items():
      jax.config.update(name, value)
    compilation_cache.reset_cache()
