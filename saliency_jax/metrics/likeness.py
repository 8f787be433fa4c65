"""How like each other two maps of one image are, in five numbers."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from saliency_jax.metrics import maps
from saliency_jax.metrics import overlap


class Likeness(NamedTuple):
  """One map against another, which is called the reference."""

  rank_correlation: Float[Array, '*n']  # Of the scores on the support.
  rank_correlation_abs: Float[Array, '*n']  # Of their sizes there.
  ssim: Float[Array, '*n']  # Of the sizes a pixel, each scaled to [0, 1].
  norm: Float[Array, '*n']  # |scores|, in units of the reference's.
  distance: Float[Array, '*n']  # Between the maps scaled to norm one.


def compare(
  scores: Float[Array, 'H W c'],
  reference: Float[Array, 'H W c'],
  *,
  support: Bool[Array, 'H W'] | None = None,
) -> Likeness:
  """Compares two maps; all is NaN where one of them is not finite.

  Args:
    scores: a map.
    reference: another one.
    support: the pixels whose scores are ranked; `None` ranks all.
  """
  size, reference_size = (jnp.abs(jnp.sum(s, -1)) for s in (scores, reference))
  norm, reference_norm = (jnp.sqrt(jnp.sum(s**2)) for s in (scores, reference))
  between = _over(scores, norm) - _over(reference, reference_norm)
  if support is not None:
    support = jnp.broadcast_to(support[..., None], scores.shape)
  ranked = functools.partial(overlap.rank_correlation, where=support)
  compared = Likeness(
    rank_correlation=ranked(scores, reference),
    rank_correlation_abs=ranked(jnp.abs(scores), jnp.abs(reference)),
    ssim=overlap.structural_similarity(_unit(size), _unit(reference_size)),
    norm=maps.relative(norm, reference_norm),
    distance=jnp.sqrt(jnp.sum(between**2)),
  )
  return maps.if_finite(compared, scores, reference)


def _unit(a):
  return _over(a, jnp.max(a))


def _over(a, scale):
  return a / jnp.where(scale > 0, scale, 1)
