"""What a map says of itself, in words: how good it is, and why not to trust it.

Sentences are chosen by the fields that an `info` has, whatever the method, so
the methods that a user makes are told of too, where they name their fields as
the methods here do.
"""

from collections.abc import Callable
import inspect
import itertools
from typing import Any

import jax
import numpy as np

from saliency_jax.core import types

# Below this, two halves of the draws say different things.
_HALVES_AGREE = 0.5
# Above this share, the map of one half says all there is to say of the other.
_ALL = 0.9
# Above this share of a weight, what a penalty takes away is seen in the map.
_SHRUNK = 0.1
# Above this share of the paths, most have come to an end before the layer.
_MOST = 0.5
# Above this share of the score's change, a sum is not complete.
_COMPLETE = 0.1


def describe(out: Any, *, prob: types.Scalar | None = None) -> str:
  """Returns how good a map is, one line, and a line for each warning.

  Args:
    out: the attribution of one example, with its numbers known: outside of jit.
      One of a batch is `jax.tree.map(lambda a: a[0], out)`.
    prob: see `warnings`.

  Raises:
    TypeError: for what is no attribution.

  Examples:
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> found = saliency_jax.integrated_gradients(
    ...   lambda x: (x**2).sum(), jnp.arange(3.0)
    ... )
    >>> print(saliency_jax.describe(found))
    completeness error 0.0%
  """
  if not isinstance(out, types.Attribution):
    raise TypeError(
      f'expected an attribution, as a method returns it, got '
      f'{type(out).__name__}'
    )
  lines = [facts(out), *(f'! {reason}' for reason in warnings(out, prob=prob))]
  return '\n'.join(line for line in lines if line)


def facts(out: types.Attribution) -> str:
  """Returns one line of what the method measured of its own map."""
  fields = _fields(out)
  said = [_said(sentence, fields) for sentence in _FACTS]
  told = '; '.join(sentence for sentence in said if sentence)
  return told or _said(_score, fields) or ''


def warnings(
  out: types.Attribution, *, prob: types.Scalar | None = None
) -> tuple[str, ...]:
  """Returns a sentence for each reason not to trust a map.

  The sentences hold no numbers, so that the sentences of many maps can be
  counted.

  Args:
    out: the attribution of one example.
    prob: the probability that is explained, in [0, 1]; `None` is the score that
      the method found, if it did, and where a score is a logit give 0.
  """
  fields = _fields(out)
  if not np.isfinite(fields['scores']).all():
    return ('scores are NaN or infinite',)  # So is all that was made of them.
  given = {} if prob is None else {'score': prob}
  holds = lambda failing: bool(_said(failing, {**fields, **given}))
  return tuple(text for text, failing in _WARNINGS.items() if holds(failing))


def _fields(out: types.Attribution) -> dict[str, np.ndarray]:
  """Returns what an attribution holds by name, several leaves as one array.

  Beside its own name, a field has one with the name of what it is in:
  'inspection_violation'.
  """
  found: dict[str, list[np.ndarray]] = {}
  for path, leaf in jax.tree_util.tree_flatten_with_path(out)[0]:
    names = [entry.name for entry in path if hasattr(entry, 'name')]
    pairs = ('_'.join(pair) for pair in itertools.pairwise(names))
    for name in (*names, *pairs):
      found.setdefault(name, []).append(np.asarray(leaf))
  whole = lambda leaves: np.concatenate([np.ravel(a) for a in leaves])
  return {
    name: leaves[0] if len(leaves) == 1 else whole(leaves)
    for name, leaves in found.items()
  }


def _said(sentence: Callable[..., Any], fields: dict[str, np.ndarray]) -> Any:
  """Returns what a function of fields says, `None` where one is missing."""
  parameters = inspect.signature(sentence).parameters
  given = {name: fields[name] for name in parameters if name in fields}
  missing = parameters.keys() - given
  if any(parameters[n].default is inspect.Parameter.empty for n in missing):
    return None
  return sentence(**given)


def _halves(split_half, explained):
  return f'halves correlate {split_half:.2f}, explains {explained:.0%}'


def _fitted(explained, split_half=None):
  if split_half is None:
    return f'{explained:.0%} of the variance explained'


def _effective(effective_samples, values):
  if not _enough(effective_samples, values):
    samples = float(effective_samples)
    return f'{samples:.1f} effective samples for {np.size(values)} players'


def _shrunk(shrinkage):
  if shrinkage > _SHRUNK:
    return f'the penalty takes {float(shrinkage):.0%} of the map away'


def _left(mean_score, score_std, score=None, sigma=None, sigma_found=True):
  whole = '' if score is None else f' of {float(score):.3f}'
  told = f'masked score {float(mean_score):.3f} ± {float(score_std):.3f}{whole}'
  return told if np.all(sigma_found) else f'{told}, at sigma {float(sigma):.3g}'


def _stderr(
  stderr,
  scores,
  values=None,
  split_half=None,
  low=None,
  completeness_stderr=None,
):
  told = (split_half, low, completeness_stderr)
  # Others tell of the noise already, and of one draw nothing is known.
  if np.isfinite(stderr).all() and all(field is None for field in told):
    # Of players each counts once, and not by the pixels that it has.
    size = _rms(scores if values is None else values)
    return f'standard error {_rms(stderr) / (size or np.inf):.1%} of the map'


def _ranks(low, high):
  return f'95% intervals are {np.mean(high - low):.1%} of the ranks wide'


def _complete(
  relative_error, completeness_stderr=None, score=0, baseline_score=0
):
  error = f'completeness error {float(relative_error):.1%}'
  if completeness_stderr is None:
    return error
  chance = float(completeness_stderr) / (abs(score - baseline_score) or np.inf)
  return f'{error} (chance: {chance:.1%})'


def _steps(num_steps, converged):
  steps = f'{int(num_steps)} steps'
  return steps if np.all(converged) else f'{steps}, not converged'


def _summed(values, score, baseline_score, stderr=None):
  if stderr is not None:
    return f'score {score:.3f}, {baseline_score:.3f} with all hidden'
  return (
    f'values sum to {np.sum(values):+.3f}, the score changes by '
    f'{score - baseline_score:+.3f}'
  )


def _rectified(num_rectifiers, num_smooth):
  return f'rectified at {int(num_rectifiers) + int(num_smooth)} activations'


def _absorbed(absorbed, score):
  share = float(np.sum(absorbed)) / (float(score) or np.inf)
  return f'{share:.0%} of the score absorbed on the way'


def _lost(lost):
  return f'{float(lost):.0%} of the probability lost on the way'


def _discarded(discarded):
  return f'{float(discarded):.0%} of the layer map was negative'


def _drops(drops, score):
  return f'largest drop {float(np.max(drops)):.3f} of {float(score):.3f}'


def _removed(removed, score):
  return (
    f'score {float(score):.3f} with {float(removed):.1%} of the image removed'
  )


def _accepted(accepted_fraction):
  return f'{float(accepted_fraction):.0%} of steps accepted'


def _gained(gain, sparsity):
  return f'gain {float(gain):.2e}, {float(sparsity):.0%} of the map zero'


def _residual(residual):
  return f'residual {float(residual):.1e}'


def _box(
  inspection_violation,
  inspection_violation_high,
  inspection_attack_margin,
  saturated,
):
  margin = float(inspection_attack_margin)
  attacked = 'an attack' if margin < 0 else 'no attack'
  return (
    f'decision fails on {float(inspection_violation):.1%} of draws (to '
    f'{float(inspection_violation_high):.1%}), and under {attacked}; '
    f'{float(saturated):.0%} of widths at their limit'
  )


def _objective(final_objective, max_width_objective):
  return (
    f'objective {float(final_objective):.4g}, {float(max_width_objective):.4g} '
    'if all are'
  )


def _gap(relative_gap, converged):
  gap = f'gap {float(np.max(relative_gap)):.1e}'
  return gap if np.all(converged) else f'{gap}, not converged'


def _score(score):
  return f'score {float(score):.4g}'


_FACTS = (
  _fitted,
  _halves,
  _effective,
  _shrunk,
  _left,
  _ranks,
  _complete,
  _stderr,
  _steps,
  _summed,
  _rectified,
  _absorbed,
  _lost,
  _discarded,
  _drops,
  _removed,
  _accepted,
  _gained,
  _residual,
  _box,
  _objective,
  _gap,
)
# Each fails where a number is NaN, too.
_WARNINGS = {
  'the probability rounds to 1 and is flat there: explain the logit': (
    lambda score: np.all(np.float32(score) == 1)
  ),
  'the map is zero everywhere': lambda scores: not np.any(scores),
  'the linear model explains nothing of the score: more draws': (
    lambda explained: not np.all(explained >= 0)
  ),
  "no sigma leaves the share that 'auto' looks for: another keep": (
    lambda sigma_found: not np.all(sigma_found)
  ),
  'the noise does not move the score: a larger sigma': (
    lambda score_std, sigma: np.all(score_std == 0)
  ),
  'maps of two halves of the draws disagree: more draws': (
    lambda split_half, explained=0, score_std=1: (
      not np.all(split_half >= _HALVES_AGREE)
      # Of a map of one number, or of equal ones, there is no correlation.
      and not np.all((explained >= _ALL) | (score_std == 0))
    )
  ),
  'the standard error is not within the tolerance: more draws': (
    lambda met: not np.all(met)
  ),
  'too few effective samples to tell an error: a larger width, more draws': (
    lambda effective_samples, values: not _enough(effective_samples, values)
  ),
  'the penalty shrinks the map: more draws or a smaller alpha': (
    lambda shrinkage: np.any(shrinkage > _SHRUNK)
  ),
  'no step of the search was accepted': (
    lambda accepted_fraction: not np.all(accepted_fraction > 0)
  ),
  'the solver has not converged: more steps': (
    lambda converged: not np.all(converged)
  ),
  'nothing was rectified: the map is the plain gradient': (
    lambda num_rectifiers, num_smooth: not np.any(num_rectifiers + num_smooth)
  ),
  'most of the winning probability was lost on the way': (
    lambda lost: not np.all(lost <= _MOST)
  ),
  "the map does not sum to the score's change: more steps or draws": (
    lambda relative_error: not np.all(relative_error <= _COMPLETE)
  ),
}


def _enough(effective_samples, values) -> bool:
  return bool(np.all(effective_samples >= np.size(values) + 1))


def _rms(a) -> float:
  return float(np.sqrt(np.mean(np.square(np.asarray(a, np.float64)))))
