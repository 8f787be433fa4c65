"""Deletion and insertion: the score as a map's best features go, or come.

The deletion curve is `f` of the image with its `c` best-scored cells given to a
baseline image; the insertion curve is `f` of a baseline image with them given
back; `c` runs from none to all. Each is summarised by the area under it: a good
map has a small one for deletion, a large one for insertion.

A protocol says which cells, steps, baselines and rule of quadrature. Areas of
different protocols are different quantities.

References:
  Petsiuk, Das and Saenko, RISE: randomized input sampling for explanation of
  black-box models, 2018. https://arxiv.org/abs/1806.07421
  Qi, Khorram and Li, Visualizing deep networks by optimizing with integrated
  gradients, AAAI 2020. https://arxiv.org/abs/1905.00954
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np

from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.metrics import ranking
from saliency_jax.optimization import masks

# RISE's blur, for images of 224 x 224.
slight_blur = functools.partial(
  baselines.gaussian_blur, kernel_size=11, sigma=5.0
)


class Plan(NamedTuple):
  """What a protocol does with one image and its map.

  Attributes:
    ranks: place of each cell, 0 for the first one to go or come.
    counts: cells gone at each point of the curves, from none to all.
    deleted: image that takes the place of what goes.
    start: image into which what comes is put.
    area: maps fractions and a curve to the area under it.
  """

  ranks: Int[Array, 's t']
  counts: Int[np.ndarray, 'm']
  deleted: Float[Array, 'H W C']
  start: Float[Array, 'H W C']
  area: Callable[[Float[Array, 'm'], Float[Array, 'm']], Float[Array, '']]


class DeletionInsertion(NamedTuple):
  """Both curves, and the areas under them."""

  fractions: Float[Array, 'm']  # Of the cells that have gone, or come.
  deletion_curve: Float[Array, 'm']
  insertion_curve: Float[Array, 'm']
  deletion: Float[Array, '']
  insertion: Float[Array, '']


def igos_protocol(
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  key: Key[Array, ''] | None,
  *,
  resolution: int = 28,
  baseline: baselines.Baseline = baselines.gaussian_blur,
) -> Plan:
  """Plans what I-GOS's paper reports.

  Cells of a mask of `resolution`, about fifty steps, one blurred image for both
  curves, and the sum of right rectangles. (The authors' code counts the last
  step as if the score there were 1; this does not.)

  Args:
    x: the image.
    scores: `[s, s, 1]` at the mask's resolution, or of the image's size: then
      summed over channels and brought to the mask whose upsampling is nearest
      in squares, which gives back a mask that was upsampled.
    key: consumed by the breaking of ties.
    resolution: side `s` of the mask.
    baseline: the blur; the default is for images of 224 x 224.
  """
  checks.image(x)
  cells = _to_resolution(x, scores, resolution)
  num = resolution**2
  step = max(1, num // 50)
  blank = baselines.evaluate(baseline, x, key)
  return Plan(
    ranks=ranking.ranks(cells, key=key),
    counts=np.append(np.arange(0, num, step), num),
    deleted=blank,
    start=blank,
    area=right_rectangles,
  )


def rise_protocol(
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  key: Key[Array, ''] | None,
  *,
  num_steps: int = 28,
  deleted: baselines.Baseline = baselines.constant,
  start: baselines.Baseline = slight_blur,
) -> Plan:
  """Plans what RISE's paper reports.

  Pixels, 28 steps, deletion to grey, insertion from a slight blur, and the
  trapezoid rule.

  Args:
    x: the image.
    scores: broadcastable against `x`; summed over channels.
    key: consumed by the breaking of ties.
    num_steps: steps of equal size, to the pixel.
    deleted: what pixels are deleted to. Zero in a network's own units is the
      mean colour of its data: the default grey for EfficientNet-Lite, (.485,
      .456, .406) for the networks of the paper.
    start: what insertion starts from; the default is for 224 x 224.
  """
  checks.image(x)
  pixels = ranking.per_pixel(scores, x)
  checks.count('num_steps', num_steps, 1, pixels.size)
  counts = np.rint(np.linspace(0, pixels.size, num_steps + 1)).astype(np.int32)
  return Plan(
    ranks=ranking.ranks(pixels, key=key),
    counts=counts,
    deleted=baselines.evaluate(deleted, x, key),
    start=baselines.evaluate(start, x, key),
    area=trapezoids,
  )


def deletion_insertion(
  fn: types.ScoreFn,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''] | None = None,
  protocol: Callable[..., Plan] = igos_protocol,
  batch_size: int | None = None,
) -> DeletionInsertion:
  """Measures a map by what its best cells do to the score.

  Args:
    fn: score of one example, a probability in the papers.
    x: one image.
    scores: of its features, larger for more important.
    key: consumed; ties are broken at random by it, by place without it.
    protocol: `igos_protocol` or `rise_protocol`, its settings bound by
      `functools.partial`.
    batch_size: calls of `fn` held in memory at once; `None` holds all.
  """
  plan = protocol(x, scores, key)
  counts = jnp.asarray(plan.counts, jnp.int32)

  def evaluate(point):
    count, inserts = point
    gone = (plan.ranks < count).astype(x.dtype)
    gone = masks.upsample(gone, x.shape[:2])
    kept = jnp.where(inserts, gone, 1 - gone)
    other = jnp.where(inserts, plan.start, plan.deleted)
    return fn(masks.composite(x, other, kept))

  # One map over the points of both curves fills its batches better than two.
  points = (jnp.tile(counts, 2), jnp.arange(2 * counts.size) >= counts.size)
  values = sampling.batched_map(evaluate, points, batch_size=batch_size)
  deletion, insertion = values.reshape(2, -1)
  fractions = jnp.asarray(plan.counts / plan.counts[-1], x.dtype)
  return DeletionInsertion(
    fractions=fractions,
    deletion_curve=deletion,
    insertion_curve=insertion,
    deletion=plan.area(fractions, deletion),
    insertion=plan.area(fractions, insertion),
  )


def right_rectangles(
  fractions: Float[Array, 'm'], curve: Float[Array, 'm']
) -> Float[Array, '']:
  """Returns the area with each step as high as its right end."""
  return jnp.sum(jnp.diff(fractions) * curve[1:])


def trapezoids(
  fractions: Float[Array, 'm'], curve: Float[Array, 'm']
) -> Float[Array, '']:
  """Returns the area with each step as high as the mean of its ends."""
  return jnp.sum(jnp.diff(fractions) * (curve[1:] + curve[:-1])) / 2


def _to_resolution(x, scores, resolution):
  """Returns one score a cell of a mask of side `resolution`."""
  cells = (resolution, resolution)
  if scores.shape == (*cells, 1):
    return scores[..., 0]
  pixels = ranking.per_pixel(scores, x)
  rows, columns = (
    jnp.asarray(
      np.linalg.pinv(masks.interpolation_matrix(n, resolution)), x.dtype
    )
    for n in x.shape[:2]
  )
  fitted = jnp.einsum(
    'sh,tw,hw->st',
    rows,
    columns,
    pixels,
    precision=jax.lax.Precision.HIGHEST,
  )
  # Cells that were equal before rounding broke their tie are made equal again.
  unit = 1e-5 * jnp.max(jnp.abs(fitted))
  unit = jnp.where(unit > 0, unit, 1)
  return jnp.round(fitted / unit) * unit
