"""The flags of launchers that a config drives: `--config` and `--workdir`."""

import pathlib
from typing import Any

from absl import flags
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'What to run: a file of experiments/configs/.'
)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run: all that it writes, and resumes from.'
)


def read() -> tuple[dict[str, Any], pathlib.Path]:
  """Returns the config, and the folder of the run, which it does not make.

  Raises:
    ValueError: one of the two is missing, or a flag is given that the config
      or the folder replaces.
  """
  for flag, instead in (('seed', 'config.seed'), ('out', 'workdir')):
    if flags.FLAGS[flag].present:
      raise ValueError(f'--{flag} is not used here, expected --{instead}')
  if _CONFIG.value is None or not _WORKDIR.value:
    raise ValueError('expected --config and --workdir')
  return _CONFIG.value.to_dict(), pathlib.Path(_WORKDIR.value).expanduser()
