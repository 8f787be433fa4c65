"""Localisation: is what a map highlights where it has to be?

Somebody has to know where that is. Three ways to know it:
- a mosaic of images of several classes, of which one is explained (the grid
  pointing game): the network may still look elsewhere;
- a mosaic whose cells are classified each on its own (DiFull), and a network
  that is blind outside of a region of one image: see `ground_truth.py`.

References:
  Rao, Boehle and Schiele, Towards better understanding attribution methods,
  CVPR 2022. https://arxiv.org/abs/2205.10435
  Arras, Osman and Samek, CLEVR-XAI: a benchmark dataset for the ground truth
  evaluation of neural network explanations, 2022.
  https://arxiv.org/abs/2003.07258
  Zhang et al., Top-down neural attention by excitation backprop, 2016.
  https://arxiv.org/abs/1608.00507
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import examples
from saliency_jax.metrics import maps
from saliency_jax.metrics import ranking


class Localization(NamedTuple):
  """How much of a map is inside of a region; NaN for an empty region.

  By chance, `mass`, `rank` and `hit` are the region's part of the image.
  """

  mass: Float[Array, '']  # Share of the positive scores, in [0, 1].
  rank: Float[Array, '']  # Share of as many best pixels as the region has.
  hit: Float[Array, '']  # 1 if the best pixel is inside; of several, the share.


def localization(
  scores: Float[Array, '...'],
  region: Float[Array, '*f'],
  *,
  key: Key[Array, ''] | None = None,
  by_size: bool = False,
) -> Localization:
  """Measures how much of a map is inside of a region.

  `mass` is the score of the grid pointing game and of DiFull, and the relevance
  mass accuracy of CLEVR-XAI, `rank` its relevance rank accuracy, and `hit` the
  pointing game. A map without positive scores has mass 0, as in DiFull's code;
  one that is not finite has NaN.

  Args:
    scores: one a feature, `[*f]`, or `[*f, C]`, summed over channels.
    region: 1 inside, 0 outside.
    key: consumed; ties are broken at random by it, by place without it.
    by_size: whether `|scores|` count, as for a gradient: see `maps.py`.

  Raises:
    ValueError: for scores of another shape than the region.
  """
  shape = scores.shape
  if region.shape not in (shape, shape[:-1]):
    raise ValueError(
      f'scores {shape} do not fit the region {region.shape}: expected its '
      'shape, or one axis of channels more'
    )
  read = examples.wide(jnp.abs(scores) if by_size else scores)
  values = read if region.shape == shape else jnp.sum(read, -1)
  inside = region.astype(values.dtype)
  num = jnp.sum(inside)

  def share(weights):
    total = jnp.sum(weights)
    return jnp.sum(weights * inside) / jnp.where(total > 0, total, 1)

  best = ranking.ranks(values, key=key).astype(values.dtype) < num
  out = Localization(
    mass=share(jnp.maximum(values, 0)),
    rank=share(best.astype(values.dtype)),
    hit=share((values == jnp.max(values)).astype(values.dtype)),
  )
  out = jax.tree.map(lambda a: jnp.where(num > 0, a, jnp.nan), out)
  return maps.if_finite(out, scores)
