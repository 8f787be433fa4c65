"""What the records of an evaluation say: means, differences and verdicts."""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

from jaxtyping import Float
import numpy as np

from experiments.core import claims
from experiments.core import statistics
from experiments.core import verdicts
from experiments.tables import metrics

# The time of a map, compiled: it can be compared as what is measured can.
SECONDS = 'seconds'


def column(
  records: Sequence[Mapping[str, Any]], method: str, name: str
) -> Float[np.ndarray, 'n']:
  """Returns one value of one method by example, NaN where there is none.

  Args:
    records: one an example.
    method: its label.
    name: of a value of a metric, or `SECONDS`.
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

  They are of the examples that judge.

  Args:
    records: one an example.
    config: names the methods and the claims.
  """
  judging = claims.judged(config)
  records = [r for r in records if r['index'] in judging]
  methods = list(config['methods'])
  names = metrics.columns(config['metrics'])
  data = {
    n: {m: column(records, m, n) for m in methods} for n in (*names, SECONDS)
  }

  @functools.cache
  def difference(name, a, b):
    if methods.index(a) > methods.index(b):
      other = difference(name, b, a)
      return statistics.Interval(
        -other.mean, -other.high, -other.low, other.num
      )
    return statistics.mean_interval(data[name][a] - data[name][b])

  means = {
    n: {m: statistics.mean_interval(v)._asdict() for m, v in data[n].items()}
    for n in names
  }
  groups = [r['index'] // config['cluster'] for r in records]
  clusters = dict.fromkeys(data, groups) if config['cluster'] > 1 else None
  return {
    'num_examples': len(records),
    'verdicts': verdicts.judge(config['claims'], data, clusters),
    'means': means,
    'agreement': _agreement(means, names, methods),
    'seconds': {m: float(np.median(v)) for m, v in data[SECONDS].items()},
    'differences': {
      n: {
        a: {b: difference(n, a, b)._asdict() for b in methods if b != a}
        for a in methods
      }
      for n in names
    },
  }


def _agreement(means, better, methods):
  """Returns how far the metrics put the methods in one order, or `None`.

  A metric that some method has no mean of is left out. It takes two metrics
  that tell methods apart, and of fewer than three methods an order says little.
  """
  worth = {
    n: [
      e['mean'] * (-1 if better[n] == metrics.LOWER else 1)
      for e in means[n].values()
    ]
    for n in means
  }
  worth = {
    n: values for n, values in worth.items() if np.isfinite(values).all()
  }
  if len(worth) < 2 or len(methods) < 3:
    return None
  w = statistics.kendall_w(np.array(list(worth.values())))
  if np.isnan(w):
    return None
  return {'w': w, 'metrics': list(worth), 'num_methods': len(methods)}
