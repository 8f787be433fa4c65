"""Occlusion: how much the score drops when a window of the image is hidden.

The score of a pixel is the mean of `f(x) - f(x with window w filled)` over the
windows `w` that cover it. A masker's players are windows of any shape.

References:
  Zeiler, Fergus, Visualizing and understanding convolutional networks, 2014.
  https://arxiv.org/abs/1311.2901
"""

from collections.abc import Callable
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import stretching
from saliency_jax.core import types


class OcclusionInfo(NamedTuple):
  """What the windows said, and how far they disagreed.

  Attributes:
    drops: `f(x) - f(occluded)` of each window, in rows and columns, or of each
      player of a masker.
    spread: standard deviation of the drops over the windows that cover a pixel;
      0 with a masker, whose players are hidden once each.
    score: `f(x)`.
    num_calls: calls of `f`.
  """

  drops: Float[Array, '*players']
  spread: Any
  score: Float[Array, '']
  num_calls: Int[Array, '']


class _Windows(NamedTuple):
  """What is hidden, one window or player at a time."""

  shape: tuple[int, ...]  # Of their drops.
  hidden: Callable[..., Any]  # The example without the window of an index.
  moments: Callable[..., Any]  # Drops to their mean and variance by entry.


def occlusion(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  window: int | tuple[int, int] = 32,
  stride: int | tuple[int, int] = 16,
  baseline: baselines.Baseline = baselines.constant,
  masker: maskers.Constructor | None = None,
  batch_size: int | None = 16,
) -> types.Attribution:
  """Slides a filled window over the image, through all channels at once.

  The paper hides a grey square; it gives neither its size nor its stride.

  Args:
    fn: score of one example; no gradient is taken.
    x: the image, of floats or of integers; any example with a masker.
    key: for a baseline that draws.
    window: side of the window in pixels, or `(rows, columns)`.
    stride: pixels between windows, or `(rows, columns)`; at most the window.
    baseline: what the window shows: a number, an array or a function; the
      default is .5, which integers are not.
    masker: hides its players, one at a time, in the place of windows.
    batch_size: occluded images held in memory at once; `None` holds them all.

  Returns:
    Scores `[H, W, 1]`, or as the masker spreads them.

  Raises:
    ValueError: for a window larger than the image, a stride larger than the
      window, a baseline unlike `x`, or any of the three beside a masker.

  Examples:
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> x = jnp.zeros((4, 4, 1)).at[:2, :2].set(1.0)
    >>> maps, info = saliency_jax.occlusion(
    ...   lambda x: x.sum(), x, window=2, stride=2, baseline=0.0
    ... )
    >>> print(maps[::2, ::2, 0])
    [[4. 0.]
     [0. 0.]]
  """
  x = examples.arrays(x)
  if masker is None:
    windows = _windows(x, key, window, stride, baseline)
  else:
    settings = {'window': window, 'stride': stride, 'baseline': baseline}
    checks.no_masker(occlusion, **settings)
    windows = _players(checks.constructor(masker)(x, key=key))
  fn, wide = examples.widened(fn, x)
  num = math.prod(windows.shape)
  # The call after the last window hides nothing: it gives f(x).
  values = sampling.batched_map(
    lambda i: checks.one_number(fn(windows.hidden(i))),
    jnp.arange(num + 1),
    batch_size=batch_size,
  )
  score = values[-1]
  drops = (score - values[:-1]).reshape(windows.shape)
  drops = drops.astype(examples.accumulator(examples.result_dtype(wide)))
  mean, variance = windows.moments(drops)
  info = OcclusionInfo(
    drops=drops,
    spread=jax.tree.map(jnp.sqrt, variance),
    score=score,
    num_calls=jnp.array(num + 1, jnp.int32),
  )
  return examples.attribution(x, mean, info)


def _windows(x, key, window, stride, baseline):
  """Returns the windows of an image."""
  checks.image(x)
  pixels = maskers.grid(x, key=key, cells=x.shape[:2], baseline=baseline)
  dtype = examples.accumulator(examples.result_dtype(x))
  rows, cols = (
    jnp.asarray(stretching.windows(*sizes), dtype)
    for sizes in zip(
      x.shape[:2],
      stretching.per_axis(window),
      stretching.per_axis(stride),
      strict=True,
    )
  )
  shape = (rows.shape[1], cols.shape[1])

  def hidden(i):
    row = rows[:, i // shape[1]]
    col = cols[:, i % shape[1]]
    gone = row[:, None] * col[None] * (i < math.prod(shape)).astype(dtype)
    return pixels.blend(1 - gone[..., None])

  def moments(drops):
    mean, variance = _over_windows(drops, rows, cols)
    return mean[..., None], variance[..., None]

  return _Windows(shape, hidden, moments)


def _players(masker):
  """Returns the players of a masker as windows that do not overlap."""

  def hidden(i):
    gone = (jnp.arange(masker.num) == i).astype(jnp.float32)
    return masker.blend(masker.spread((1 - gone).reshape(masker.shape)))

  def moments(drops):
    return masker.spread(drops), masker.spread(jnp.zeros_like(drops))

  return _Windows(masker.shape, hidden, moments)


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
