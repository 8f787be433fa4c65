"""Graphs of players: which of them are neighbours.

A graph is its edges, whole numbers `[m, 2]`: the players at both ends of each,
the smaller number first, in the order of these numbers, none twice.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array, Int
import numpy as np

from saliency_jax.core import checks

Edges = Int[np.ndarray, 'm 2']


def chain(num: int) -> Edges:
  """Returns the edges of players in a row, as times and tokens are."""
  return grid((num,))


def grid(shape: Sequence[int], *, diagonal: bool = False) -> Edges:
  """Returns the edges of a grid of any dimension.

  Args:
    shape: players along each axis; they are numbered along the last axis first.
    diagonal: whether the corners of a player are its neighbours too: 8 of them
      on a plane in the place of 4.

  Raises:
    ValueError: for an axis without players.
  """
  for size in shape:
    checks.count('players along an axis', size)
  numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
  return _sorted(_neighbours(numbers, diagonal))


def complete(num: int) -> Edges:
  """Returns all pairs of players, where none is nearer than another."""
  checks.count('players', num)
  return np.stack(np.triu_indices(num, 1), -1)


def of_segments(labels: Int[Array | np.ndarray, '...']) -> Edges:
  """Returns which segments touch, along an axis of their labels.

  Args:
    labels: the player of each entry, from 0, as `maskers.segments` takes them.
  """
  pairs = _neighbours(np.asarray(labels), diagonal=False)
  return _sorted(pairs[pairs[:, 0] != pairs[:, 1]])


def required(edges: Any) -> Any:
  """Returns edges, or raises `ValueError` where players have none."""
  if edges is None:
    raise ValueError(
      'players without an order are no graph: pass edges=, such as '
      'graphs.of_segments(labels), graphs.chain(n) or graphs.complete(n) of '
      'saliency_jax.core'
    )
  return edges


def known(edges: Any, num: int) -> Edges:
  """Returns edges that a user gave as a graph of `num` players.

  Raises:
    ValueError: for what is no list of pairs of two different players.
  """
  edges = np.asarray(edges)
  if edges.size == 0:
    return np.zeros((0, 2), int)
  whole = np.issubdtype(edges.dtype, np.integer)
  if not whole or edges.ndim != 2 or edges.shape[1] != 2:
    raise ValueError(
      f'expected edges [m, 2] of whole numbers, got {edges.dtype} {edges.shape}'
    )
  wrong = ((edges < 0) | (edges >= num)).any(1)
  if wrong.any():
    raise ValueError(
      f'an edge joins two players of the numbers 0 to {num - 1}, got '
      f'{edges[wrong][0].tolist()}'
    )
  loops = edges[:, 0] == edges[:, 1]
  if loops.any():
    raise ValueError(
      f'an edge joins two different players, got {edges[loops][0].tolist()}: '
      'leave edges from a player to itself out'
    )
  return _sorted(edges)


def neighbours(edges: Edges, num: int) -> list[list[int]]:
  """Returns the neighbours of each of `num` players."""
  found = [[] for _ in range(num)]
  for i, j in edges.tolist():
    found[i].append(j)
    found[j].append(i)
  return found


def _neighbours(numbers, diagonal):
  """Returns the pairs of numbers at entries of an array that touch."""
  pairs = []
  for offset in np.ndindex(*(3,) * numbers.ndim):
    offset = np.array(offset) - 1
    # Each direction once: the first step off the spot is forward.
    steps = offset[offset != 0]
    if not len(steps) or steps[0] < 0 or (len(steps) > 1 and not diagonal):
      continue
    here = tuple(slice(max(-o, 0), -o if o > 0 else None) for o in offset)
    there = tuple(slice(max(o, 0), o if o < 0 else None) for o in offset)
    both = np.stack([numbers[here], numbers[there]], -1)
    pairs.append(both.reshape(-1, 2))
  return np.concatenate(pairs)


def _sorted(pairs):
  return np.unique(np.sort(pairs, 1), axis=0).astype(int)
