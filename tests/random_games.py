"""Games whose every coalition is known, and values by their definitions."""

from collections.abc import Callable, Sequence
import itertools
import math

import jax.numpy as jnp
import numpy as np

from saliency_jax.core import types


def numbers(num_players: int, seed: int = 0) -> np.ndarray:
  """Returns what each coalition is worth: player `i` is bit `i` of a row."""
  draw = np.random.default_rng(seed).normal(size=2**num_players)
  return draw.astype(np.float32)


def score(worths: Sequence[float]) -> types.ScoreFn:
  """Returns a score of rows of zeros and ones: player `i` is column `i`."""
  table = jnp.asarray(worths)

  def fn(x):
    bits = 2 ** jnp.arange(x.size, dtype=jnp.int32)
    return table[jnp.sum((x > 0.5).astype(jnp.int32) * bits)]

  return fn


def row(worths: Sequence[float]) -> jnp.ndarray:
  """Returns the row in which everyone is present."""
  return jnp.ones(len(worths).bit_length() - 1)


def shapley(worths: Sequence[float]) -> np.ndarray:
  """Returns what each player adds, in the mean over all orders."""
  num = len(worths).bit_length() - 1
  values = np.zeros(num)
  for order in itertools.permutations(range(num)):
    present = 0
    for i in order:
      values[i] += float(worths[present | 1 << i]) - float(worths[present])
      present |= 1 << i
  return values / math.factorial(num)


def banzhaf(worths: Sequence[float]) -> np.ndarray:
  """Returns what each player adds, in the mean over all sets of the others."""
  num = len(worths).bit_length() - 1
  return np.array(
    [
      np.mean(
        [
          float(worths[s | 1 << i]) - float(worths[s])
          for s in range(len(worths))
          if not s >> i & 1
        ]
      )
      for i in range(num)
    ]
  )


def of(num_players: int, worth: Callable[[Sequence[int]], float]) -> np.ndarray:
  """Returns what each coalition is worth, from a function of its members."""
  members = lambda s: [i for i in range(num_players) if s >> i & 1]
  sets = range(2**num_players)
  return np.array([worth(members(s)) for s in sets], np.float32)
