"""The scale of LEG's noise at which a stated share of the score is left.

Noise that is too small moves the score by less than rounding, and noise that is
too large kills the prediction: between them the mean score of the perturbed
images falls from the score itself to that of noise.
"""

from collections.abc import Callable
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.perturbations import moves as moving

# The scales that are looked at, a hundredth apart at the end.
_SMALLEST, _LARGEST, _STEPS = 2.0**-10, 2.0**2, 10
# Draws at each step, the same ones.
_NUM_DRAWS = 16


def keeping(
  share: types.Scalar,
  fn: types.ScoreFn,
  moves: moving.Moves,
  noise: Callable[[Any], Float[Array, '*cells k']],
  score: Float[Array, ''],
  *,
  num_signs: int,
  batch_size: int | None,
) -> tuple[Float[Array, ''], Bool[Array, '']]:
  """Bisects for the scale at which the mean score is a share of the score.

  Args:
    share: in (0, 1).
    fn: the score.
    moves: what noise moves.
    noise: the index of a draw to noise of scale 1.
    score: `f(x)`; where a traced one is not above 0, of which there is no
      share, the scale is NaN.
    num_signs: 2 where draws are used with both signs, or 1.
    batch_size: draws held in memory at once; `None` holds all.

  Raises:
    ValueError: for a share out of range, or a score that is known and not above
      0.

  Returns:
    The scale, from 2^-10 to 4: an end where the share lies beyond; and whether
    it lies between them.
  """
  checks.within('keep', share, '(0, 1)')
  if not isinstance(score, jax.core.Tracer) and not score > 0:
    raise ValueError(
      "sigma='auto' keeps a share of a score above 0, such as a probability, "
      f'got {float(score)}: pass a number for sigma'
    )
  wanted = jnp.asarray(share, score.dtype) * score

  def halve(_, ends):
    low, high = ends
    middle = (low + high) / 2
    scores = sampling.batched_map(
      lambda i: moving.evaluate(
        fn, moves, jnp.exp(middle) * noise(i), num_signs
      )[0],
      jnp.arange(_NUM_DRAWS),
      batch_size=batch_size,
    )
    kept = jnp.mean(scores) >= wanted
    return jnp.where(kept, middle, low), jnp.where(kept, high, middle)

  ends = [
    jnp.asarray(math.log(end), score.dtype) for end in (_SMALLEST, _LARGEST)
  ]
  low, high = jax.lax.fori_loop(0, _STEPS, halve, tuple(ends))
  sigma = jnp.where(score > 0, jnp.exp((low + high) / 2), jnp.nan)
  return sigma, (low > ends[0]) & (high < ends[1])


def num_calls(num_examples: int) -> int:
  """Returns how often `keeping` calls the score, so many examples a draw."""
  return _STEPS * _NUM_DRAWS * num_examples
