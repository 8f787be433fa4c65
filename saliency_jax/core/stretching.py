"""Grids stretched to an example, by one small matrix an axis.

`mask = R grid C'` for `R [H, h]` and `C [W, w]`, and so on for any number of
axes: small matrix products suit accelerators, and a map over all the cells
never leaves the grid.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num
import numpy as np
from typing_extensions import TypeAliasType

from saliency_jax.core import checks
from saliency_jax.core import examples

# `(cells, pixels)` along one axis to the matrix `[pixels, cells]`.
Stretch = TypeAliasType(
  'Stretch', Callable[[int, int], Float[np.ndarray, 'pixels cells']]
)


def nearest(cells: int, pixels: int) -> Float[np.ndarray, 'pixels cells']:
  """Returns the matrix that gives every pixel the value of its cell.

  Raises:
    ValueError: unless there are 1 to `pixels` cells.
  """
  checks.count('cells', cells, 1, pixels)
  cell = np.arange(pixels) * cells // pixels
  return (cell[:, None] == np.arange(cells)).astype(float)


def bilinear(cells: int, pixels: int) -> Float[np.ndarray, 'pixels cells']:
  """Returns the linear interpolation between the centres of the cells.

  Past the outermost centres the grid is mirrored (corners are not aligned), as
  `skimage.transform.resize(mode='reflect')` does, which RISE's authors call.
  """
  checks.count('cells', cells)
  checks.count('pixels', pixels)
  at = np.abs((np.arange(pixels) + 0.5) * cells / pixels - 0.5)
  last = cells - 1
  at = np.clip(np.minimum(at, 2 * last - at), 0, last)
  low = np.minimum(np.floor(at).astype(int), max(last - 1, 0))
  matrix = np.zeros((pixels, cells))
  rows = np.arange(pixels)
  np.add.at(matrix, (rows, low), 1 - (at - low))
  np.add.at(matrix, (rows, np.minimum(low + 1, last)), at - low)
  return matrix


def aligned(cells: int, pixels: int) -> Float[np.ndarray, 'pixels cells']:
  """Returns the linear interpolation with the outermost cells at the ends.

  The masks of I-GOS are stretched so: `jax.image.resize` would put their
  corners half a cell outside.

  Raises:
    ValueError: unless there are 1 to `pixels` cells.
  """
  checks.count('cells', cells, 1, pixels)
  if cells == 1:
    return np.ones((pixels, 1))
  at = np.arange(pixels) * ((cells - 1) / (pixels - 1))
  return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(cells)[None]))


def windows(
  pixels: int, window: int, stride: int
) -> Float[np.ndarray, 'pixels w']:
  """Returns which pixels each window covers, 0 or 1.

  Windows start every `stride` pixels; the last is cut at the border where the
  strides do not meet it. Together they cover every pixel.

  Raises:
    ValueError: for a window outside of `[1, pixels]`, or a stride outside of
      `[1, window]`, which would leave pixels out.
  """
  checks.count('window', window, 1, pixels)
  checks.count('stride', stride, 1, window)
  starts = stride * np.arange(1 + -(-(pixels - window) // stride))
  at = np.arange(pixels)[:, None]
  return ((starts <= at) & (at < starts + window)).astype(float)


def apply(
  values: Float[Array, '...'],
  matrices: Sequence[Float[Array | np.ndarray, '_ _']],
) -> Float[Array, '...']:
  """Applies one matrix `[pixels, cells]` to each leading axis of a grid.

  Args:
    values: `[*cells, ...]`; the axes after the cells stay as they are.
    matrices: one an axis of cells.
  """
  axes = list(range(values.ndim))
  new = [values.ndim + k for k in range(len(matrices))]
  operands = []
  for k, matrix in enumerate(matrices):
    operands += [jnp.asarray(matrix, values.dtype), [new[k], k]]
  return jnp.einsum(
    values,
    axes,
    *operands,
    new + axes[len(matrices) :],
    precision=jax.lax.Precision.HIGHEST,
  )


def per_axis(size: int | Sequence[int], num_axes: int = 2) -> tuple[int, ...]:
  """Returns one number for each axis, from one for all of them or from each.

  Raises:
    ValueError: for another number of numbers than of axes.
  """
  sizes = (size,) * num_axes if np.ndim(size) == 0 else tuple(size)
  if len(sizes) != num_axes:
    raise ValueError(f'expected one number or {num_axes}, got {size}')
  return sizes


def summed(
  scores: Any, x: Num[Array, '...'], shape: Sequence[int]
) -> Float[Array, '...']:
  """Returns a map of `x` summed over the axes along which `shape` is 1.

  Raises:
    ValueError: for a map that does not broadcast against `x`.
  """
  scores = jnp.asarray(scores)
  fits = scores.ndim == x.ndim and all(
    s in (1, n) for s, n in zip(scores.shape, x.shape, strict=True)
  )
  if not fits:
    raise ValueError(
      f'scores {scores.shape} do not broadcast against the example {x.shape}'
    )
  whole = tuple(k for k, n in enumerate(shape) if n == 1)
  scores = scores.astype(examples.accumulator(scores.dtype))
  return jnp.broadcast_to(jnp.sum(scores, whole, keepdims=True), shape)
