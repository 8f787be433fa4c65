"""The claims of a config, as fields: what is said, and what decides it.

A claim is a dict, made by `configs.common.claim`:

  claim: what is claimed, in about eight words, for the table.
  paper: a key of `PAPERS`.
  where: its figure, table or section.
  rule: `FIXED`, or `SEEN` where the numbers were known when it was written.
  decides: comparisons `(metric, a, b, direction)`, all of which it takes: the
    paired difference of two methods, or of one and a number `b`, is below,
    above, not below or not above zero; or `a` rises or falls with `b`. "Not
    below" and "not above" may have a fifth part, a margin: the difference is
    not that far on the other side of zero, which can be shown of two that are
    equal.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from experiments.core import naming

PAPERS = {
  'LEG': 'Luo et al. 2021',
  'CASO': 'Singla et al. 2019',
  'Invariant': 'Ikeno and Hara 2018',
  'Certificates': 'Levine et al. 2019',
  'I-GOS': 'Qi et al. 2020',
  'Sanity checks': 'Adebayo et al. 2018',
  'none': 'a question of ours',
}
FIXED, SEEN = 'fixed before the run', 'seen'
# Where a difference, or a correlation, lies if a claim holds.
DIFFERENCES = {'below': -1, 'above': 1, 'not_below': 1, 'not_above': -1}
TRENDS = {'rises_with': 1, 'falls_with': -1}
DIRECTIONS = {**DIFFERENCES, **TRENDS}
# These say that there is no difference to speak of: they may have a margin.
MARGINAL = ('not_below', 'not_above')


def check(config: Mapping[str, Any], metrics: Collection[str]) -> None:
  """Refuses a claim in which a word is wrong.

  Args:
    config: has `methods` by label and `claims`; see `judged` for the rest.
    metrics: the values that can be compared.

  Raises:
    ValueError: no comparison, an unknown name, or no example that judges.
  """
  for claim in config['claims']:
    naming.check('config.claims: paper', claim['paper'], PAPERS)
    naming.check('config.claims: rule', claim['rule'], (FIXED, SEEN))
    for comparison in claim['decides']:
      metric, a, b, direction, margin = parts(comparison)
      names = [
        ('metric', metric, metrics),
        ('method', a, config['methods']),
        ('direction', direction, DIRECTIONS),
      ]
      if isinstance(b, str):
        names.append(('method', b, config['methods']))
      for what, name, known in names:
        naming.check(f'config.claims: {what}', name, known)
      if margin < 0 or (margin and direction not in MARGINAL):
        raise ValueError(
          f'config.claims: {comparison!r} has the margin {margin}, expected '
          f'one above 0, and a direction of {", ".join(MARGINAL)}'
        )
  judged(config)


def parts(comparison: Sequence[Any]) -> tuple[str, str, Any, str, float]:
  """Returns metric, a, b, direction and margin, which is 0 if not given.

  Raises:
    ValueError: it has not four parts or five.
  """
  if isinstance(comparison, str) or len(comparison) not in (4, 5):
    raise ValueError(
      'config.claims: expected (metric, a, b, direction), and perhaps a '
      f'margin, got {comparison!r}'
    )
  metric, a, b, direction, *margin = comparison
  return metric, a, b, direction, float(*margin)


def judged(config: Mapping[str, Any]) -> range:
  """Returns the indices of the examples that judge.

  Args:
    config: has `num_examples`; and `tune`, the number of the first examples,
      where these chose a setting, or were seen before the rule.

  Raises:
    ValueError: there are none, or none that choose the settings of `tuning`.
  """
  num, tune = config['num_examples'], config.get('tune', 0)
  least = 1 if 'tuning' in config else 0
  if not least <= tune < num:
    raise ValueError(
      f'config.tune is {tune}, expected {least} to {num - 1}: what chose a '
      f'setting does not judge it, and there are {num} examples'
    )
  return range(tune, num)


def without(
  claims: Sequence[Mapping[str, Any]], absent: Collection[str]
) -> tuple[tuple[dict[str, Any], ...], int]:
  """Returns claims without the comparisons of some methods, and their number.

  A claim that has none left is dropped.
  """
  found, dropped = [], 0
  for claim in claims:
    kept = tuple(c for c in claim['decides'] if not _names(c, absent))
    dropped += len(claim['decides']) - len(kept)
    if kept:
      found.append({**claim, 'decides': kept})
  return tuple(found), dropped


def _names(comparison, methods):
  """Returns whether a comparison is of a method, or of its bound."""
  _, a, b, *_ = comparison
  return any(
    f'{name}, '.startswith(f'{m}, ') for name in (a, b) for m in methods
  )
