"""One line on how good a map is, for each kind of `info`, and warnings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.core import results
from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax.core import types

# Below this, two halves of the draws say different things.
_HALVES_AGREE = 0.5
# Above this share of the paths, most have come to an end before the layer.
_MOST = 0.5
# Above this share of the score's change, a sum is not complete.
_COMPLETE = 0.1


def warnings(
  out: types.Attribution, *, score: explainer.Score, prob: float
) -> tuple[str, ...]:
  """Returns a sentence for each reason not to trust a map.

  The sentences hold no numbers, so that the sentences of many maps can be
  counted.

  Args:
    out: the attribution of one example.
    score: what it explains.
    prob: probability of the explained class.
  """
  info = results.fields(out.info)

  def some(field, fails):
    """Says whether a field fails, wherever it stands in the info."""
    return any(
      fails(value)
      for name, value in info.items()
      if name.rpartition('.')[2] == field
    )

  saturated = np.float32(prob) == 1 and score in (
    scores.prob,
    scores.log_prob,
    scores.loss,
  )
  reasons = {
    'the probability rounds to 1 and is flat there: explain the logit': (
      saturated
    ),
    'the map is zero everywhere': not np.any(out.scores),
    'the linear model explains nothing of the score: more draws': some(
      'explained', lambda a: not np.all(a >= 0)
    ),
    'maps of two halves of the draws disagree: more draws': some(
      'split_half', lambda a: not np.all(a >= _HALVES_AGREE)
    ),
    'no step of the search was accepted': some(
      'accepted_fraction', lambda a: not np.all(a > 0)
    ),
    'the solver has not converged: more steps': some(
      'converged', lambda a: not np.all(a)
    ),
    'nothing was rectified: the map is the plain gradient': (
      some('num_rectifiers', lambda a: np.all(a == 0))
      and some('num_smooth', lambda a: np.all(a == 0))
    ),
    'most of the winning probability was lost on the way': some(
      'lost', lambda a: not np.all(a <= _MOST)
    ),
    "the map does not sum to the score's change: more steps or draws": some(
      'relative_error', lambda a: not np.all(a <= _COMPLETE)
    ),
  }
  return tuple(sentence for sentence, holds in reasons.items() if holds)


def counted(records: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns one line for each warning of an evaluation and its method.

  Args:
    records: one an example; records of older runs hold no warnings.
  """
  counts: dict[tuple[str, str], int] = {}
  for record in records:
    for label, row in record['maps'].items():
      for sentence in row.get('warnings', ()):
        counts[label, sentence] = counts.get((label, sentence), 0) + 1
  return [
    f'{label}, {count} of {len(records)}: {sentence}'
    for (label, sentence), count in counts.items()
  ]


def score(out: types.Attribution) -> str:
  """States the score that is explained."""
  return f'score {float(out.info.score):.4g}'


def stderr(out: types.Attribution) -> str:
  """States the noise of a mean of draws beside its size."""
  # Of players each counts once, and not by the pixels that it has.
  values = getattr(out.info, 'values', out.scores)
  noise = _rms(out.info.stderr) / (_rms(values) or np.inf)
  return f'standard error {noise:.1%} of the map'


def fitted(out: types.Attribution) -> str:
  """States how much of the score of fresh draws a sum of players explains."""
  share = float(out.info.explained)
  return f'{share:.0%} of the variance explained; {stderr(out)}'


def median_rank(out: types.Attribution) -> str:
  """States how well the draws tell the median rank."""
  width = float(np.mean(np.asarray(out.info.high) - np.asarray(out.info.low)))
  return f'95% intervals are {width:.1%} of the ranks wide'


def completeness(out: types.Attribution) -> str:
  """States by how much the map's sum misses the score's change."""
  return f'completeness error {float(out.info.relative_error):.1%}'


def rectified(out: types.Attribution) -> str:
  """States how many equations rectified the gradient."""
  num = int(out.info.num_rectifiers) + int(out.info.num_smooth)
  return f'rectified at {num} activations'


def absorbed(out: types.Attribution) -> str:
  """States which share of the score no input has."""
  info, score = out.info, float(out.info.score)
  lost = sum(map(float, info.absorbed)) / score
  return f'{lost:.0%} of the score absorbed on the way'


def winning(out: types.Attribution) -> str:
  """States how much of the winning probability was lost."""
  return f'{float(out.info.lost):.0%} of the probability lost on the way'


def expected(out: types.Attribution) -> str:
  """States the completeness error, and what of it is chance."""
  chance = float(out.info.completeness_stderr) / abs(
    float(out.info.score) - float(out.info.baseline_score)
  )
  error = float(out.info.relative_error)
  return f'completeness error {error:.0%} (chance: {chance:.0%})'


def adaptive(out: types.Attribution) -> str:
  """States the completeness error, and the steps that it took."""
  steps = f'{completeness(out)} after {int(out.info.num_steps)} steps'
  return steps if out.info.converged else f'{steps}, not converged'


def removed(out: types.Attribution) -> str:
  """States what a mask leaves of the score, and of the image."""
  return (
    f'score {float(out.info.score):.3f} with {float(out.info.removed):.1%} '
    'of the image removed'
  )


def searched(out: types.Attribution) -> str:
  """States what a mask leaves, and how its search went."""
  accepted = float(out.info.accepted_fraction)
  return f'{removed(out)}; {accepted:.0%} of steps accepted'


def discarded(out: types.Attribution) -> str:
  """States what the ReLU of a class activation map threw away."""
  return f'{float(out.info.discarded):.0%} of the layer map was negative'


def occlusion(out: types.Attribution) -> str:
  """States what the window that matters most takes from the score."""
  drop = float(np.max(np.asarray(out.info.drops)))
  return f'largest drop {drop:.3f} of {float(out.info.score):.3f}'


def rise(out: types.Attribution) -> str:
  """States the noise of the map, and whether masks leave a score."""
  return (
    f'{stderr(out)}; masked score {float(out.info.mean_score):.3f} '
    f'± {float(out.info.score_std):.3f}'
  )


def summed(out: types.Attribution) -> str:
  """States what the values of the players sum to, and what they share."""
  change = float(out.info.score - out.info.baseline_score)
  return (
    f'values sum to {float(np.sum(out.info.values)):+.3f}, the score changes '
    f'by {change:+.3f}'
  )


def ends(out: types.Attribution) -> str:
  """States the score of the example, and what is left with nobody present."""
  return (
    f'score {float(out.info.score):.3f}, '
    f'{float(out.info.baseline_score):.3f} with all hidden'
  )


def leg(out: types.Attribution) -> str:
  """States whether two halves of the draws agree, and if a score was left."""
  return _halves(out.info)


def leg_tv(out: types.Attribution) -> str:
  """States what `leg` does, and the certified gap of the linear program."""
  gap = float(np.max(np.asarray(out.info.solver.relative_gap)))
  told = f'{_halves(out.info.leg)}; gap {gap:.1e}'
  if not np.all(np.asarray(out.info.solver.converged)):
    told += ', not converged'
  return told


def cafo(out: types.Attribution) -> str:
  """States what the linear model gains, and how sparse the map is."""
  return _sparse(out.info)


def caso(out: types.Attribution) -> str:
  """States what the quadratic model gains, and how well it was solved."""
  return f'{_sparse(out.info)}; residual {float(out.info.residual):.1e}'


def smooth_cafo(out: types.Attribution) -> str:
  """States what `cafo` does, of the averaged loss."""
  return _sparse(out.info.solution)


def smooth_caso(out: types.Attribution) -> str:
  """States what `caso` does, of the averaged loss."""
  return caso(out._replace(info=out.info.solution))


def invariant(out: types.Attribution) -> str:
  """States how the decision fares in the box, and the objective (3.3)."""
  own = float(out.info.final_objective)
  whole = float(out.info.max_width_objective)
  return f'{_box(out)}; objective {own:.4g}, {whole:.4g} if all are'


def _box(out):
  """States how often the decision fails in the box, and whether it can."""
  inspection = out.info.inspection
  attacked = 'an attack' if float(inspection.attack_margin) < 0 else 'no attack'
  return (
    f'decision fails on {float(inspection.violation):.1%} of draws '
    f'(to {float(inspection.violation_high):.1%}), and under {attacked}; '
    f'{float(out.info.saturated):.0%} of widths at their limit'
  )


def linear_invariant(out: types.Attribution) -> str:
  """States how the decision fares in the box, and how well it was solved."""
  gap = float(out.info.solver.objective - out.info.solver.bound)
  return f'{_box(out)}; gap {gap:.1e}'


def _rms(a) -> float:
  return float(np.sqrt(np.mean(np.square(np.asarray(a, np.float64)))))


def _halves(info):
  return (
    f'halves correlate {float(info.split_half):.2f}, '
    f'explains {float(info.explained):.0%}; '
    f'score {float(info.mean_score):.3f} ± {float(info.score_std):.3f} '
    f'of {float(info.score):.3f}'
  )


def _sparse(info):
  return (
    f'gain {float(info.gain):.2e}, {float(info.sparsity):.0%} of the map zero'
  )
