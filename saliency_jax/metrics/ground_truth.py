"""Classifiers of which it is known where a map may be, whatever they learned.

A cell of a mosaic that is classified alone, and a network that is blind outside
of a region: nothing elsewhere can change the score, so a map that shows other
places is wrong there. `metrics.localization` measures how much of it is.

References:
  Rao, Boehle and Schiele, Towards better understanding attribution methods,
  CVPR 2022. https://arxiv.org/abs/2205.10435
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import types


def mosaic(
  images: Float[Array, 'n H W C'], cells: tuple[int, int]
) -> Float[Array, 'h w C']:
  """Lays images out in rows and columns, row by row.

  Args:
    images: of one size, as many as there are cells.
    cells: rows and columns.

  Raises:
    ValueError: for another number of images.
  """
  rows, columns = cells
  n, height, width, channels = images.shape
  if n != rows * columns:
    raise ValueError(f'expected {rows} x {columns} images, got {n}')
  laid = images.reshape(rows, columns, height, width, channels)
  return jnp.transpose(laid, (0, 2, 1, 3, 4)).reshape(
    rows * height, columns * width, channels
  )


def tiles(
  x: Float[Array, 'h w C'], cells: tuple[int, int]
) -> Float[Array, 'n H W C']:
  """Cuts a mosaic into its images: the inverse of `mosaic`.

  Raises:
    ValueError: for an image that does not divide into the cells.
  """
  checks.image(x)
  rows, columns = cells
  height, width, channels = x.shape
  if height % rows or width % columns:
    raise ValueError(
      f'an image {x.shape} does not divide into {rows} x {columns} cells'
    )
  cut = x.reshape(rows, height // rows, columns, width // columns, channels)
  return jnp.transpose(cut, (0, 2, 1, 3, 4)).reshape(
    rows * columns, height // rows, width // columns, channels
  )


def cell_region(
  shape: tuple[int, int],
  cells: tuple[int, int],
  cell: Int[Array, ''] | int,
) -> Float[Array, 'h w']:
  """Returns where one cell of a mosaic is: 1 inside, 0 outside.

  Args:
    shape: height and width of the mosaic.
    cells: rows and columns.
    cell: its number, row by row; it may be traced.
  """
  rows, columns = cells
  number = jnp.arange(rows * columns) == cell
  one = jnp.ones((rows * columns, shape[0] // rows, shape[1] // columns, 1))
  return mosaic(jnp.where(number[:, None, None, None], one, 0), cells)[..., 0]


def disconnected(
  apply: types.Apply,
  *,
  cells: tuple[int, int],
  cell: Int[Array, ''] | int,
) -> types.Apply:
  """Returns a classifier of mosaics that looks at one cell alone.

  All cells pass through the network, each on its own, so that a layer that is
  tapped has a part for each, `[n, h, w, K]`: Grad-CAM takes it with the layout
  `functools.partial(mosaic, cells=cells)`. The logits are those of the one
  cell: nothing in another changes them.

  Args:
    apply: maps `(params, x)` to the logits of one image.
    cells: rows and columns.
    cell: its number, row by row; it may be traced.
  """

  def apply_to_mosaic(params: Any, x: types.Example) -> Float[Array, 'k']:
    logits = jax.vmap(lambda tile: apply(params, tile))(tiles(x, cells))
    return logits[cell]

  return apply_to_mosaic


def blind(
  apply: types.Apply,
  region: Float[Array, 'H W'],
  *,
  baseline: baselines.Baseline = baselines.black,
) -> types.Apply:
  """Returns a classifier that sees a region of an image alone.

  It is for images of floats: a score can be differentiated inside the region,
  and does not depend on the image outside of it.

  Args:
    apply: maps `(params, x)` to the logits of one image.
    region: 1 where it sees, 0 where the baseline stands.
    baseline: a number, an array, or a function that does not read its image:
      what a blur shows depends on what it blurs.
  """

  def apply_to_region(params: Any, x: types.Example) -> Float[Array, 'k']:
    fill = baselines.evaluate(baseline, jax.lax.stop_gradient(x), None)
    return apply(params, jnp.where(region[..., None] > 0, x, fill))

  return apply_to_region
