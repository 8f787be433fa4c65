"""How noise moves an example: the cells of an image, the players of a masker.

A number a cell or player, and with several colours `k` of them, becomes an
example beside `x`, and a map of such numbers becomes a map of `x`.
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
import numpy as np

from saliency_jax import maskers
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import stretching
from saliency_jax.core import types
from saliency_jax.solvers import graph
from saliency_jax.solvers import grid
from saliency_jax.solvers import operators


class Colours(NamedTuple):
  """How a grid of `k` numbers a cell moves `C` channels.

  Attributes:
    directions: what each of the numbers adds to each channel, `[k, C]`.
    alone: whether each direction has perturbed images of its own.
  """

  directions: np.ndarray
  alone: bool = False


class Moves(NamedTuple):
  """How noise on a graph moves an example.

  Attributes:
    on: the graph of the cells or players, a grid unless told otherwise.
    num: `k`, the numbers of a cell.
    num_groups: examples that one draw makes: `k`, or 1 if all move at once.
    move: noise `[*cells, k]` to those examples, with a leading axis, and to the
      share of what it moved that is now outside of [0, 1].
    spread: a map `[*cells, k]` to one of the example.
  """

  on: operators.Operator
  num: int
  num_groups: int
  move: Callable[[Any], tuple[types.Example, Float[Array, '']]]
  spread: Callable[[Float[Array, '*cells k']], types.Example]


def grey(num_channels: int) -> Colours:
  """Moves all channels alike: one number a cell."""
  return Colours(np.ones((1, num_channels)))


def joint(num_channels: int) -> Colours:
  """Moves every channel by a number of its own, all of them at once."""
  return Colours(np.eye(num_channels))


def per_channel(num_channels: int) -> Colours:
  """Moves one channel at a time, with `num_samples` images for each."""
  return Colours(np.eye(num_channels), alone=True)


def of_image(
  x: Float[Array, 'H W C'],
  cells: int | tuple[int, int],
  colours: Callable[[int], Colours],
  stretch: stretching.Stretch,
  clip: bool,
) -> Moves:
  """Adds noise to the cells of an image: see `leg`."""
  checks.image(x)
  shape = stretching.per_axis(cells)
  for num, size in zip(shape, x.shape[:2], strict=True):
    checks.count('cells', num, 1, size)
  dtype = examples.accumulator(x.dtype)
  directions, alone = _checked(colours(x.shape[2]), x)
  directions = jnp.asarray(directions, dtype)
  matrices = [stretch(*sizes) for sizes in zip(shape, x.shape[:2], strict=True)]
  spread = lambda g: stretching.apply(g, matrices)

  def move(z):
    full, highest = spread(z), jax.lax.Precision.HIGHEST
    if alone:
      full = jnp.einsum('HWk,kC->kHWC', full, directions, precision=highest)
    else:
      full = jnp.matmul(full, directions, precision=highest)[None]
    moved = x[None] + full.astype(x.dtype)
    outside = jnp.mean(_outside(moved).astype(dtype))
    return jnp.clip(moved, 0, 1) if clip else moved, outside

  groups = len(directions) if alone else 1
  return Moves(grid.operator(*shape), len(directions), groups, move, spread)


def of_masker(masker: maskers.Masker, clip: bool) -> Moves:
  """Lets players keep `1 + z` of what they hide: see `leg`."""

  def move(z):
    keep = 1 + z[..., 0]
    outside = jnp.mean(_outside(keep).astype(z.dtype))
    moved = masker.hide(jnp.clip(keep, 0, 1) if clip else keep)
    return jax.tree.map(lambda a: a[None], moved), outside

  spread = lambda g: masker.spread(g[..., 0])
  return Moves(grid.operator(*masker.shape), 1, 1, move, spread)


def on_graph(moves: Moves, edges: Any) -> Moves:
  """Numbers the cells or players as the nodes of a graph: see `leg`."""
  if edges is None:
    return moves
  shape = moves.on.shape
  shaped = lambda g: g.reshape(*shape, moves.num)
  return moves._replace(
    on=graph.operator(edges, math.prod(shape)),
    move=lambda z: moves.move(shaped(z)),
    spread=lambda g: moves.spread(shaped(g)),
  )


def evaluate(
  fn: types.ScoreFn,
  moves: Moves,
  z: Float[Array, '*cells k'],
  num_signs: int,
) -> tuple[Float[Array, 'signs groups'], Float[Array, '']]:
  """Returns the scores of one draw with all of its signs, and what is outside.

  Args:
    fn: the score.
    moves: what noise moves.
    z: the draw.
    num_signs: 2 for both signs, or 1.
  """
  signed = jnp.stack([z, -z][:num_signs])
  moved, outside = jax.vmap(moves.move)(signed)
  flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), moved)
  scores = jax.vmap(fn)(flat).reshape(num_signs, -1)
  return scores.astype(z.dtype), jnp.mean(outside)


def _outside(values: Float[Array, '...']) -> Bool[Array, '...']:
  return (values < 0) | (values > 1)


def _checked(colours, x):
  """Returns the directions and whether they move alone, or raises."""
  directions = np.asarray(colours.directions)
  channels = x.shape[2]
  if directions.shape not in ((1, channels), (channels, channels)):
    raise ValueError(
      f'colours must return directions [1, {channels}] or '
      f'[{channels}, {channels}], got {directions.shape}'
    )
  return directions, colours.alone
