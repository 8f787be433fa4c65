"""LEG: the linear function nearest to a score over perturbations of an example.

`argmin_g E[(d(z) - <g, z>)^2] = S^-1 E[d(z) z]`, `d(z) = f(x + up(z)) - f(x)`,

with `z ~ N(0, S)` on a grid of cells, stretched to the image by `up`; or with
`d(z) = f(hide(1 + z)) - f(x)` for the players of a masker. Only the score is
called, so that any black box will do. `S = sigma^2 V diag(s) V'` for `V` the
waves of the grid, cosines, or of any graph of the cells or players:
`covariance` gives `s`, and draws and inverses are small matrix products, on
each side of a grid. The estimate is the mean of
`d_i S^-1 z_i` over the draws, where `d_i` is `d(z_i)`, or for antithetic pairs
`(d(z_i) - d(-z_i)) / 2`. What is said of its errors is taken over blocks of
draws that are independent of each other: whole matrices for `orthogonal`.

References:
  Luo, Barut, Jin, Statistically consistent saliency estimation, 2021.
    https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
"""

from collections.abc import Callable
import functools
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from saliency_jax import maskers
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import stopping
from saliency_jax.core import stretching
from saliency_jax.core import types
from saliency_jax.perturbations import covariances
from saliency_jax.perturbations import draws
from saliency_jax.perturbations import moves as moving
from saliency_jax.perturbations import reliability
from saliency_jax.perturbations import responses
from saliency_jax.perturbations import scales

# What these settings may be, beside one's own functions.
paper, white, smooth = covariances.paper, covariances.white, covariances.smooth
nearest, bilinear = stretching.nearest, stretching.bilinear
orthogonal, gaussian = draws.orthogonal, draws.gaussian
Colours = moving.Colours
grey, joint, per_channel = moving.grey, moving.joint, moving.per_channel


class LegInfo(NamedTuple):
  """The map on its grid, and whether it can be trusted.

  Attributes:
    grid: the map, before it is stretched.
    stderr: standard error of each of its entries, from `num_blocks - 1` degrees
      of freedom: with few blocks only their mean square over the map is known.
    margin: half of the 95% interval of each of its entries. Of whole orthogonal
      matrices it is made of what the map leaves of each draw, with as many
      degrees of freedom as draws are more than cells; else of `stderr`. In
      simulations it covers .95 on 12 x 12 cells or more, .93 on 4 x 4.
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
    score_std: their deviation. 0 where the noise moves nothing, as it is with
      trees and tokens at a small sigma: there is no map, and 'auto' finds one.
    clipped: share of perturbed values outside of [0, 1], clipped or not: of the
      image, or of what a masker's players keep.
    variance_reduction: evaluations without pairs that make a map as exact as
      one evaluation in a pair does, both in blocks; 1 without pairs.
    sigma: scale of the noise.
    sigma_found: whether `sigma='auto'` lies inside of what is looked at; at an
      end, 2^-10 or 4, the share is beyond: `mean_score / score` was kept. True
      of a number.
    num_calls: of the score.
    draws: how many they are, a pair counted once, and whether a tolerance is
      met.
    draw_scores: what each of them scored, with zeros behind the last: `start`
      goes on from them.
  """

  grid: Float[Array, '*cells k']
  stderr: Float[Array, '*cells k']
  margin: Float[Array, '*cells k']
  moment: Float[Array, '*cells k']
  num_blocks: Int[Array, '']
  split_half: Float[Array, '']
  explained: Float[Array, '']
  score: Float[Array, '']
  mean_score: Float[Array, '']
  score_std: Float[Array, '']
  clipped: Float[Array, '']
  variance_reduction: Float[Array, '']
  sigma: Float[Array, '']
  sigma_found: Bool[Array, '']
  num_calls: Int[Array, '']
  draws: stopping.Draws
  draw_scores: Float[Array, 'n signs groups']


class Design(NamedTuple):
  """How the noise is drawn, and how much of it: arguments of `leg`."""

  sigma: types.Scalar | Literal['auto']
  keep: types.Scalar
  num_samples: int | None
  covariance: covariances.Covariance
  antithetic: bool
  draw: draws.Draw
  batch_size: int | None
  tolerance: types.Scalar | None = None
  start: types.Attribution | None = None


class Estimate(NamedTuple):
  """A LEG on its grid, and the terms of which it is the mean.

  Attributes:
    info: of `leg`.
    num_terms: independent terms: draws, or antithetic pairs.
    term: the index of a term to the term `d_i z_i` of the moment; of whole
      orthogonal matrices, whose mean has no error of the score's linear part,
      to what is left of the term without it, about the moment.
    noise: `(key, i)` to the draw `i` of the noise.
  """

  info: LegInfo
  num_terms: int
  term: Callable[[Any], Float[Array, '*cells k']]
  noise: Callable[[Any, Any], Float[Array, '*cells k']]


def leg(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  cells: int | tuple[int, int] = 28,
  sigma: types.Scalar | Literal['auto'] = 0.05,
  keep: types.Scalar = 0.5,
  num_samples: int | None = None,
  covariance: covariances.Covariance = white,
  colours: Callable[[int], moving.Colours] = moving.grey,
  antithetic: bool = True,
  clip: bool = False,
  stretch: stretching.Stretch = nearest,
  draw: draws.Draw = orthogonal,
  masker: maskers.Constructor | None = None,
  edges: Any = None,
  batch_size: int | None = 16,
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> types.Attribution:
  """Estimates the linearly estimated gradient of `fn` around `x`.

  Args:
    fn: score of one example, a probability or, in the paper's equation 1, the
      difference of two: `scores.contrast(apply, params, label, other)`. No
      gradient is taken.
    x: the image, in [0, 1] for `clip` and `info.clipped`; any example with a
      masker.
    key: consumed; required.
    cells: of the grid a side, or `(rows, columns)`.
    sigma: scale of the noise, in units of `x`; with a masker as a share of what
      hiding a player takes away. 'auto' looks for the scale, from 2^-10 to 4,
      at which the mean of the perturbed scores is a share of the score.
    keep: that share, of a score above 0. 16 draws at each of ten steps find it.
    num_samples: perturbed images: at least two whole blocks of `draw`, in
      pairs if antithetic. `None` takes 3136, rounded up to whole blocks: two
      matrices of `orthogonal` on 28 x 28 cells. The most with a tolerance.
    covariance: `white`, `paper`, `smooth`, or any function of the eigenvalues
      of the Laplacian that returns a spectrum: see `covariances.py`.
    colours: `grey`, `joint` or `per_channel`.
    antithetic: whether every draw is used with both signs, which cancels all
      of the score that is even in the noise.
    clip: whether perturbed images are clipped to [0, 1], or what a masker's
      players keep; `z` stays as drawn.
    stretch: `nearest` or `bilinear`.
    draw: of the noise before it is given its covariance: `orthogonal` or
      `gaussian`.
    masker: its players move, in the place of cells: each keeps `1 + z` of what
      it hides. Tokens, which are kept above .5, want a sigma of that size.
    edges: which cells or players are neighbours, `[m, 2]` of their numbers from
      0: see `core/graphs.py`; `None` are those of their grid. The covariance is
      about the waves of that graph, and `info.grid` is then `[p, k]`.
    batch_size: perturbed images held in memory at once; `None` holds all.
    tolerance: draws whole blocks until the largest standard error of a cell,
      of which `info.margin` is made, is no more: see `core/stopping.py`.
    start: an earlier map with the same key and settings, whose draws are the
      first of these.

  Returns:
    Scores `[H, W, k]`; a pixel has the scores of its cell: what `fn` gains for
    each unit that the cell gains. `k` is 1 for `grey`. With a masker, what it
    gains for the whole presence of a player, as the masker spreads it.

  Raises:
    ValueError: without a key, on a bad number, grid, graph, spectrum or
      colours, and for settings of the grid beside a masker.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> from saliency_jax import maskers
    >>> fn = lambda x: x @ jnp.array([1.0, 2.0, 3.0])
    >>> maps, info = saliency_jax.leg(
    ...   fn,
    ...   jnp.ones(3),
    ...   key=jax.random.key(0),
    ...   masker=maskers.entries,
    ...   num_samples=24,
    ... )
    >>> print(np.asarray(maps).round(3))
    [1. 2. 3.]
  """
  if masker is None:
    x = examples.floats(x)
    moves = moving.of_image(x, cells, colours, stretch, clip)
  else:
    x = examples.arrays(x)
    checks.no_masker(leg, cells=cells, colours=colours, stretch=stretch)
    moves = moving.of_masker(checks.constructor(masker)(x, key=key), clip)
  moves = moving.on_graph(moves, edges)
  design = Design(
    sigma,
    keep,
    num_samples,
    covariance,
    antithetic,
    draw,
    batch_size,
    tolerance,
    start,
  )
  info = estimate(fn, x, key, moves, design).info
  return examples.attribution(x, moves.spread(info.grid), info)


def estimate(
  fn: types.ScoreFn,
  x: types.Example,
  key: Key[Array, ''] | None,
  moves: moving.Moves,
  design: Design,
) -> Estimate:
  """Returns the LEG of `fn` at `x` on the graph of its moves.

  Raises:
    ValueError: without a key, on a bad number or spectrum.
  """
  # Half precision would round away what the cosines sum.
  dtype = examples.accumulator(examples.result_dtype(x))
  on = moves.on
  like = jnp.zeros((*on.shape, moves.num), dtype)
  num_signs = 2 if design.antithetic else 1
  block_size = draws.block_size(design.draw, like)
  num_blocks = draws.num_blocks(design.num_samples, block_size, num_signs)
  size = design.batch_size
  if size is not None:
    checks.count('batch_size', size)
    size = max(1, size // (num_signs * moves.num_groups))

  def noise(key, i, gain):
    return responses.each(lambda u: on.from_waves(gain * u))(
      design.draw(key, i, like)
    )

  earlier = None
  if design.start is not None:
    earlier = stopping.info_of(design.start, LegInfo)
    stopping.same_players(earlier.grid, like)
  score = checks.one_number(fn(x)).astype(dtype)
  sigma, found, num_calls = _scale(
    fn, key, moves, design, noise, score, num_signs, size, earlier
  )
  spectrum = covariances.scaled(design.covariance, on.eigenvalues, sigma, dtype)
  out, back = jnp.sqrt(spectrum), 1 / jnp.sqrt(spectrum)
  balanced = draws.is_balanced(design.draw)
  num_fitted = like.size // moves.num_groups if balanced else 0

  def fit(mean):
    """Returns `<g, z_i>` of a draw, for each group, from its waves alone."""
    waves = responses.each(on.waves)(mean) * jnp.expand_dims(out, -1)

    def of_draw(i):
      parts = jnp.sum(waves * design.draw(key, i, like), range(len(on.shape)))
      return parts if moves.num_groups > 1 else jnp.sum(parts, keepdims=True)

    return of_draw

  summed = functools.partial(
    responses.summed,
    score=score,
    inverse=lambda i: noise(key, i, back),
    fit=fit,
    block_size=block_size,
    num_fitted=num_fitted,
    batch_size=size,
  )
  num_samples = num_blocks * block_size
  (scores, outside), drawn = stopping.rows(
    lambda i: moving.evaluate(fn, moves, noise(key, i, out), num_signs),
    num_samples,
    lambda values, num: summed(values[0], num).own_error,
    batch_size=size,
    tolerance=design.tolerance,
    start=earlier and _rows(earlier, dtype),
    least=(2 if balanced else stopping.LEAST) * block_size,
    unit=block_size,
  )
  # What is known without running it stays a number.
  fixed = design.tolerance is None and earlier is None
  num = None if fixed else drawn.num
  of = summed(scores, num)
  num_blocks = responses.num_blocks(len(scores), num, block_size)
  freedom = num_blocks - 1
  if balanced:
    freedom = num_blocks * block_size - num_fitted
  halves = reliability.halves(of.mean, of.tilt, num_blocks)
  metric = responses.each(lambda u: on.filtered(u, spectrum))
  moment = metric(of.mean)
  seen = jnp.arange(len(scores), dtype=jnp.int32) < drawn.num
  spread = jnp.var(scores, (0, 1), where=seen[:, None, None])
  info = LegInfo(
    grid=of.mean,
    stderr=of.stderr,
    margin=reliability.margin(of.own_error, freedom),
    moment=moment,
    num_blocks=jnp.asarray(num_blocks, jnp.int32),
    split_half=reliability.correlation(*halves),
    explained=reliability.explained(*halves, metric, jnp.sum(spread)),
    score=score,
    mean_score=jnp.mean(scores, where=seen[:, None, None]),
    score_std=jnp.sqrt(jnp.mean(spread)),
    clipped=jnp.mean(outside, where=seen),
    variance_reduction=reliability.reduction(
      jnp.sum(of.variance), of.lost, num_signs
    ),
    sigma=jnp.asarray(sigma, dtype),
    sigma_found=found,
    num_calls=drawn.num * scores[0].size + 1 + num_calls,
    draws=drawn,
    draw_scores=scores,
  )

  def term(i):
    z = noise(key, i, out)
    if balanced:
      return moment + responses.times(of.left(i), z)
    return responses.times(of.delta[i], z)

  return Estimate(info, num_samples, term, lambda key, i: noise(key, i, out))


def _rows(info, dtype):
  """Returns what the draws of an earlier map gave."""
  scores = jnp.asarray(info.draw_scores, dtype)
  seen = jnp.arange(len(scores), dtype=jnp.int32) < info.draws.num
  # Of what was outside the mean is enough.
  outside = jnp.where(seen, jnp.asarray(info.clipped, dtype), 0)
  return stopping.Rows((scores, outside), info.draws)


def _scale(fn, key, moves, design, noise, score, num_signs, size, earlier):
  """Returns the scale of the noise, if it was found, and the calls it took."""
  if not isinstance(design.sigma, str):
    return design.sigma, jnp.asarray(True), 0
  if design.sigma != 'auto':
    raise ValueError(f"sigma must be a number or 'auto', got {design.sigma!r}")
  num_calls = scales.num_calls(num_signs * moves.num_groups)
  if earlier is not None:
    return earlier.sigma, jnp.asarray(earlier.sigma_found), num_calls
  eigenvalues, key = moves.on.eigenvalues, sampling.key_for(key, sampling.SCALE)
  unit = covariances.scaled(design.covariance, eigenvalues, 1.0, score.dtype)
  sigma, found = scales.keeping(
    design.keep,
    fn,
    moves,
    lambda i: noise(key, i, jnp.sqrt(unit)),
    score,
    num_signs=num_signs,
    batch_size=size,
  )
  return sigma, found, num_calls
