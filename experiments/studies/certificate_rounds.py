"""How often sampling until a certificate is good is wrong.

Draws of zeros and ones whose chances are known, of two kinds. Of many
independent entries, whose target is never met: a run fails where a bound of any
round misses a chance. Of two half-spaces, of which one moves past the other a
little before rho: a run fails where it certifies that none does. Each also
without the rounds' shares of the level, as if every round were the only one.
"""

from collections.abc import Callable, Mapping
import pathlib
from typing import Any

import numpy as np
from scipy import special

from experiments.core import app
from experiments.core import statistics
from experiments.studies import findings
from saliency_jax import certificates

_SHARED, _WHOLE = 'shared level', 'level of one round'
# How far beyond the radius the half-spaces would have to be.
_SHORT = 1e-4


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Counts the failures of `config.num_runs` runs of each kind."""
  del folder  # It takes less than a minute.
  cases = {'bounds': bounds_fail, 'certificates': certificate_fails}
  failed = {name: {} for name in cases}
  for name, fails in cases.items():
    for label in (_SHARED, _WHOLE):
      bar = app.progress(range(config['num_runs']), what=f'{name}, {label}')
      failed[name][label] = np.array(
        [fails(seed, shared=label == _SHARED, **config[name]) for seed in bar],
        bool,
      )
  rows = []
  for name, by_label in failed.items():
    for label, values in by_label.items():
      share = statistics.mean_interval(values.astype(float))
      rows.append(
        (
          name,
          label,
          f'{values.sum()} of {values.size}',
          f'{share.mean:.3f} ({share.low:.3f} to {share.high:.3f})',
          f'{1 - config[name]["confidence"]:.2f}',
        )
      )
  numbers = {
    name: {label: int(v.sum()) for label, v in by_label.items()}
    for name, by_label in failed.items()
  }
  return findings.Findings(
    ('failure of', 'rounds at the', 'failed', 'share', 'allowed'),
    rows,
    {'num_runs': config['num_runs'], 'failed': numbers},
    {},
    {f'failure of {name}': by_label for name, by_label in failed.items()},
  )


def bounds_fail(
  seed: int,
  *,
  num_entries: int,
  num_samples: int,
  num_rounds: int,
  confidence: float,
  shared: bool = True,
) -> bool:
  """Returns whether bounds miss a chance in any round of one run.

  Args:
    seed: of the run.
    num_entries: independent ones.
    num_samples: draws of the last round.
    num_rounds: all are taken.
    confidence: of all rounds.
    shared: whether the rounds share the level; else each has all of it.
  """
  rng = np.random.default_rng(seed)
  chances = rng.uniform(0.05, 0.95, num_entries)
  missed = []

  def bound(smoothed, level):
    level = level if shared else confidence
    low, high = certificates.clopper_pearson(smoothed, level)
    missed.append(np.any((low > chances) | (high < chances)))
    return low, high

  certificates.in_rounds(
    _counted(lambda num: rng.binomial(num, chances)),
    target=1,  # Which is out of reach, as the radius is a thousand sigma.
    rho=1000,
    num_samples=num_samples,
    num_rounds=num_rounds,
    confidence=confidence,
    bound=bound,
  )
  assert len(missed) == num_rounds
  return bool(np.any(missed))


def certificate_fails(
  seed: int,
  *,
  ratio: float,
  num_samples: int,
  num_rounds: int,
  confidence: float,
  shared: bool = True,
) -> bool:
  """Returns whether one run certifies what is false of two half-spaces.

  Of `z > -ratio` and `z < -ratio + short` the first holds more often, until the
  example has moved by a little less than `ratio` deviations.

  Args:
    seed: of the run.
    ratio: `rho / sigma`.
    num_samples: draws of the last round.
    num_rounds: rounds at most.
    confidence: of all rounds.
    shared: whether the rounds share the level; else each has all of it.
  """
  rng = np.random.default_rng(seed)
  first = special.ndtr(ratio)
  both = special.ndtr(-ratio + _SHORT) - special.ndtr(-ratio)

  def draw(num):
    one, two, other = rng.multinomial(num, [first - both, both, 1 - first])
    return np.array([one + two, two + other])

  def bound(smoothed, level):
    return certificates.clopper_pearson(
      smoothed, level if shared else confidence
    )

  return certificates.in_rounds(
    _counted(draw),
    target=1,
    k=1,
    rho=ratio,
    num_samples=num_samples,
    num_rounds=num_rounds,
    confidence=confidence,
    bound=bound,
  ).met


def _counted(new_counts: Callable[[int], np.ndarray]) -> Callable[..., Any]:
  """Returns how to go on with draws of zeros and ones, by their counts."""

  def draw(num_samples, start):
    before = 0 if start is None else int(start.info.num_samples)
    counts = new_counts(num_samples - before)
    if start is not None:
      counts = counts + np.rint(before * start.scores)
    return certificates.stated_map(
      counts / num_samples, sigma=1.0, num_samples=num_samples, binary=True
    )

  return draw
