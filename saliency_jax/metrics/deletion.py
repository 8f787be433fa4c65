"""Deletion and insertion: the score as a map's best features go, or come.

The deletion curve is `f` of the image with its `c` best-scored cells given to a
baseline image; the insertion curve is `f` of a baseline image with them given
back; `c` runs from none to all. Each is summarised by the area under it: a good
map has a small one for deletion, a large one for insertion. With a masker, the
cells are its players, and the image is any example.

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
from scipy import ndimage

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.metrics import maps
from saliency_jax.metrics import ranking
from saliency_jax.optimization import masks


class Plan(NamedTuple):
  """What a protocol does with one example and its map.

  Attributes:
    ranks: place of each cell, 0 for the first one to go or come.
    counts: cells gone at each point of the curves, from none to all.
    deleted: masker whose baseline takes the place of what goes.
    start: masker whose baseline is what insertion starts from.
    area: maps fractions and a curve to the area under it.
  """

  ranks: Int[Array, '*players']
  counts: Int[np.ndarray, 'm']
  deleted: maskers.Masker
  start: maskers.Masker
  area: Callable[[Float[Array, 'm'], Float[Array, 'm']], Float[Array, '']]


class DeletionInsertion(NamedTuple):
  """Both curves, and the areas under them."""

  fractions: Float[Array, 'm']  # Of the cells that have gone, or come.
  deletion_curve: Float[Array, 'm']
  insertion_curve: Float[Array, 'm']
  deletion: Float[Array, '']
  insertion: Float[Array, '']


def rise_blur(
  x: Float[Array, 'H W C'],
  *,
  key: Key[Array, ''] | None = None,
  kernel_size: int = 11,
  sigma: float | int = 5.0,
  outside: types.Scalar = 0.5,
) -> Float[Array, 'H W C']:
  """Blurs the image as RISE's code does.

  Its kernel is scipy's `gaussian_filter` of a point in a square, whose border
  reflects: nearly flat, its centre 1.14 times its corner (2.7 in OpenCV's).

  Args:
    x: the image.
    key: not used.
    kernel_size: side of the kernel in pixels, odd.
    sigma: standard deviation of the filter in pixels.
    outside: value of what surrounds the image. The code has zero in the
      network's own units, as `deleted` of `rise_protocol`.
  """
  del key  # Nothing is drawn.
  checks.image(x)
  checks.within('sigma', sigma, '(0, inf)')
  checks.count('kernel_size', kernel_size)
  if kernel_size % 2 == 0:
    raise ValueError(f'kernel_size must be odd, got {kernel_size}')
  point = np.zeros(kernel_size)
  point[kernel_size // 2] = 1
  kernel = ndimage.gaussian_filter1d(point, sigma)
  dtype = examples.accumulator(x.dtype)
  rows, columns = (
    jnp.asarray(_correlation_matrix(kernel, n), dtype) for n in x.shape[:2]
  )
  blurred = jnp.einsum(
    'hi,wj,ijc->hwc',
    rows,
    columns,
    x.astype(dtype) - outside,
    precision=jax.lax.Precision.HIGHEST,
  )
  return (blurred + outside).astype(x.dtype)


def igos_protocol(
  x: types.Example,
  scores: types.Example,
  key: Key[Array, ''] | None,
  *,
  resolution: int = 28,
  baseline: baselines.Baseline = baselines.gaussian_blur,
  by_size: bool = False,
  masker: maskers.Constructor | None = None,
) -> Plan:
  """Plans what I-GOS's paper reports.

  Cells of a mask of `resolution`, about fifty steps, one blurred image for both
  curves, and the sum of right rectangles. (The authors' code counts the last
  step as if the score there were 1; this does not.)

  Args:
    x: the image; any example with a masker.
    scores: `[s, s, 1]` at the mask's resolution, or of the image's size: then
      summed over channels and brought to the mask whose upsampling is nearest
      in squares, which gives back a mask that was upsampled.
    key: consumed by the breaking of ties.
    resolution: side `s` of the mask.
    baseline: the blur; the default is for images of 224 x 224.
    by_size: whether `|scores|` rank, as for a gradient: see `maps.py`.
    masker: its players take the place of cells, its baseline the place of the
      blur.
  """
  players = masks.players(
    igos_protocol,
    x,
    key,
    resolution=resolution,
    baseline=baseline,
    masker=masker,
  )
  values = maps.per_player(scores, players, by_size=by_size)
  step = max(1, players.num // 50)
  return Plan(
    ranks=ranking.ranks(values, key=key),
    counts=np.append(np.arange(0, players.num, step), players.num),
    deleted=players,
    start=players,
    area=right_rectangles,
  )


def rise_protocol(
  x: types.Example,
  scores: types.Example,
  key: Key[Array, ''] | None,
  *,
  num_steps: int = 28,
  deleted: baselines.Baseline = baselines.constant,
  start: baselines.Baseline = rise_blur,
  by_size: bool = False,
  masker: maskers.Constructor | None = None,
) -> Plan:
  """Plans what RISE's paper reports.

  Pixels, 28 steps, deletion to grey, insertion from a slight blur, and the
  trapezoid rule.

  Args:
    x: the image; any example with a masker.
    scores: broadcastable against `x`; summed over channels.
    key: consumed by the breaking of ties.
    num_steps: steps of equal size, to the pixel.
    deleted: what pixels are deleted to. Zero in a network's own units is the
      mean colour of its data: the default grey for EfficientNet-Lite, (.485,
      .456, .406) for the networks of the paper.
    start: what insertion starts from; the default is for 224 x 224.
    by_size: whether `|scores|` rank, as for a gradient: see `maps.py`.
    masker: its players take the place of pixels, its baseline the place of both
      fills. With fewer players than `num_steps` there is a step for each.
  """
  if masker is None:
    checks.image(x)
    fills = [
      maskers.grid(x, key=key, cells=x.shape[:2], baseline=fill)
      for fill in (deleted, start)
    ]
    checks.count('num_steps', num_steps, 1, fills[0].num)
  else:
    checks.no_masker(rise_protocol, deleted=deleted, start=start)
    fills = [checks.constructor(masker)(x, key=key)] * 2
    num_steps = min(num_steps, fills[0].num)
  num = fills[0].num
  values = maps.per_player(scores, fills[0], by_size=by_size)
  return Plan(
    ranks=ranking.ranks(values, key=key),
    counts=np.rint(np.linspace(0, num, num_steps + 1)).astype(np.int32),
    deleted=fills[0],
    start=fills[1],
    area=trapezoids,
  )


def deletion_insertion(
  fn: types.ScoreFn,
  x: types.Example,
  scores: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  protocol: Callable[..., Plan] = igos_protocol,
  masker: maskers.Constructor | None = None,
  normalize: bool = False,
  batch_size: int | None = None,
) -> DeletionInsertion:
  """Measures a map by what its best cells do to the score.

  Curves and areas are NaN where the map is not finite.

  Args:
    fn: score of one example, a probability in the papers.
    x: one image; any example with a masker.
    scores: of its features, larger for more important.
    key: consumed; ties are broken at random by it, by place without it.
    protocol: `igos_protocol` or `rise_protocol`, its settings bound by
      `functools.partial`.
    masker: its players go and come, in the place of cells or pixels.
    normalize: whether curves and areas are in units of `f(x)`, where deletion
      starts and insertion ends: examples of unlike scores then count alike. It
      is for scores above zero; an `f(x)` of 0 gives NaN or infinity.
    batch_size: calls of `fn` held in memory at once; `None` holds all.
  """
  x = examples.arrays(x)
  plan = protocol(x, scores, key, masker=masker)
  dtype = examples.result_dtype(x)
  counts = jnp.asarray(plan.counts, jnp.int32)

  def evaluate(point):
    count, inserts = point
    gone = (plan.ranks < count).astype(dtype)
    return fn(
      jax.tree.map(
        functools.partial(jnp.where, inserts),
        plan.start.hide(gone),
        plan.deleted.hide(1 - gone),
      )
    )

  # One map over the points of both curves fills its batches better than two.
  points = (jnp.tile(counts, 2), jnp.arange(2 * counts.size) >= counts.size)
  values = sampling.batched_map(evaluate, points, batch_size=batch_size)
  values = maps.if_finite(values, scores)
  deletion, insertion = values.reshape(2, -1)
  if normalize:
    deletion, insertion = deletion / deletion[0], insertion / deletion[0]
  fractions = jnp.asarray(plan.counts / plan.counts[-1], dtype)
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


def _correlation_matrix(kernel, size):
  """Returns the `[size, size]` matrix of a kernel along one axis."""
  return sum(
    weight * np.eye(size, k=k - kernel.size // 2)
    for k, weight in enumerate(kernel)
  )
