"""RISE: the mean of random masks, weighted by the score of what they leave.

The scores are `E_M[f(x * M + baseline * (1 - M)) M] / E[M]`, with `M` a grid of
Bernoulli(p) cells, stretched, and shifted by up to one cell; or each player of
a masker Bernoulli(p).

References:
  Petsiuk, Das, Saenko, RISE: randomized input sampling for explanation of
  black-box models, 2018. https://arxiv.org/abs/1806.07421
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import stopping
from saliency_jax.core import stretching
from saliency_jax.core import types


class RiseInfo(NamedTuple):
  """How far the Monte Carlo estimate may be from its expectation.

  Attributes:
    stderr: standard error of each score, shaped as the scores. Most of it is
      common to the whole map (every mask shows about half of the image);
      differences between pixels are better known.
    mean_score: the mean of `f` over the masked images.
    score_std: its standard deviation; where it is nearly nil, the masks have
      killed the prediction and the map says nothing.
    draws: how many masks they are, and whether a tolerance is met.
  """

  stderr: Any
  mean_score: Float[Array, '']
  score_std: Float[Array, '']
  draws: stopping.Draws


def rise(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  num_masks: int = 4000,
  cells: int | tuple[int, int] = 7,
  keep_prob: types.Scalar = 0.5,
  baseline: baselines.Baseline = baselines.black,
  masker: maskers.Constructor | None = None,
  batch_size: int | None = 16,
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> types.Attribution:
  """Weighs random masks by the score of the image that they leave.

  Scores are normalised as in the paper, by `1 / (num_masks keep_prob)`. Masks
  are made a batch at a time.

  Args:
    fn: score of one example, a probability in the paper; no gradient is taken.
    x: the image, of floats or of integers; any example with a masker.
    key: consumed; required.
    num_masks: draws of the mask; 4000 for VGG, 8000 for ResNet in the paper.
      The most of them with a tolerance.
    cells: cells of the grid a side, or `(rows, columns)`.
    keep_prob: probability in (0, 1] that a cell is kept.
    baseline: what shows through a mask: a number, an array or a function.
    masker: its players are kept or hidden, in the place of cells.
    batch_size: masked images held in memory at once; `None` holds them all.
    tolerance: draws until the largest standard error is no more: see
      `core/stopping.py`.
    start: an earlier map with the same key and settings, whose masks are the
      first of these.

  Returns:
    Scores `[H, W, 1]`, or as the masker spreads them.

  Raises:
    ValueError: without a key or a mask, for `keep_prob` out of range, more
      cells than pixels, a baseline unlike `x`, or either beside a masker.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> maps, info = saliency_jax.rise(
    ...   lambda x: x.mean(),
    ...   jnp.ones((8, 8, 3)),
    ...   key=jax.random.key(0),
    ...   num_masks=32,
    ...   cells=2,
    ... )
    >>> maps.shape, info.stderr.shape
    ((8, 8, 1), (8, 8, 1))
  """
  x = examples.arrays(x)
  checks.count('num_masks', num_masks)
  checks.within('keep_prob', keep_prob, '(0, 1]')
  dtype = examples.accumulator(examples.result_dtype(x))
  keep_prob = jnp.asarray(keep_prob, dtype)
  if masker is None:
    masker, mask = _cells(x, key, cells, keep_prob, baseline)
  else:
    checks.no_masker(rise, cells=cells, baseline=baseline)
    masker, mask = _players(checks.constructor(masker)(x, key=key), keep_prob)
  fn, _ = examples.widened(fn, x)

  def draw(i):
    kept = mask(sampling.draw_key(key, i))
    score = checks.one_number(fn(masker.blend(kept))).astype(dtype)
    return jax.tree.map(lambda m: score * m, kept), score

  per_kept = lambda tree: jax.tree.map(lambda a: a / keep_prob, tree)
  if start is not None:
    start = _restored(start, keep_prob)
  (mean, mean_score), (var, score_var), draws = stopping.moments(
    draw,
    num_masks,
    batch_size=batch_size,
    tolerance=tolerance,
    start=start,
    watched=lambda means, variances: per_kept(per_kept(variances[0])),
  )
  info = RiseInfo(
    stderr=per_kept(stopping.standard_error(var, draws)),
    mean_score=mean_score,
    score_std=jnp.sqrt(score_var),
    draws=draws,
  )
  return examples.attribution(x, per_kept(mean), info)


def _restored(start, keep_prob):
  """Returns the moments of an earlier map."""
  info = stopping.info_of(start, RiseInfo)
  score_stderr = stopping.standard_error(info.score_std**2, info.draws)
  maps = stopping.restored(start.scores, info.stderr, info.draws, 1 / keep_prob)
  score = stopping.restored(info.mean_score, score_stderr, info.draws)
  return stopping.Moments(
    (maps.mean, score.mean), (maps.variance, score.variance), info.draws
  )


def _cells(x, key, cells, keep_prob, baseline):
  """Returns a masker of pixels, and the draw of the paper's masks of them."""
  checks.image(x)
  cells = stretching.per_axis(cells)
  for num, size in zip(cells, x.shape[:2], strict=True):
    checks.count('cells', num, 1, size)
  pixels = maskers.grid(x, key=key, cells=x.shape[:2], baseline=baseline)
  draw = lambda key: random_mask(key, x.shape[:2], cells, keep_prob)[..., None]
  return pixels, draw


def _players(masker, keep_prob):
  """Returns a masker, and the draw of its players, spread."""

  def draw(key):
    unit = jax.random.uniform(key, masker.shape, keep_prob.dtype)
    return masker.spread((unit < keep_prob).astype(keep_prob.dtype))

  return masker, draw


def random_mask(
  key: Key[Array, ''],
  size: tuple[int, int],
  cells: tuple[int, int],
  keep_prob: Float[Array, ''],
) -> Float[Array, 'H W']:
  """Draws one mask of RISE.

  A grid of `cells` is stretched to one cell more than the image, and the image
  is cut out of it at a uniformly random shift of less than a cell.

  Args:
    key: consumed.
    size: `(H, W)` of the image.
    cells: `(rows, columns)` of the grid.
    keep_prob: probability that a cell is one; its dtype is the mask's.
  """
  # One draw for all that is random: a generator's call costs more than this.
  # Half precision has too few numbers in [0, 1) for a shift.
  num_cells = cells[0] * cells[1]
  dtype = examples.accumulator(keep_prob.dtype)
  unit = jax.random.uniform(key, (num_cells + 2,), dtype)
  grid = (unit[:num_cells] < keep_prob.astype(dtype)).astype(dtype)
  matrices = []
  for u, num, length in zip(unit[num_cells:], cells, size, strict=True):
    cell = -(-length // num)
    whole = stretching.bilinear(num, (num + 1) * cell)
    # In [0, cell), unless rounding makes it the whole cell.
    shift = jnp.minimum((u * cell).astype(jnp.int32), cell - 1)
    matrices.append(
      jax.lax.dynamic_slice_in_dim(jnp.asarray(whole, dtype), shift, length)
    )
  mask = stretching.apply(grid.reshape(cells), matrices)
  return mask.astype(keep_prob.dtype)
