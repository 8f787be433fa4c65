"""How masks act on an image, and where masks come from.

A mask `m` in [0, 1] keeps `m` of an image and fills the rest: the perturbed
image is `x * m + b * (1 - m)`. Small grids are stretched, and windows are
placed, by one small matrix an axis: `mask = R grid C'` suits accelerators, and
a map over all windows never leaves the grid.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.core import checks


def blend(
  x: Float[Array, 'H W C'],
  baseline: Float[Array, 'H W C'],
  mask: Float[Array, 'H W'],
) -> Float[Array, 'H W C']:
  """Returns `x * mask + baseline * (1 - mask)`, one mask for all channels."""
  return baseline + mask[..., None] * (x - baseline)


def spread(
  grid: Float[Array, 'h w'],
  rows: Float[Array, 'H h'],
  cols: Float[Array, 'W w'],
) -> Float[Array, 'H W']:
  """Returns `rows grid cols'`: a grid stretched to the image."""
  return jnp.einsum(
    'Hh,hw,Ww->HW', rows, grid, cols, precision=jax.lax.Precision.HIGHEST
  )


def stretch_matrix(size: int, new_size: int) -> np.ndarray:
  """Returns `[new_size, size]`: bilinear interpolation between pixel centres.

  Past the outermost centres the grid is mirrored (corners are not aligned), as
  `skimage.transform.resize(mode='reflect')` does, which RISE's authors call.
  """
  checks.count('size', size)
  checks.count('new_size', new_size)
  at = np.abs((np.arange(new_size) + 0.5) * size / new_size - 0.5)
  last = size - 1
  at = np.clip(np.minimum(at, 2 * last - at), 0, last)
  low = np.minimum(np.floor(at).astype(int), max(last - 1, 0))
  matrix = np.zeros((new_size, size))
  rows = np.arange(new_size)
  np.add.at(matrix, (rows, low), 1 - (at - low))
  np.add.at(matrix, (rows, np.minimum(low + 1, last)), at - low)
  return matrix


def window_matrix(size: int, window: int, stride: int) -> np.ndarray:
  """Returns `[size, num_windows]`: which pixels each window covers, 0 or 1.

  Windows start every `stride` pixels; the last is cut at the border where the
  strides do not meet it. Together they cover every pixel.

  Raises:
    ValueError: for a window outside of `[1, size]`, or a stride outside of
      `[1, window]`, which would leave pixels out.
  """
  checks.count('window', window, 1, size)
  checks.count('stride', stride, 1, window)
  starts = stride * np.arange(1 + -(-(size - window) // stride))
  pixels = np.arange(size)[:, None]
  return ((starts <= pixels) & (pixels < starts + window)).astype(float)


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
  """Returns `(rows, columns)` of a size given as one number or two."""
  return (size, size) if np.ndim(size) == 0 else tuple(size)
