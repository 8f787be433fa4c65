"""The flags of launchers that a config drives: `--config` and `--workdir`."""

from collections.abc import Callable
import os
import pathlib
import traceback
from typing import Any

from absl import flags
import ml_collections
from ml_collections import config_flags

from experiments.core import files

_CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'What to run: a file of experiments/configs/. It is a program, and is run: '
  'take none that you would not run.',
)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run: all that it writes, and resumes from.'
)


def read() -> tuple[dict[str, Any], pathlib.Path]:
  """Returns the config, and the folder of the run, which it does not make.

  Raises:
    ValueError: one of the two is missing, a flag is given that the config or
      the folder replaces, or the seed is none.
  """
  for flag, instead in (('seed', 'config.seed'), ('out', 'workdir')):
    if flags.FLAGS[flag].present:
      raise ValueError(f'--{flag} is not used here, expected --{instead}')
  if _CONFIG.value is None or _WORKDIR.value is None:
    raise ValueError('expected --config and --workdir')
  config = _CONFIG.value.to_dict()
  seed = config.get('seed', 0)
  if type(seed) is not int or not 0 <= seed < 2**32:
    raise ValueError(
      f'config.seed is {seed!r}, expected a whole number from 0 to 2**32 - 1'
    )
  return config, files.folder('workdir', _WORKDIR.value)


def _load(load: Callable[[str], Any], text: str) -> ml_collections.ConfigDict:
  """Loads a config; its faults are told by the config's file and line.

  Args:
    load: what `ml_collections` does.
    text: of the flag: a path, and an argument after a colon.

  Raises:
    ValueError: no such file, no config in it, or an error of its own.
  """
  path = text.partition(':')[0]
  if not os.path.isfile(path):
    raise ValueError(
      f'{path!r} is no file, expected one of experiments/configs/'
    )
  try:
    config = load(text)
  except Exception as e:
    # `ml_collections` puts the traceback of some errors into another's message.
    cause = e.__context__ or e
    if type(cause) is ValueError:
      raise cause from None
    raise ValueError(_fault(cause, path)) from e
  if not isinstance(config, ml_collections.ConfigDict):
    raise ValueError(
      f'get_config() returns {type(config).__name__}, expected a '
      'ml_collections.ConfigDict'
    )
  return config


def _fault(error: BaseException, path: str) -> str:
  """Says what a config raised, and in which line of it."""
  if isinstance(error, SyntaxError):
    return f'line {error.lineno}: {error.msg}'
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if frame.filename == path
  ]
  told = f'{type(error).__name__}: {error}'
  if lines:
    return f'line {lines[-1]}: {told}'
  if isinstance(error, AttributeError):
    return 'the file has no function get_config()'
  return told


_parser = flags.FLAGS['config'].parser
_parser.parse = lambda text, load=_parser.parse: _load(load, text)
