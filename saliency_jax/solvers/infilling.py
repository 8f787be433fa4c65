"""Infilling: each pixel that is missing becomes the mean of its neighbours.

    sum_j w_ij (v_j - v_i) = 0   for each missing i,   v_j = x_j for known j,

over the eight neighbours `j` that the image has, `w` 1/6 beside and 1/12 across
a corner. The matrix is symmetric and positive, and is solved by conjugate
gradients whose preconditioner adds up corrections on ever coarser grids

    r -> r / d_0 + P (P' r / d_1 + P (P' P' r / d_2 + ...)),

`P` interpolation and `d` near the diagonal of the coarse matrices: a coarse
correction bends fast where the pixels in its reach are known. About twenty
steps reach the rounding of float32 at 224 x 224, whatever is missing; without
the coarse grids a large hole takes hundreds.

References:
  Rong, Leemann, Borisov, Kasneci and Kasneci, A consistent and efficient
    evaluation strategy for attribution methods, ICML 2022.
    https://arxiv.org/abs/2202.00449
  Bramble, Pasciak and Xu, Parallel multilevel preconditioners, 1990.
    https://doi.org/10.1090/S0025-5718-1990-1023042-6
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import stretching
from saliency_jax.core import types

# About the diagonal of a coarse matrix: that of its interpolation where nothing
# is known, and what each known pixel in its reach adds. Both were tried.
_FREE, _KNOWN = 0.5, 0.25


class InfillingInfo(NamedTuple):
  """How well the equations hold.

  Attributes:
    residual: their error, in units of what the known pixels say; 0 where no
      pixel is missing, or none is known.
  """

  residual: Float[Array, '']


def infill(
  x: types.Image, known: Float[Array, 'h w'], *, num_steps: int = 20
) -> types.Solution:
  """Returns the image with its missing pixels filled in.

  Args:
    x: the image. Its missing pixels are not read, but have to be finite.
    known: 1 where a pixel is known, 0 where it is missing. Where none is, the
      image becomes 0.
    num_steps: of conjugate gradients.

  Returns:
    The image in the dtype of `x`, and an `InfillingInfo`.

  Raises:
    ValueError: if `x` is not one image, or `known` has another size.
  """
  checks.image(x)
  checks.count('num_steps', num_steps)
  if known.shape != x.shape[:2]:
    raise ValueError(
      f'expected known {x.shape[:2]}, one a pixel, got {known.shape}'
    )
  pixels = examples.wide(x)
  known = known.astype(pixels.dtype)[..., None]
  missing = 1 - known
  degrees = _of_neighbours(jnp.ones_like(known))
  right = missing * _of_neighbours(known * pixels)
  multiply = lambda v: missing * (degrees * v - _of_neighbours(v))
  precondition = _coarse_to_fine(known, degrees)

  def solve(b):
    # The mean of what is known is a good start where the holes are large.
    total = jnp.maximum(jnp.sum(known), 1)
    start = missing * (jnp.sum(known * pixels, (0, 1), keepdims=True) / total)
    left = b - multiply(start)
    z = precondition(left)
    state = (start, left, missing * z, _dot(left, z))
    least = jnp.finfo(b.dtype).eps ** 2 * state[-1]

    def step(state, _):
      v, left, way, product = state
      along = multiply(way)
      # Past the rounding, the steps would lead away again.
      going = product > least
      length = jnp.where(going, product / _positive(_dot(way, along)), 0)
      v, left = v + length * way, left - length * along
      z = missing * precondition(left)
      next_product = _dot(left, z)
      turn = jnp.where(going, next_product / _positive(product), 0)
      product = jnp.where(going, next_product, product)
      return (v, left, z + turn * way, product), None

    (v, *_), _ = jax.lax.scan(step, state, None, length=num_steps)
    return v

  v = solve(right)
  error = jnp.sqrt(jnp.sum((right - multiply(v)) ** 2))
  scale = jnp.sqrt(jnp.sum(right**2))
  filled = known * pixels + missing * v
  residual = jnp.where(error > 0, error / _positive(scale), 0)
  return types.Solution(examples.like(filled, x), InfillingInfo(residual))


def _of_neighbours(v: Float[Array, 'H W c']) -> Float[Array, 'H W c']:
  """Returns the weighted sum of the neighbours of each pixel."""
  # The weights are (1, 2, 1) down times (1, 2, 1) across, over 12, without the
  # middle.
  padded = jnp.pad(v, ((1, 1), (1, 1), (0, 0)))
  down = padded[:-2] + 2 * padded[1:-1] + padded[2:]
  across = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
  return (across - 4 * v) / 12


def _coarse_to_fine(known, degrees):
  """Returns the preconditioner, without its last cut to the missing pixels."""
  ways = []
  height, width = known.shape[:2]
  while max(height, width) > 2:
    ways.append((_interpolation(height), _interpolation(width)))
    height, width = (height + 1) // 2, (width + 1) // 2
  diagonals, reached = [degrees], known
  for way in ways:
    reached = _transposed(reached, way)
    diagonals.append(_FREE + _KNOWN * reached)

  def precondition(left):
    parts = [left]
    for way in ways:
      parts.append(_transposed(parts[-1], way))
    z = parts[-1] / diagonals[-1]
    for k, way in reversed(list(enumerate(ways))):
      z = stretching.apply(z, way) + parts[k] / diagonals[k]
    return z

  return precondition


def _interpolation(size: int) -> Float[np.ndarray, 'n m']:
  """Returns linear interpolation from cells of two pixels to the pixels."""
  num = (size + 1) // 2
  at = np.clip((np.arange(size) + 0.5) / 2 - 0.5, 0, num - 1)
  return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(num)))


def _transposed(v, way):
  return stretching.apply(v, [matrix.T for matrix in way])


def _dot(a, b):
  """Returns one product a channel: each is a system of its own."""
  return jnp.sum(a * b, (0, 1), keepdims=True)


def _positive(a):
  return jnp.where(a > 0, a, 1)
