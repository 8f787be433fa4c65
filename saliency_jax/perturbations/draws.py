"""Noise of mean 0 and covariance 1, and which draws of it are independent.

Whole blocks of draws are independent of each other: one draw each, or all rows
of a random orthogonal matrix. Half a matrix and its other half see parts of a
score that have nothing in common, whatever the score: what is said of the error
of a mean must be taken over blocks.
"""

from collections.abc import Callable
import functools
import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
from typing_extensions import TypeAliasType

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.solvers import grid

# Evaluations, where nobody names their number: two whole matrices in pairs for
# a number a cell of 28 x 28, and about what the paper's comparisons take.
NUM_SAMPLES = 3136

# `(key, i, like)` to the draw `i`, one independent of the other unless it is
# marked by `in_blocks`.
Draw = TypeAliasType('Draw', Callable[..., Float[Array, '*cells k']])


def in_blocks(
  size: Callable[[Any], int], *, balanced: bool = False
) -> Callable[[Draw], Draw]:
  """Marks a draw of which whole blocks, `size(like)` each, are independent.

  Args:
    size: of a block.
    balanced: whether every block has the covariance 1 exactly.
  """

  def mark(draw):
    draw.block_size, draw.balanced = size, balanced
    return draw

  return mark


def gaussian(
  key: Key[Array, ''] | None,
  i: Int[Array, ''] | int,
  like: Float[Array, '*cells k'],
) -> Float[Array, '*cells k']:
  """Draws independent standard normals."""
  return sampling.normal(sampling.draw_key(key, i), like)


@in_blocks(lambda like: like.size, balanced=True)
def orthogonal(
  key: Key[Array, ''] | None,
  i: Int[Array, ''] | int,
  like: Float[Array, '*cells k'],
) -> Float[Array, '*cells k']:
  """Draws rows of random orthogonal matrices, one matrix at a time.

  Signs, cosine transform, signs and transform of a unit vector: each row has
  mean 0 and covariance 1 exactly, and is normal but for terms that vanish with
  the number of cells. As many draws as cells average the linear part of a score
  without error. Draws of one matrix are not independent: its parts see parts of
  the score that have nothing in common, so matrices are never cut.
  """
  # A grid, whose last axis takes the channels in.
  shape = (*like.shape[:-2], math.prod(like.shape[-2:]))
  block, row = jnp.divmod(i, like.size)
  signs = sampling.signs(
    sampling.draw_key(key, block), jnp.zeros((2, *shape), like.dtype)
  )
  unit = (jnp.arange(like.size) == row).astype(like.dtype).reshape(shape)
  draw = signs[1] * grid.idct(signs[0] * grid.idct(unit))
  return (math.sqrt(like.size) * draw).reshape(like.shape)


def block_size(draw: Draw, like: Any) -> int:
  """Returns how many draws are independent of others only as a whole."""
  draw = _unbound(draw)
  return draw.block_size(like) if hasattr(draw, 'block_size') else 1


def is_balanced(draw: Draw) -> bool:
  """Returns whether a linear score has no error over whole blocks of draws."""
  return getattr(_unbound(draw), 'balanced', False)


def _unbound(draw):
  while isinstance(draw, functools.partial):
    draw = draw.func
  return draw


def num_blocks(num_samples: int | None, block_size: int, num_signs: int) -> int:
  """Returns how many blocks there are.

  Args:
    num_samples: evaluations, each draw with all of its signs; `None` takes as
      many whole blocks as have `NUM_SAMPLES` of them.
    block_size: draws in a block.
    num_signs: 2 for antithetic pairs, or 1.

  Raises:
    ValueError: unless there are two whole blocks, with the nearest number: one
      block says nothing of its own error.
  """
  whole = num_signs * block_size
  if num_samples is None:
    return max(2, -(-NUM_SAMPLES // whole))
  checks.count('num_samples', num_samples)
  num, rest = divmod(int(num_samples), whole)
  if rest or num < 2:
    kinds = [] if block_size == 1 else [f'blocks of {block_size} draws']
    kinds += [] if num_signs == 1 else ['antithetic pairs']
    why = f' ({" of ".join(kinds)})' if kinds else ''
    other = ', or draw=leg.gaussian' if block_size > 1 else ''
    nearest = max(2, num + (2 * rest >= whole)) * whole
    raise ValueError(
      f'num_samples must be a multiple of {whole} and at least {2 * whole}'
      f'{why}, got {num_samples}: take {nearest}{other}'
    )
  return num
