"""Occlusion: how much the score drops when a window of the image is hidden.

The score of a pixel is the mean of `f(x) - f(x with window w filled)` over the
windows `w` that cover it.

References:
  Zeiler, Fergus, Visualizing and understanding convolutional networks, 2014.
  https://arxiv.org/abs/1311.2901
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.perturbations import operators


class OcclusionInfo(NamedTuple):
  """What the windows said, and how far they disagreed.

  Attributes:
    drops: `f(x) - f(occluded)` of each window, in rows and columns.
    spread: standard deviation of the drops over the windows that cover a pixel.
    score: `f(x)`.
    num_calls: calls of `f`.
  """

  drops: Float[Array, 'r c']
  spread: Float[Array, 'H W 1']
  score: Float[Array, '']
  num_calls: Int[Array, '']


def occlusion(
  fn: types.ScoreFn,
  x: types.Image,
  *,
  key: Key[Array, ''] | None = None,
  window: int | tuple[int, int] = 32,
  stride: int | tuple[int, int] = 16,
  baseline: baselines.Baseline = baselines.constant,
  batch_size: int | None = 16,
) -> types.Attribution:
  """Slides a filled window over the image, through all channels at once.

  The paper hides a grey square; it gives neither its size nor its stride.

  Args:
    fn: score of one example; no gradient is taken.
    x: the image, of floats or of integers.
    key: for a baseline that draws.
    window: side of the window in pixels, or `(rows, columns)`.
    stride: pixels between windows, or `(rows, columns)`; at most the window.
    baseline: what the window shows: a number, an array or a function; the
      default is .5, which integers are not.
    batch_size: occluded images held in memory at once; `None` holds them all.

  Returns:
    Scores `[H, W, 1]`.

  Raises:
    ValueError: for a window larger than the image, a stride larger than the
      window, or a baseline unlike `x`.
  """
  x = examples.arrays(x)
  checks.image(x)
  blank = examples.wide(baselines.evaluate(baseline, x, key))
  fn, wide = examples.widened(fn, x)
  rows, cols = (
    jnp.asarray(operators.window_matrix(*sizes), wide.dtype)
    for sizes in zip(
      x.shape[:2], operators.pair(window), operators.pair(stride), strict=True
    )
  )
  shape = (rows.shape[1], cols.shape[1])
  num_windows = shape[0] * shape[1]

  def occluded_score(i):
    row = rows[:, i // shape[1]]
    col = cols[:, i % shape[1]]
    # The call after the last window hides nothing: it gives f(x).
    hidden = row[:, None] * col[None] * (i < num_windows).astype(row.dtype)
    return fn(operators.blend(wide, blank, 1 - hidden))

  values = sampling.batched_map(
    occluded_score, jnp.arange(num_windows + 1), batch_size=batch_size
  )
  score = values[-1]
  drops = (score - values[:-1]).reshape(shape).astype(wide.dtype)
  mean, variance = _over_windows(drops, rows, cols)
  info = OcclusionInfo(
    drops=drops,
    spread=jnp.sqrt(variance)[..., None],
    score=score,
    num_calls=jnp.array(num_windows + 1, jnp.int32),
  )
  return examples.attribution(x, mean[..., None], info)


def _over_windows(drops, rows, cols):
  """Returns the mean and variance of the drops that cover each pixel.

  The windows over a pixel are all pairs of some rows and some columns, so that
  the law of total variance sums over one axis at a time, squares about means
  only: nothing cancels.
  """
  rows, cols = (m / jnp.sum(m, 1, keepdims=True) for m in (rows, cols))
  product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
  row_mean = product(rows, drops)  # Over the rows of windows: [H, c].
  mean = product(row_mean, cols.T)  # Over the columns: [H, W].
  within = _weighted_squares(rows.T, drops, row_mean)
  between = _weighted_squares(cols.T, row_mean.T, mean.T).T
  return mean, product(within, cols.T) + between


def _weighted_squares(weights, values, about):
  """Returns `sum_k weights[k, i] (values[k, j] - about[i, j])^2`, `[i, j]`.

  One `k` at a time: all of them at once would take `[i, j, k]` of memory.
  """

  def add(total, row):
    weight, value = row
    return total + weight[:, None] * (value[None] - about) ** 2, None

  return jax.lax.scan(add, jnp.zeros_like(about), (weights, values))[0]
