"""ROAD: remove and debias, with pixels that tell nothing of where they were.

A pixel that is blacked out says where it is, and so a mask can give a class
away. Here what is removed becomes the mean of its neighbours and a little noise
(`solvers/infilling.py`), and the network need not be trained again. The curves
are the decision, and the probability of its class, as the best pixels go first
and as the worst go first.

References:
  Rong, Leemann, Borisov, Kasneci and Kasneci, A consistent and efficient
  evaluation strategy for attribution methods, ICML 2022.
  https://arxiv.org/abs/2202.00449
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax import scores as score_functions
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.metrics import maps
from saliency_jax.metrics import ranking
from saliency_jax.solvers import infilling


class Road(NamedTuple):
  """The classifier along the removal of one image's pixels, in both orders.

  A good map makes the curves of the best pixels fall early and keeps the curves
  of the worst ones up.
  """

  fractions: Float[Array, 'm']  # Realised: whole pixels only.
  best_first: Float[Array, 'm']  # Probability of the class.
  worst_first: Float[Array, 'm']
  right_best_first: Float[Array, 'm']  # 1 where the class is decided, else 0.
  right_worst_first: Float[Array, 'm']
  gap: Float[Array, '']  # Mean of `worst_first - best_first`, in [-1, 1].
  residual: Float[Array, '']  # Largest of the infillings.


def road(
  logits_fn: types.LogitsFn,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  label: score_functions.Label | None = None,
  fractions: Sequence[float] | Float[Array, 'm'] = (
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.7,
    0.9,
  ),
  noise: types.Scalar = 0.01,
  by_size: bool = False,
  num_steps: int = 20,
  batch_size: int | None = None,
) -> Road:
  """Removes pixels by rank, fills them in, and asks for the class.

  All but the fractions and the residual is NaN where the map is not finite. At
  least one pixel stays.

  Args:
    logits_fn: logits of one example.
    x: one image.
    scores: of its pixels, broadcastable against `x`; summed over channels.
    key: consumed, by ties (draw 0) and by the noise (from draw 1 on, a point
      each, those of the best first before those of the worst first).
    label: class; `None` is the decision on `x`.
    fractions: of the pixels that are removed, in (0, 1).
    noise: standard deviation of what is added to a filled pixel, in units of
      `x`.
    by_size: whether `|scores|` rank, as for a gradient: see `maps.py`.
    num_steps: of the infilling.
    batch_size: calls of `logits_fn` held in memory at once; `None` holds all.
  """
  checks.within('noise', noise, '[0, inf)')
  x = examples.arrays(x)
  dtype = examples.result_dtype(x)
  values = maps.per_pixel(scores, x, by_size=by_size)
  ranks = ranking.ranks(values, key=key)
  fractions = jnp.asarray(fractions, dtype)
  counts = ranking.counts(fractions, values.size)
  counts = jnp.clip(counts, 0, values.size - 1)
  if label is None:
    label = jnp.argmax(logits_fn(x))

  def removed(point):
    i, count, best_first = point
    place = jnp.where(best_first, ranks, values.size - 1 - ranks)
    gone = place < count
    filled = infilling.infill(x, 1 - gone.astype(dtype), num_steps=num_steps)
    drawn = sampling.normal(sampling.draw_key(key, i + 1), x)
    noisy = filled.value + jnp.asarray(noise, dtype) * drawn
    image = jnp.where(gone[..., None], noisy, x)
    return logits_fn(image), filled.info.residual

  num = counts.size
  index = jnp.arange(2 * num)
  points = (index, jnp.tile(counts, 2), index < num)
  logits, residuals = sampling.batched_map(
    removed, points, batch_size=batch_size
  )
  identity = lambda _, z: z
  prob_fn = score_functions.prob(identity, (), label)
  probs = jax.vmap(prob_fn)(logits).reshape(2, num)
  decided = (jnp.argmax(logits, -1) == label).astype(dtype)
  decided = jnp.where(jnp.any(jnp.isnan(logits), -1), jnp.nan, decided)
  right = decided.reshape(2, num)
  curves = maps.if_finite(
    {
      'best_first': probs[0],
      'worst_first': probs[1],
      'right_best_first': right[0],
      'right_worst_first': right[1],
      'gap': jnp.mean(probs[1] - probs[0]),
    },
    scores,
  )
  return Road(
    fractions=counts.astype(dtype) / values.size,
    residual=jnp.max(residuals),
    **curves,
  )
