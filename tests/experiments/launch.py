"""Runs a launcher's `main` in this process, as its command line would."""

from collections.abc import Callable, Iterator
import contextlib
import functools
import io
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
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


# One process imports what they share, and each command is a child of its own,
# as if it were run alone: JAX starts its devices, and threads, in the child.
_COMMANDS = """
import importlib, json, os, sys
from experiments.core import app
launcher, commands = sys.argv[1], json.loads(sys.argv[2])
main = importlib.import_module('experiments.' + launcher).main
for arguments, stderr in commands:
  child = os.fork()
  if not child:
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT), 2)
    sys.argv = [launcher, *arguments]
    app.run(main)
  print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def commands(launcher: str, *commands: list[str]) -> list[Outcome]:
  """Runs command lines of a launcher that end soon, each in a process.

  Args:
    launcher: its name.
    *commands: the arguments of each.
  """
  with tempfile.TemporaryDirectory() as folder:
    paths = [pathlib.Path(folder, str(i)) for i in range(len(commands))]
    given = [
      (command, str(path))
      for command, path in zip(commands, paths, strict=True)
    ]
    done = subprocess.run(
      [sys.executable, '-c', _COMMANDS, launcher, json.dumps(given)],
      capture_output=True,
      text=True,
      check=True,
      timeout=200,
    )
    codes = map(int, done.stdout.split())
    return [
      Outcome(code, '', path.read_text())
      for code, path in zip(codes, paths, strict=True)
    ]


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
