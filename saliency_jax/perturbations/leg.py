"""LEG: the linear function nearest to a score over perturbations of an example.

`argmin_g E[(d(z) - <g, z>)^2] = S^-1 E[d(z) z]`, `d(z) = f(x + up(z)) - f(x)`,

with `z ~ N(0, S)` on a grid of cells, stretched to the image by `up`. Only the
score is called, so that any black box will do. `S = sigma^2 V diag(s) V'` for
`V` the cosine basis: `covariance` gives `s`, and draws and inverses are small
matrix products on both sides of the grid. The estimate is the mean of
`d_i S^-1 z_i` over the draws, where `d_i` is `d(z_i)`, or for antithetic pairs
`(d(z_i) - d(-z_i)) / 2`.

References:
  Luo, Barut, Jin, Statistically consistent saliency estimation, 2021.
    https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.perturbations import operators
from saliency_jax.perturbations import reliability
from saliency_jax.solvers import grid

# `(h, w)` to the positive eigenvalues `[h, w]` of `S / sigma^2`, laid out as
# `grid.dct` lays out its coefficients.
Covariance = Callable[[int, int], Float[Array | np.ndarray, 'h w']]
# `(cells, pixels)` along one axis to the matrix `[pixels, cells]` of `up`.
Stretch = Callable[[int, int], np.ndarray]
# `(key, i, like)` to the draw `i` of numbers of mean 0 and covariance 1.
Draw = Callable[..., Float[Array, 'h w k']]


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
    stderr: standard error of each of its entries.
    moment: `y`, the mean of `d_i z_i`.
    split_half: correlation of the maps of two halves of the draws.
    explained: share of the variance of the score that the map of one half
      predicts over the other half; below 0, none.
    score: `f(x)`.
    mean_score: mean over the perturbed images. Near 0, for a probability, the
      noise has killed the prediction and there is no map.
    score_std: their deviation.
    clipped: share of perturbed values outside of [0, 1], clipped or not.
    variance_reduction: evaluations without pairs that make a map as exact as
      one evaluation in a pair does; 1 without pairs.
    num_calls: of the score.
  """

  grid: Float[Array, 'h w k']
  stderr: Float[Array, 'h w k']
  moment: Float[Array, 'h w k']
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


def gaussian(
  key: Key[Array, ''] | None,
  i: Int[Array, ''] | int,
  like: Float[Array, 'h w k'],
) -> Float[Array, 'h w k']:
  """Draws independent standard normals."""
  return sampling.normal(sampling.draw_key(key, i), like)


def orthogonal(
  key: Key[Array, ''] | None,
  i: Int[Array, ''] | int,
  like: Float[Array, 'h w k'],
) -> Float[Array, 'h w k']:
  """Draws rows of random orthogonal matrices, a matrix of `h w k` at a time.

  Signs, cosine transform, signs and transform of a unit vector: each row has
  mean 0 and covariance 1 exactly, and is normal but for terms that vanish with
  the number of cells. As many draws as cells average the linear part of a score
  without error; draws of one matrix are not independent, and standard errors
  that take them to be are too large.
  """
  h, w, k = like.shape
  block, row = jnp.divmod(i, like.size)
  signs = sampling.signs(
    sampling.draw_key(key, block), jnp.zeros((2, h, w * k), like.dtype)
  )
  unit = (jnp.arange(like.size) == row).astype(like.dtype).reshape(h, w * k)
  draw = signs[1] * grid.idct(signs[0] * grid.idct(unit))
  return (math.sqrt(like.size) * draw).reshape(like.shape)


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
  draw: Draw = orthogonal,
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
    num_samples: perturbed images; an even number of them for pairs. The
      default is two of the matrices of `orthogonal`, in pairs.
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
  return types.Attribution(stretched(info.grid, x, stretch), info)


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
  draw: Draw,
  batch_size: int | None,
) -> tuple[LegInfo, int, Callable[[Any], Float[Array, 'h w k']]]:
  """Returns `leg`'s info, and the terms of which it is the mean.

  The arguments are those of `leg`.

  Returns:
    The info, the number `n` of independent terms (draws or pairs), and the
    function from `i < n` to the term `d_i z_i` of the moment.
  """
  checks.image(x)
  h, w = operators.pair(cells)
  for num, size in zip((h, w), x.shape[:2], strict=True):
    checks.count('cells', num, 1, size)
  num_signs = 2 if antithetic else 1
  checks.count('num_samples', num_samples, num_signs)
  if num_samples % num_signs:
    raise ValueError(
      f'num_samples must be even for antithetic pairs, got {num_samples}'
    )
  directions, alone = _checked(colours(x.shape[2]), x)
  num_groups = len(directions) if alone else 1
  num_calls = num_samples * num_groups
  n = num_samples // num_signs
  size = batch_size
  if size is not None:
    checks.count('batch_size', size)
    size = max(1, size // (num_signs * num_groups))

  spectrum = scaled(covariance, (h, w), sigma, x.dtype)
  root = jnp.sqrt(spectrum)
  like = jnp.zeros((h, w, len(directions)), x.dtype)
  rows, cols = (
    jnp.asarray(stretch(a, b), x.dtype)
    for a, b in zip((h, w), x.shape, strict=False)
  )

  def noise(i, gain):
    return _each(lambda u: grid.idct(gain * u))(draw(key, i, like))

  def evaluate(i):
    moves = _moves(noise(i, root), rows, cols, directions, alone)
    if antithetic:
      moves = jnp.concatenate([moves, -moves])
    images = x[None] + moves
    outside = jnp.mean(((images < 0) | (images > 1)).astype(x.dtype))
    if clip:
      images = jnp.clip(images, 0, 1)
    scores = jax.vmap(fn)(images).astype(x.dtype)
    return scores.reshape(num_signs, num_groups), outside

  draws = jnp.arange(n)
  score = fn(x).astype(x.dtype)
  scores, outside = sampling.batched_map(evaluate, draws, batch_size=size)
  above = scores - score
  delta, even = above[:, 0], jnp.zeros_like(above[:, 0])
  if antithetic:
    delta, even = (scores[:, 0] - scores[:, 1]) / 2, jnp.mean(above, 1)

  num_first = -(-n // 2)

  def terms(element):
    i, delta, even = element
    inverse = noise(i, 1 / root)
    term = delta[None, None] * inverse
    sign = jnp.where(i < num_first, 1, -1).astype(x.dtype)
    return term, sign * term, jnp.sum((even[None, None] * inverse) ** 2)

  (g, tilt, lost), (var, _, _) = sampling.batched_moments(
    terms, (draws, delta, even), batch_size=size
  )
  halves = (
    (g + tilt) * (n / (2 * num_first)),
    (g - tilt) * (n / (2 * max(1, n - num_first))),
  )
  metric = lambda u: _each(lambda u: grid.filtered(u, spectrum))(u)
  moment = metric(g)
  spread = jnp.var(scores, (0, 1))
  info = LegInfo(
    grid=g,
    stderr=sampling.standard_error(var, n),
    moment=moment,
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
  rows, cols = (
    jnp.asarray(stretch(a, b), g.dtype)
    for a, b in zip(g.shape[:2], x.shape[:2], strict=True)
  )
  return _each(lambda u: operators.spread(u, rows, cols))(g)


def _checked(colours, x):
  """Returns the directions and whether they move alone, or raises."""
  directions = np.asarray(colours.directions)
  channels = x.shape[2]
  if directions.shape not in ((1, channels), (channels, channels)):
    raise ValueError(
      f'colours must return directions [1, {channels}] or '
      f'[{channels}, {channels}], got {directions.shape}'
    )
  return jnp.asarray(directions, x.dtype), colours.alone


def _moves(z, rows, cols, directions, alone):
  """Returns what is added to the image, `[images, H, W, C]`."""
  moves = _each(lambda u: operators.spread(u, rows, cols))(z)
  mix = 'HWk,kC->kHWC' if alone else 'HWk,kC->HWC'
  moves = jnp.einsum(
    mix, moves, directions, precision=jax.lax.Precision.HIGHEST
  )
  return moves if alone else moves[None]


def _each(f):
  """Maps a function of a grid over the last axis."""
  return jax.vmap(f, in_axes=-1, out_axes=-1)
