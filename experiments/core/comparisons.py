"""The comparisons of a config: `(metric, a, b, claim)`, of two methods."""

from collections.abc import Collection, Mapping
from typing import Any

from experiments.core import naming
from experiments.core import statistics


def check(config: Mapping[str, Any], metrics: Collection[str]) -> None:
  """Refuses a comparison in which a word is wrong.

  Args:
    config: has `methods` by label and `comparisons`.
    metrics: the values that can be compared.

  Raises:
    ValueError: a tuple that is no comparison, or an unknown name in it.
  """
  for comparison in config['comparisons']:
    if len(comparison) != 4 or isinstance(comparison, str):
      raise ValueError(
        'config.comparisons: expected (metric, a, b, claim), got '
        f'{comparison!r}'
      )
    metric, a, b, claim = comparison
    for what, name, known in (
      ('metric', metric, metrics),
      ('method', a, config['methods']),
      ('method', b, config['methods']),
      ('claim', claim, statistics.CLAIMS),
    ):
      naming.check(f'config.comparisons: {what}', name, known)
