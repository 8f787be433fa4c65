"""The flag `--methods`: some of the methods of a table, or of a config."""

from typing import Any

from absl import flags

from experiments.core import app
from experiments.core import claims
from experiments.core import naming

METHODS = flags.DEFINE_list(
  'methods',
  None,
  'Comma list: methods; or quick, what takes seconds, the default; or all. '
  'With a config: labels of its methods, in double quotes where a label has a '
  'comma; all by default.',
)


def restrict(config: dict[str, Any]) -> dict[str, Any]:
  """Returns a config with the methods of `--methods` alone, and says so.

  Comparisons of the others are dropped. What is returned names the others as
  `absent`, so its records are never taken for records of the whole config,
  whose folder must be another one.

  Raises:
    ValueError: a label that the config has not, or none.
  """
  if METHODS.value is None:
    return config
  for label in METHODS.value or ['']:
    naming.check('--methods', label, config['methods'])
  absent = [m for m in config['methods'] if m not in METHODS.value]
  if not absent:
    return config
  chosen = {k: v for k, v in config['methods'].items() if k not in absent}
  if 'tuning' in config:
    grids = config['tuning']['grids']
    grids = {k: v for k, v in grids.items() if k not in absent}
    config['tuning'] = {**config['tuning'], 'grids': grids}
  told = f'without {", ".join(absent)}'
  config = {**config, 'methods': chosen, 'absent': tuple(absent)}
  if config.get('claims'):
    whole = sum(len(claim['decides']) for claim in config['claims'])
    config['claims'], dropped = claims.without(config['claims'], absent)
    told += f': {dropped} of {whole} comparisons are dropped'
  if app.is_first():
    print(told)
  return config
