"""Runs a launcher's `main` in this process, as its command line would."""

from collections.abc import Callable, Iterator
import contextlib
import functools
import io
import math
import os
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
# A network is read once for all the tests.
load = functools.cache(models.load)


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
