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

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
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
  x: types.Example,
  scores: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  fractions: Float[Array, 'm'] | None = None,
  baseline: baselines.Baseline = baselines.constant,
  per_pixel: bool = False,
  by_size: bool = False,
  largest_first: bool = False,
  masker: maskers.Constructor | None = None,
  batch_size: int | None = None,
) -> Flips:
  """Masks ever more features of `x` and asks for the decision.

  Logits and flips are NaN where the map is not finite.

  Args:
    logits_fn: logits of one example.
    x: one image, or any array; any example with a masker.
    scores: of its features, broadcastable against `x`.
    key: consumed; ties are broken at random by it, by place without it.
    fractions: of the features, in [0, 1]; `None` is 0, .05, ..., 1.
    baseline: what masked features become, .5 in the paper.
    per_pixel: whether a feature is a pixel, scored by its sum over channels, or
      an entry of `x`.
    by_size: whether `|scores|` rank, as for a gradient: see `maps.py`.
    largest_first: which features go first. The text of the paper removes the
      lowest scores first, the caption of its figure the highest.
    masker: its players are the features, its baseline what they become.
    batch_size: calls of `logits_fn` held in memory at once; `None` holds all.
  """
  x = examples.arrays(x)
  dtype = examples.result_dtype(x)
  if fractions is None:
    fractions = jnp.linspace(0, 1, 21, dtype=dtype)
  if masker is None:
    masker = functools.partial(maskers.entries, baseline=baseline)
    if per_pixel:
      cells = x.shape[:2]
      masker = functools.partial(maskers.grid, cells=cells, baseline=baseline)
  else:
    checks.no_masker(decision_flips, baseline=baseline, per_pixel=per_pixel)
  players = checks.constructor(masker)(x, key=key)
  values = maps.per_player(scores, players, by_size=by_size)
  order = ranking.ranks(values, key=key, largest_first=largest_first)
  counts = ranking.counts(fractions, players.num)

  def masked(count):
    return players.hide((order >= count).astype(dtype))

  # The image itself leads, so that the classifier is compiled once.
  logits = sampling.batched_map(
    lambda count: logits_fn(masked(count)),
    jnp.concatenate([jnp.zeros(1, counts.dtype), counts]),
    batch_size=batch_size,
  )
  if logits.ndim != 2 or logits.shape[1] < 2:
    raise ValueError(
      f'expected logits of several classes, got {logits.shape[1:]}: a decision '
      'needs model.apply(params, x), not the score of one class'
    )
  whole, logits = logits[0], maps.if_finite(logits[1:], scores)
  flipped = (jnp.argmax(logits, -1) != jnp.argmax(whole)).astype(dtype)
  unknown = jnp.any(jnp.isnan(logits), -1) | jnp.any(jnp.isnan(whole))
  return Flips(
    fractions=counts.astype(dtype) / players.num,
    flipped=jnp.where(unknown, jnp.nan, flipped),
    logits=logits,
    whole=whole,
  )
