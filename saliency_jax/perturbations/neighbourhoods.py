"""Which coalitions the values of a graph look at, and how each one counts.

All of it is known before the score is called. Coalitions are lists of a few
players beside a rule of the others, so that a graph of a thousand players takes
little memory, and one that several players ask for is in the table once.
"""

from collections.abc import Iterable, Sequence
import itertools
import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

# Terms of all players together; a photo's 784 cells have 25,088 of order 1.
_MOST_TERMS = 2**20

# In ascending order.
Players = tuple[int, ...]
# Who is present, and how the worth counts.
Terms = Iterable[tuple[Players, float]]


class Table(NamedTuple):
  """Coalitions, each of them once, and the terms of every player.

  Attributes:
    num_players: `p`.
    listed: the players that a coalition names; the rest of a row is `p`.
    absent: whether the named players are hidden, and all others present.
    terms: of each player, into the worths of nobody, everyone and the
      coalitions of the table, in this order.
    weights: of the terms; 0 where a player has fewer.
  """

  num_players: int
  listed: Int[np.ndarray, 'n m']
  absent: bool
  terms: Int[np.ndarray, 'p t']
  weights: Float[np.ndarray, 'p t']

  def coalition(self, i: Int[Array, '']) -> Bool[Array, 'p']:
    """Returns who is present in a coalition."""
    row = jnp.asarray(self.listed)[i]
    players = jnp.arange(self.num_players, dtype=row.dtype)
    named = jnp.any(row[:, None] == players[None], 0)
    return ~named if self.absent else named


def reach(neighbours: Sequence[Sequence[int]], order: int) -> list[Players]:
  """Returns the players within `order` edges of each player."""
  found = []
  for i in range(len(neighbours)):
    near = ring = {i}
    for _ in range(order):
      ring = {k for j in ring for k in neighbours[j]} - near
      near = near | ring
    found.append(tuple(sorted(near)))
  return found


def local(near: Players, player: int) -> Terms:
  """Yields L-Shapley's terms of a player: all sets of its neighbourhood."""
  n = len(near)
  for size in range(n + 1):
    for members in itertools.combinations(near, size):
      if player in members:
        yield members, 1 / (n * math.comb(n - 1, size - 1))
      else:
        yield members, -1 / (n * math.comb(n - 1, size))


def connected(
  near: Players, player: int, neighbours: Sequence[Sequence[int]]
) -> Terms:
  """Yields C-Shapley's terms of a player: connected sets, and less it."""
  inside = set(near)
  # A set grows by one of its neighbours, or never takes it.
  open_sets = [((player,), frozenset())]
  while open_sets:
    members, refused = open_sets.pop()
    border = {k for j in members for k in neighbours[j]} & inside
    border = sorted(border - set(members) - refused)
    if border:
      open_sets.append(((*members, border[0]), refused))
      open_sets.append((members, refused | {border[0]}))
      continue
    size = len(members)
    weight = 2 / (size * (size + 1) * (size + 2))
    members = sorted(members)
    yield tuple(members), weight
    yield tuple(j for j in members if j != player), -weight


def in_balls(balls: Sequence[Players], num: int) -> list[Terms]:
  """Returns the balls that hold each of `num` players, each counting 1."""
  terms = [[] for _ in range(num)]
  for ball in balls:
    for i in ball:
      terms[i].append((ball, 1.0))
  return terms


def inverse(balls: Sequence[Players], num: int) -> Float[np.ndarray, 'p p']:
  """Returns `(X' W X)^{-1}` of balls: see `graph_shapley.ball_regression`."""
  matrix = np.zeros((num, num))
  for ball in balls:
    size = len(ball)
    weight = (num - 1) / (math.comb(num, size) * size * num)
    matrix[np.ix_(ball, ball)] += weight
  return np.linalg.inv(matrix)


def table(
  terms: Sequence[Terms], num: int, near: Sequence[Players] | None = None
) -> Table:
  """Lists the coalitions of `num` players, each of them once.

  Args:
    terms: of each player.
    num: players.
    near: the neighbourhood of each, where all players outside of it are
      present; `None` where they are hidden.

  Raises:
    ValueError: for more terms than are worth listing.
  """
  # Nobody and everyone are known without being asked for.
  nobody, everyone = (0, 1) if near is None else (1, 0)
  known = {(): nobody, tuple(range(num)): everyone}
  columns, weights = [], []
  num_terms = 0
  for i, own in enumerate(terms):
    column, weight = [], []
    for members, w in own:
      if near is not None:
        members = tuple(j for j in near[i] if j not in members)
      column.append(known.setdefault(members, len(known)))
      weight.append(w)
      num_terms += 1
      if num_terms > _MOST_TERMS:
        raise ValueError(
          f'these neighbourhoods have more than {_MOST_TERMS} terms: take a '
          'lower order, a graph of fewer edges, or bind fewer players to the '
          'masker'
        )
    columns.append(column)
    weights.append(weight)
  return Table(
    num,
    _filled(list(known)[2:], num).astype(np.int32),
    near is not None,
    _filled(columns, 0).astype(np.int32),
    _filled(weights, 0.0),
  )


def _filled(rows, value):
  """Returns rows of different lengths as one array."""
  width = max((len(row) for row in rows), default=0)
  return np.array([[*row] + [value] * (width - len(row)) for row in rows])
