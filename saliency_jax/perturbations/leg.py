"""LEG: the linear function nearest to a score over perturbations of an example.

`argmin_g E[(d(z) - <g, z>)^2] = S^-1 E[d(z) z]`, `d(z) = f(x + up(z)) - f(x)`,

with `z ~ N(0, S)` on a grid of cells, stretched to the image by `up`. Only the
score is called, so that any black box will do. `S = sigma^2 V diag(s) V'` for
`V` the cosine basis: `covariance` gives `s`, and draws and inverses are small
matrix products on both sides of the grid. The estimate is the mean of
`d_i S^-1 z_i` over the draws, where `d_i` is `d(z_i)`, or for antithetic pairs
`(d(z_i) - d(-z_i)) / 2`. What is said of its errors is taken over blocks of
draws that are independent of each other: whole matrices for `orthogonal`.

References:
  Luo, Barut, Jin, Statistically consistent saliency estimation, 2021.
    https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.perturbations import draws
from saliency_jax.perturbations import operators
from saliency_jax.perturbations import reliability
from saliency_jax.solvers import grid

# `(h, w)` to the positive eigenvalues `[h, w]` of `S / sigma^2`, laid out as
# `grid.dct` lays out its coefficients.
Covariance = Callable[[int, int], Float[Array | np.ndarray, 'h w']]
# `(cells, pixels)` along one axis to the matrix `[pixels, cells]` of `up`.
Stretch = Callable[[int, int], np.ndarray]


class Colours(NamedTuple):
  """How a grid of `k` numbers a cell moves `C` channels.

  Attributes:
    directions: what each of the numbers adds to each channel, `[k, C]`.
    alone: whether each direction has perturbed images of its own.
  """

  directions: np.ndarray
  alone: bool = False


class LegInfo(NamedTuple):
  """The map on its grid, and whether it can be trusted.

  Attributes:
    grid: the map, before it is stretched.
    stderr: standard error of each of its entries, from `num_blocks - 1` degrees
      of freedom: with few blocks only their mean square over the map is known.
    moment: `y`, the mean of `d_i z_i`.
    num_blocks: of independent draws, 2 at least: all that is said of errors
      comes from the differences between blocks.
    split_half: correlation of the maps of two halves of the blocks.
    explained: share of the variance of the score that the map of one half
      predicts over the other half; below 0, less than a constant
      does: more draws, fewer cells or another sigma before the map says much.
    score: `f(x)`.
    mean_score: mean over the perturbed images. Near 0, for a probability, the
      noise has killed the prediction and there is no map.
    score_std: their deviation.
    clipped: share of perturbed values outside of [0, 1], clipped or not.
    variance_reduction: evaluations without pairs that make a map as exact as
      one evaluation in a pair does, both in blocks; 1 without pairs.
    num_calls: of the score.
  """

  grid: Float[Array, 'h w k']
  stderr: Float[Array, 'h w k']
  moment: Float[Array, 'h w k']
  num_blocks: Int[Array, '']
  split_half: Float[Array, '']
  explained: Float[Array, '']
  score: Float[Array, '']
  mean_score: Float[Array, '']
  score_std: Float[Array, '']
  clipped: Float[Array, '']
  variance_reduction: Float[Array, '']
  num_calls: Int[Array, '']


def paper(h: int, w: int) -> Float[np.ndarray, 'h w']:
  """Returns the spectrum of `D'D + 11'/p`: cells vary by 2 sigma, at odds."""
  spectrum = grid.exact_eigenvalues(h, w)
  spectrum[0, 0] = 1
  return spectrum


def white(h: int, w: int) -> Float[np.ndarray, 'h w']:
  """Returns the spectrum of independent cells."""
  return np.ones((h, w))


def smooth(h: int, w: int) -> Float[np.ndarray, 'h w']:
  """Returns that of `(D'D)^+`, neighbours alike, scaled to mean variance 1.

  The mean of the grid varies as its slowest wave does.
  """
  laplacian = grid.exact_eigenvalues(h, w)
  laplacian[0, 0] = np.min(laplacian.ravel()[1:], initial=np.inf)
  if h * w == 1:
    return np.ones((1, 1))
  return (1 / laplacian) / np.mean(1 / laplacian)


def grey(num_channels: int) -> Colours:
  """Moves all channels alike: one number a cell."""
  return Colours(np.ones((1, num_channels)))


def joint(num_channels: int) -> Colours:
  """Moves every channel by a number of its own, all of them at once."""
  return Colours(np.eye(num_channels))


def per_channel(num_channels: int) -> Colours:
  """Moves one channel at a time, with `num_samples` images for each."""
  return Colours(np.eye(num_channels), alone=True)


def nearest(cells: int, pixels: int) -> np.ndarray:
  """Returns the matrix that gives every pixel the value of its cell."""
  of = np.arange(pixels) * cells // pixels
  return (of[:, None] == np.arange(cells)).astype(float)


# Interpolates between the centres of the cells.
bilinear = operators.stretch_matrix


# Numbers that are given the covariance: rows of matrices, or one by one.
orthogonal, gaussian = draws.orthogonal, draws.gaussian


def leg(
  fn: types.ScoreFn,
  x: Float[Array, 'H W C'],
  *,
  key: Key[Array, ''] | None = None,
  cells: int | tuple[int, int] = 28,
  sigma: types.Scalar = 0.05,
  num_samples: int = 3136,
  covariance: Covariance = white,
  colours: Callable[[int], Colours] = grey,
  antithetic: bool = True,
  clip: bool = False,
  stretch: Stretch = nearest,
  draw: draws.Draw = orthogonal,
  batch_size: int | None = 16,
) -> types.Attribution:
  """Estimates the linearly estimated gradient of `fn` around `x`.

  Args:
    fn: score of one example, a probability or the difference of two in the
      paper; no gradient is taken.
    x: the image, in [0, 1] for `clip` and `info.clipped`.
    key: consumed; required.
    cells: of the grid a side, or `(rows, columns)`.
    sigma: scale of the noise, in units of `x`.
    num_samples: perturbed images: at least two whole blocks of `draw`, in
      pairs if antithetic. The default is two matrices of `orthogonal`.
    covariance: `white`, `paper`, `smooth` or any other `(h, w) -> spectrum`.
    colours: `grey`, `joint` or `per_channel`.
    antithetic: whether every draw is used with both signs, which cancels all
      of the score that is even in the noise.
    clip: whether perturbed images are clipped to [0, 1]; `z` stays as drawn.
    stretch: `nearest` or `bilinear`.
    draw: of the noise before it is given its covariance: `orthogonal` or
      `gaussian`.
    batch_size: perturbed images held in memory at once; `None` holds all.

  Returns:
    Scores `[H, W, k]`, of a pixel those of its cell: what the score gains for
    each unit that the cell gains. `k` is 1 for `grey`.

  Raises:
    ValueError: without a key, on a bad number, grid, spectrum or colours.
  """
  x = examples.floats(x)
  checks.image(x)
  info, _, _ = estimate(
    fn,
    x,
    key=key,
    cells=cells,
    sigma=sigma,
    num_samples=num_samples,
    covariance=covariance,
    colours=colours,
    antithetic=antithetic,
    clip=clip,
    stretch=stretch,
    draw=draw,
    batch_size=batch_size,
  )
  scores = stretched(info.grid, x, stretch).astype(x.dtype)
  return types.Attribution(scores, info)


def estimate(
  fn: types.ScoreFn,
  x: Float[Array, 'H W C'],
  *,
  key: Key[Array, ''] | None,
  cells: int | tuple[int, int],
  sigma: types.Scalar,
  num_samples: int,
  covariance: Covariance,
  colours: Callable[[int], Colours],
  antithetic: bool,
  clip: bool,
  stretch: Stretch,
  draw: draws.Draw,
  batch_size: int | None,
) -> tuple[LegInfo, int, Callable[[Any], Float[Array, 'h w k']]]:
  """Returns `leg`'s info, and the terms of which it is the mean.

  The arguments are those of `leg`.

  Returns:
    The info, the number `n` of independent terms (draws or pairs), and the
    function from `i < n` to the term `d_i z_i` of the moment.
  """
  h, w = operators.pair(cells)
  for num, size in zip((h, w), x.shape[:2], strict=True):
    checks.count('cells', num, 1, size)
  directions, alone = _checked(colours(x.shape[2]), x)
  num_groups = len(directions) if alone else 1
  num_signs = 2 if antithetic else 1
  # Half precision would round away what the cosines sum.
  dtype = examples.accumulator(x.dtype)
  directions = jnp.asarray(directions, dtype)
  like = jnp.zeros((h, w, len(directions)), dtype)
  block_size = draws.block_size(draw, like)
  num_blocks = draws.num_blocks(num_samples, block_size, num_signs)
  num_calls = num_samples * num_groups
  n = num_samples // num_signs
  size = batch_size
  if size is not None:
    checks.count('batch_size', size)
    size = max(1, size // (num_signs * num_groups))

  spectrum = scaled(covariance, (h, w), sigma, dtype)
  root = jnp.sqrt(spectrum)
  rows, cols = _stretches(stretch, (h, w), x, dtype)

  def noise(i, gain):
    return _each(lambda u: grid.idct(gain * u))(draw(key, i, like))

  def evaluate(i):
    moves = _moves(noise(i, root), rows, cols, directions, alone)
    if antithetic:
      moves = jnp.concatenate([moves, -moves])
    images = x[None] + moves.astype(x.dtype)
    outside = jnp.mean(((images < 0) | (images > 1)).astype(dtype))
    if clip:
      images = jnp.clip(images, 0, 1)
    scores = jax.vmap(fn)(images).astype(dtype)
    return scores.reshape(num_signs, num_groups), outside

  order = jnp.arange(n)
  score = fn(x).astype(dtype)
  scores, outside = sampling.batched_map(evaluate, order, batch_size=size)
  above = scores - score
  delta, even = above[:, 0], jnp.zeros_like(above[:, 0])
  if antithetic:
    delta, even = (scores[:, 0] - scores[:, 1]) / 2, jnp.mean(above, 1)

  def of_draw(element):
    i, delta, even = element
    inverse = noise(i, 1 / root)
    return delta[None, None] * inverse, even[None, None] * inverse

  def of_block(element):
    j, rows = element
    term, even = sampling.batched_mean(of_draw, rows, batch_size=size)
    sign = reliability.half(j, num_blocks).astype(dtype)
    return term, sign * term, jnp.sum(even**2)

  blocks = jax.tree.map(
    lambda a: a.reshape(num_blocks, block_size, *a.shape[1:]),
    (order, delta, even),
  )
  (g, tilt, lost), (var, _, _) = sampling.batched_moments(
    of_block,
    (jnp.arange(num_blocks), blocks),
    batch_size=None if size is None else max(1, size // block_size),
  )
  halves = reliability.halves(g, tilt, num_blocks)
  metric = lambda u: _each(lambda u: grid.filtered(u, spectrum))(u)
  moment = metric(g)
  spread = jnp.var(scores, (0, 1))
  info = LegInfo(
    grid=g,
    stderr=sampling.standard_error(var, num_blocks),
    moment=moment,
    num_blocks=jnp.asarray(num_blocks, jnp.int32),
    split_half=reliability.correlation(*halves),
    explained=reliability.explained(*halves, metric, jnp.sum(spread)),
    score=score,
    mean_score=jnp.mean(scores),
    score_std=jnp.sqrt(jnp.mean(spread)),
    clipped=jnp.mean(outside),
    variance_reduction=reliability.reduction(jnp.sum(var), lost, num_signs),
    num_calls=jnp.asarray(num_calls + 1, jnp.int32),
  )
  term = lambda i: delta[i][None, None] * noise(i, root)
  return info, n, term


def scaled(
  covariance: Covariance, cells: tuple[int, int], sigma: types.Scalar, dtype
) -> Float[Array, 'h w']:
  """Returns the spectrum of `S`.

  Raises:
    ValueError: if it has a wrong shape or is not positive.
  """
  checks.within('sigma', sigma, '(0, inf)')
  spectrum = covariance(*cells)
  if jnp.shape(spectrum) != cells:
    raise ValueError(
      f'covariance must return the shape {cells}, got {jnp.shape(spectrum)}'
    )
  if not isinstance(spectrum, jax.core.Tracer):
    checks.within('the least eigenvalue', np.min(spectrum), '(0, inf)')
  return jnp.asarray(spectrum, dtype) * jnp.asarray(sigma, dtype) ** 2


def stretched(
  g: Float[Array, 'h w k'], x: Float[Array, 'H W C'], stretch: Stretch
) -> Float[Array, 'H W k']:
  """Returns a map of cells as one of pixels."""
  rows, cols = _stretches(stretch, g.shape[:2], x, g.dtype)
  return _each(lambda u: operators.spread(u, rows, cols))(g)


def _stretches(stretch, cells, x, dtype):
  """Returns the matrices of `up` for the rows and for the columns."""
  return [
    jnp.asarray(stretch(*sizes), dtype)
    for sizes in zip(cells, x.shape[:2], strict=True)
  ]


def _checked(colours, x):
  """Returns the directions and whether they move alone, or raises."""
  directions = np.asarray(colours.directions)
  channels = x.shape[2]
  if directions.shape not in ((1, channels), (channels, channels)):
    raise ValueError(
      f'colours must return directions [1, {channels}] or '
      f'[{channels}, {channels}], got {directions.shape}'
    )
  return directions, colours.alone


def _moves(z, rows, cols, directions, alone):
  """Returns what is added to the image, `[images, H, W, C]`."""
  moves = _each(lambda u: operators.spread(u, rows, cols))(z)
  highest = jax.lax.Precision.HIGHEST
  if alone:
    return jnp.einsum('HWk,kC->kHWC', moves, directions, precision=highest)
  return jnp.matmul(moves, directions, precision=highest)[None]


def _each(f):
  """Maps a function of a grid over the last axis."""
  return jax.vmap(f, in_axes=-1, out_axes=-1)
