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


def shapley_by_sets(worths: Sequence[float]) -> np.ndarray:
  """Returns what each player adds, over all sets of the others by their size.

  The same as `shapley`, of more players than there is time for all orders of.
  """
  num = len(worths).bit_length() - 1
  worths, sets = np.asarray(worths, np.float64), np.arange(len(worths))
  sizes = np.bitwise_count(sets)
  values = []
  for i in range(num):
    others = sets[sets >> i & 1 == 0]
    weights = [1 / (num * math.comb(num - 1, s)) for s in sizes[others]]
    values.append(np.sum(weights * (worths[others | 1 << i] - worths[others])))
  return np.array(values)


def kernel_shap(worths: Sequence[float]) -> np.ndarray:
  """Returns KernelSHAP's least squares over all sets, solved by Lagrange."""
  num = len(worths).bit_length() - 1
  sets = np.arange(1, len(worths) - 1)
  members = (sets[:, None] >> np.arange(num) & 1).astype(np.float64)
  weights = [
    (num - 1) / (math.comb(num, s) * s * (num - s))
    for s in members.sum(1).astype(int)
  ]
  above = np.asarray(worths, np.float64) - np.float64(worths[0])
  system = np.ones((num + 1, num + 1))
  system[:num, :num] = members.T * weights @ members
  system[num, num] = 0
  target = np.append(members.T * weights @ above[1:-1], above[-1])
  return np.linalg.solve(system, target)[:num]


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
