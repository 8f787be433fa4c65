"""Flipping: whether the decision changes as features are masked by rank.

    flipped(tau) = [argmax_j z_j(x, a part tau of its features masked) != c],

`c` the decision on `x`. Averaged over images it is the ratio of images whose
decision changes: a good map keeps it near zero when the features that it scores
lowest go first, and brings it up at once when the highest do.

References:
  Ikeno and Hara, Maximizing invariant data perturbation with stochastic
  optimization, 2018. https://arxiv.org/abs/1807.05077
  Samek et al., Evaluating the visualization of what a deep neural network has
  learned, 2015. https://arxiv.org/abs/1509.06321
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import baselines
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.metrics import maps
from saliency_jax.metrics import ranking


class Flips(NamedTuple):
  """The decision along the masking of one image."""

  fractions: Float[Array, 'm']  # Realised: whole features only.
  flipped: Float[Array, 'm']  # 1 where the decision is another one, else 0.
  logits: Float[Array, 'm k']
  whole: Float[Array, 'k']  # Logits of the image itself.


def decision_flips(
  logits_fn: types.LogitsFn,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''] | None = None,
  fractions: Float[Array, 'm'] | None = None,
  baseline: baselines.Baseline = baselines.constant,
  per_pixel: bool = False,
  by_size: bool = False,
  largest_first: bool = False,
  batch_size: int | None = None,
) -> Flips:
  """Masks ever more features of `x` and asks for the decision.

  Logits and flips are NaN where the map is not finite.

  Args:
    logits_fn: logits of one example.
    x: one image.
    scores: of its features, broadcastable against `x`.
    key: consumed; ties are broken at random by it, by place without it.
    fractions: of the features, in [0, 1]; `None` is 0, .05, ..., 1.
    baseline: what masked features become, .5 in the paper.
    per_pixel: whether a feature is a pixel, scored by its sum over channels, or
      an entry of `x`.
    by_size: whether `|scores|` rank, as for a gradient: see `maps.py`.
    largest_first: which features go first. The text of the paper removes those
      of the lowest scores, the caption of its figure those of the highest.
    batch_size: calls of `logits_fn` held in memory at once; `None` holds all.
  """
  if fractions is None:
    fractions = jnp.linspace(0, 1, 21, dtype=x.dtype)
  read = maps.per_pixel if per_pixel else maps.per_entry
  values = read(scores, x, by_size=by_size)
  order = ranking.ranks(values, key=key, largest_first=largest_first)
  order = order[..., None] if per_pixel else order
  num_features = values.size
  counts = ranking.counts(fractions, num_features)
  blank = baselines.evaluate(baseline, x, key)

  def masked(count):
    return jnp.where(order < count, blank, x)

  # The image itself leads, so that the classifier is compiled once.
  logits = sampling.batched_map(
    lambda count: logits_fn(masked(count)),
    jnp.concatenate([jnp.zeros(1, counts.dtype), counts]),
    batch_size=batch_size,
  )
  whole, logits = logits[0], maps.if_finite(logits[1:], scores)
  flipped = (jnp.argmax(logits, -1) != jnp.argmax(whole)).astype(x.dtype)
  unknown = jnp.any(jnp.isnan(logits), -1) | jnp.any(jnp.isnan(whole))
  return Flips(
    fractions=counts.astype(x.dtype) / num_features,
    flipped=jnp.where(unknown, jnp.nan, flipped),
    logits=logits,
    whole=whole,
  )
