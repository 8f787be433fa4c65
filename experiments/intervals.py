"""Means over examples, their paired differences, and verdicts on claims.

An interval is the BCa bootstrap's over examples, at 95%. It is a little short
for few examples: for the mean of 20 normal numbers it covers about 93%.

References:
  Efron, Better bootstrap confidence intervals, 1987.
  https://doi.org/10.1080/01621459.1987.10478410
"""

from collections.abc import Mapping, Sequence
import functools
from typing import Any, NamedTuple

from jaxtyping import Float
import numpy as np
from scipy import stats

from experiments import metrics

_RESAMPLES = 4999
# The bootstrap of a few numbers is no evidence.
_FEWEST = 10

# Whether a claim on a difference holds, given its lower and upper ends, and
# whether its opposite does. What is neither is undecided.
CLAIMS = {
  'below': (lambda low, high: high < 0, lambda low, high: low > 0),
  'above': (lambda low, high: low > 0, lambda low, high: high < 0),
  'not_below': (lambda low, high: low >= 0, lambda low, high: high < 0),
  'not_above': (lambda low, high: high <= 0, lambda low, high: low > 0),
}


# The time of a map, compiled: it can be compared as what is measured can.
SECONDS = 'seconds'


class Interval(NamedTuple):
  """A mean over examples, and the ends of its 95% interval."""

  mean: float
  low: float
  high: float
  num: int


def mean_interval(values: Float[np.ndarray, 'n']) -> Interval:
  """Returns the mean of some numbers with its bootstrap interval.

  One number says nothing of its own error: its interval is the whole line. NaN,
  the mark of what was not measured, is left out.

  Args:
    values: one an example.
  """
  values = np.asarray(values, np.float64)
  values = values[~np.isnan(values)]
  if not values.size:
    return Interval(np.nan, -np.inf, np.inf, 0)
  mean = float(values.mean())
  if values.size == 1 or not np.isfinite(mean):
    return Interval(mean, -np.inf, np.inf, values.size)
  if np.all(values == values[0]):
    # Not the mean, which rounding may have moved.
    return Interval(*[float(values[0])] * 3, values.size)
  # A seed of its own for each call: the same numbers, the same interval.
  ends = stats.bootstrap(
    (values,), np.mean, n_resamples=_RESAMPLES, rng=np.random.default_rng(0)
  ).confidence_interval
  return Interval(mean, float(ends.low), float(ends.high), values.size)


def verdict(claim: str, difference: Interval) -> str:
  """Says what a paired difference makes of a claim: see `CLAIMS`.

  Args:
    claim: one of `CLAIMS`.
    difference: of fewer than 10 examples, it leaves every claim undecided.
  """
  holds, fails = CLAIMS[claim]
  if difference.num < _FEWEST:
    return 'undecided'
  if holds(difference.low, difference.high):
    return 'reproduced'
  return 'refuted' if fails(difference.low, difference.high) else 'undecided'


def column(
  records: Sequence[Mapping[str, Any]], method: str, name: str
) -> Float[np.ndarray, 'n']:
  """Returns one value of one method by example, NaN where there is none.

  Args:
    records: one an example.
    method: its label.
    name: of a value of a measure, or `SECONDS`.
  """
  if name == SECONDS:
    return np.array([r['maps'][method]['seconds'] for r in records])
  return np.array(
    [float(r['maps'][method]['values'].get(name, 'nan')) for r in records]
  )


def summarize(
  records: Sequence[Mapping[str, Any]], config: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns means, differences of all pairs and verdicts, in JSON's types.

  Args:
    records: one an example.
    config: names the methods and the comparisons.
  """
  methods = list(config['methods'])
  names = metrics.columns(config['metrics'])
  data = {
    n: {m: column(records, m, n) for m in methods} for n in (*names, SECONDS)
  }

  @functools.cache
  def difference(name, a, b):
    if methods.index(a) > methods.index(b):
      other = difference(name, b, a)
      return Interval(-other.mean, -other.high, -other.low, other.num)
    return mean_interval(data[name][a] - data[name][b])

  return {
    'means': {
      n: {m: mean_interval(v)._asdict() for m, v in data[n].items()}
      for n in names
    },
    'seconds': {m: float(np.median(v)) for m, v in data[SECONDS].items()},
    'differences': {
      n: {
        a: {b: difference(n, a, b)._asdict() for b in methods if b != a}
        for a in methods
      }
      for n in names
    },
    'verdicts': [
      {
        'metric': n,
        'a': a,
        'b': b,
        'claim': claim,
        **difference(n, a, b)._asdict(),
        'verdict': verdict(claim, difference(n, a, b)),
      }
      for n, a, b, claim in config['comparisons']
    ],
  }
