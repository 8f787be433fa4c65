"""From measured numbers to verdicts on a config's claims: one way for all.

A verdict is `reproduced` or `refuted` where the p-value of its comparison,
corrected by Holm's procedure over all comparisons of the config, is at most
.05, by the side that the difference is on; else it is `undecided`. With a
margin it is the side of the margin, not of zero (a test of non-inferiority, or
non-superiority). Fewer than 30 examples, or clusters of examples that depend on
one another, have an `interval only`. Where the rule was written when the
numbers were known, what is decided is only `seen`. A claim that takes several
comparisons is refuted if one of them is, and reproduced if all are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.core import app
from experiments.core import claims as claiming
from experiments.core import significance
from experiments.core import statistics

# The bootstrap of fewer is no evidence.
FEWEST = 30
REPRODUCED, REFUTED, UNDECIDED, INTERVAL, SEEN = (
  'reproduced',
  'refuted',
  'undecided',
  'interval only',
  'seen',
)
# Of one value: a number for each example, by the label of a method; or a truth,
# whose share is counted.
Columns = Mapping[str, Mapping[str, np.ndarray]]


def judge(
  claims: Sequence[Mapping[str, Any]],
  columns: Columns,
  clusters: Mapping[str, Sequence[Any]] | None = None,
) -> list[dict[str, Any]]:
  """Returns the verdict of every claim, and of each of its comparisons.

  Args:
    claims: of a config: see `claims.py`.
    columns: by metric and method, paired by their places; NaN is left out.
    clusters: by metric: of each place, where examples depend on one another.

  Returns:
    The claims, each with a `verdict` and, in the place of what decides it,
    `comparisons` with their number of examples and clusters, test, p-value,
    effect and interval.

  Raises:
    ValueError: a comparison of what was not measured.
  """
  clusters = clusters or {}
  asked = list(dict.fromkeys(tuple(c) for m in claims for c in m['decides']))
  found = {c: _compare(c, columns, clusters.get(c[0])) for c in asked}
  family = [c for c in asked if found[c]['clusters'] >= FEWEST]
  corrected = significance.holm([found[c]['p'] for c in family])
  for c in asked:
    found[c] |= {'p': None, 'verdict': INTERVAL}
  for c, p in zip(family, corrected, strict=True):
    found[c] |= {'p': p, 'verdict': _word(found[c] | {'p': p})}
  return [
    {
      **{k: v for k, v in claim.items() if k != 'decides'},
      'verdict': _joined(claim, [found[tuple(c)] for c in claim['decides']]),
      'comparisons': [found[tuple(c)] for c in claim['decides']],
    }
    for claim in claims
  ]


def table(verdicts: Sequence[Mapping[str, Any]]) -> str:
  """Returns verdicts as text: a line a comparison, under its claim's."""
  rows = []
  for claim in verdicts:
    rows.append((claim['claim'], '', '', '', claim['verdict']))
    rows += [
      (f'  {told(c)}', str(c['clusters']), effect(c), chance(c), c['verdict'])
      for c in claim['comparisons']
    ]
  header = ('claim', 'n', 'effect', 'p, corrected', 'verdict')
  return app.table(header, rows)


def told(comparison: Mapping[str, Any]) -> str:
  """Returns what is compared, in words."""
  c = comparison
  direction = c['direction'].replace('_', ' ')
  b = c['b'] if isinstance(c['b'], str) else f'{c["b"]:g}'
  by = f' by {c["margin"]:g}' if c.get('margin') else ''
  return f'{c["metric"]}: {c["a"]} {direction} {b}{by}'


def effect(comparison: Mapping[str, Any]) -> str:
  """Returns an effect with its interval."""
  mean, low, high = (
    f'{float(comparison[k]):.3g}' for k in ('mean', 'low', 'high')
  )
  return f'{mean} ({low} to {high})'


def chance(comparison: Mapping[str, Any]) -> str:
  """Returns a corrected p-value as text."""
  p = comparison['p']
  return '' if p is None else f'{p:.2g}'


def _compare(comparison, columns, clusters):
  """Returns the numbers of one comparison, its p-value not yet corrected."""
  metric, a, b, direction, margin = claiming.parts(comparison)
  try:
    by_label = columns[metric]
    first = np.asarray(by_label[a])
    second = np.asarray(by_label[b] if isinstance(b, str) else b, np.float64)
  except KeyError as e:
    raise ValueError(
      f'config.claims: {comparison!r}: {e} was not measured'
    ) from e
  counted = first.dtype == bool and not isinstance(b, str)
  first = first.astype(np.float64)
  named = {
    'metric': metric,
    'a': a,
    'b': b,
    'direction': direction,
    'margin': margin,
  }
  if direction in claiming.TRENDS:
    test, p, interval, num = _trend(first, second, clusters)
  elif counted and clusters is None and not margin:
    hits, num = int(first.sum()), first.size
    test, p, interval, num = _share(hits, num, float(second))
  else:
    edge = -margin * claiming.DIRECTIONS[direction]
    test, p, interval, num = _difference(first, second, clusters, edge)
  return {
    **named,
    'num': num,
    'clusters': interval.num,
    'test': test,
    'p': p,
    **{k: getattr(interval, k) for k in ('mean', 'low', 'high')},
  }


def _difference(a, b, clusters, edge):
  values = a - b
  kept = ~np.isnan(values)
  values, num = values[kept], int(kept.sum())
  if clusters is not None:
    values = statistics.collapse(values, np.asarray(clusters)[kept])
  interval = statistics.mean_interval(values)
  p = 1.0 if num < 2 else float(significance.of_mean(values - edge))
  return 'sign flips and studentised bootstrap', p, interval, num


def _share(hits, num, against):
  """Compares how many examples have something with a given share."""
  if not num:
    return 'binomial', 1.0, statistics.mean_interval(np.zeros(0)), num
  low, high = significance.share_interval(hits, num)
  interval = statistics.Interval(
    hits / num - against, low - against, high - against, num
  )
  return 'binomial', significance.of_share(hits, num, against), interval, num


def _trend(a, b, clusters):
  kept = ~np.isnan(a + b)
  a, b = a[kept], b[kept]
  ids = None if clusters is None else np.asarray(clusters)[kept]
  interval = statistics.rank_correlation(a, b, ids)
  p = significance.of_rank_correlation(a, b, ids)
  return 'rank correlation', p, interval, int(kept.sum())


def _word(comparison):
  if comparison['p'] > significance.LEVEL:
    return UNDECIDED
  side = claiming.DIRECTIONS[comparison['direction']]
  holds = np.sign(comparison['mean'] + side * comparison['margin']) == side
  return REPRODUCED if holds else REFUTED


def _joined(claim, comparisons):
  """Returns the word of a claim that takes all of some comparisons."""
  words = [c['verdict'] for c in comparisons]
  if claim['rule'] == claiming.SEEN and set(words) & {REPRODUCED, REFUTED}:
    return SEEN
  for word in (REFUTED, INTERVAL, UNDECIDED):
    if word in words:
      return word
  return REPRODUCED
