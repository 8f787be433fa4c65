"""Which coalitions regressions look at, and how much each of them weighs.

Coalitions come in pairs of a set and its complement. A layer holds the pairs of
a set of `k <= p / 2` of `p` players; its weight is that of the sizes `k` and
`p - k`, and the weights of all layers sum to 1. No pair is drawn twice from a
layer that is short enough to be listed.
"""

from collections.abc import Callable
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key
import numpy as np

from saliency_jax.core import sampling
from saliency_jax.perturbations import games

# Pairs of a layer that is listed: a table of them is in the program.
_MOST_LISTED = 16384


class Plan(NamedTuple):
  """Which pairs are looked at.

  Attributes:
    num_players: `p`.
    layers: their weights, from `k = 1`.
    num_whole: layers, from the first, of which every pair is enumerated.
    num_drawn: pairs drawn from the other layers.
  """

  num_players: int
  layers: Float[np.ndarray, 'k']
  num_whole: int
  num_drawn: int

  @property
  def rest(self) -> float:
    """The weight of the layers that are drawn from."""
    return float(self.layers[self.num_whole :].sum())


def shapley_kernel(size: int, num_players: int) -> float:
  """Returns what all sets of a size weigh together in KernelSHAP."""
  return 1 / (size * (num_players - size))


def equal_sizes(size: int, num_players: int) -> float:
  """Returns 1: every size alike (leverage scores)."""
  del size, num_players
  return 1.0


def plan(
  game: games.Game,
  num_samples: int,
  weight: Callable[[int, int], float] = shapley_kernel,
) -> Plan:
  """Returns how `num_samples` coalitions are best spent.

  Layers are enumerated as long as a layer's share of the calls is enough for
  it. The first layer always is: without it a system of equations for the values
  may be singular.

  Args:
    game: whose players they are.
    num_samples: coalitions beside nobody and everyone.
    weight: of all sets of a size together, of so many players.

  Raises:
    ValueError: for fewer samples than the first layer and one pair take.
  """
  p = game.num
  games.enough('num_samples', num_samples, min(2**p - 2, 2 * p + 2), game)
  sizes = range(1, p // 2 + 1)
  layers = np.array([_num_sizes(k, p) * weight(k, p) for k in sizes])
  layers /= layers.sum()
  left, num_whole = num_samples // 2, 0
  for k, share in zip(sizes, layers / layers[::-1].cumsum()[::-1], strict=True):
    if k > 1 and _num_pairs(k, p) > left * share:
      break
    left, num_whole = left - _num_pairs(k, p), k
  return Plan(p, layers, num_whole, left if num_whole < len(layers) else 0)


def enumerated(plan: Plan) -> Bool[np.ndarray, 'n p']:
  """Returns one set of each pair of the layers that are whole."""
  layers = [_listed(k + 1, plan.num_players) for k in range(plan.num_whole)]
  return np.concatenate(layers)


def weights(plan: Plan) -> Float[np.ndarray, 'n']:
  """Returns the weight of each pair, the drawn ones last; their sum is 1."""
  drawn = np.full(plan.num_drawn, plan.rest / max(plan.num_drawn, 1))
  return np.concatenate([_whole_weights(plan), drawn])


def drawn(key: Key[Array, ''] | None, plan: Plan) -> Bool[Array, 'n p']:
  """Draws one set of each pair that the plan does not enumerate."""
  p = plan.num_players
  layer, sets = _draw(key, plan, plan.num_whole, plan.num_drawn, 0)
  for k in range(plan.num_whole + 1, len(plan.layers) + 1):
    if _num_pairs(k, p) > _MOST_LISTED:
      break
    # The next pairs of a random order of the layer, in the place of any.
    own = sampling.draw_key(sampling.key_for(key, sampling.LAYER), k)
    order = jax.random.permutation(own, _num_pairs(k, p))
    rank = jnp.cumsum(layer == k) - 1
    table = jnp.asarray(_listed(k, p))
    next_ones = table[order[rank % len(table)]]
    sets = jnp.where((layer == k)[:, None], next_ones, sets)
  return sets


def unseen(plan: Plan, drawn: Bool[Array, 'n p']) -> Float[Array, 'n']:
  """Returns the share of each drawn pair's layer that was not drawn.

  The variance of a mean over a part of a layer is less by this factor.
  """
  p = plan.num_players
  layer = jnp.minimum(jnp.sum(drawn, 1), p - jnp.sum(drawn, 1))
  shares = jnp.ones(len(drawn))
  for k in range(plan.num_whole + 1, len(plan.layers) + 1):
    if _num_pairs(k, p) > _MOST_LISTED:
      break
    seen = jnp.sum(layer == k) / _num_pairs(k, p)
    shares = jnp.where(layer == k, jnp.maximum(1 - seen, 0), shares)
  return shares


def fresh(
  key: Key[Array, ''] | None, plan: Plan, num: int
) -> Bool[Array, 'n p']:
  """Draws sets of all layers, by the draws behind those of `drawn`."""
  return _draw(key, plan, 0, num, plan.num_drawn)[1]


def second_moment(plan: Plan) -> float:
  """Returns `a` of `E[c c'] = a (1 - 11' / p)`, `c` a set less its mean."""
  p, k = plan.num_players, np.arange(1, len(plan.layers) + 1)
  return float(np.sum(plan.layers * k * (p - k)) / (p * (p - 1)))


def _draw(key, plan, num_skipped, num, start):
  """Draws layers behind some by their weight, and a set of each uniformly.

  The weight is cut into `num` equal parts with a draw in each.
  """
  layers = plan.layers[num_skipped:]
  dtype = jnp.float32
  edges = jnp.asarray(np.cumsum(layers)[:-1] / layers.sum(), dtype)

  def draw(i):
    own = sampling.draw_key(key, start + i)
    unit = jax.random.uniform(sampling.key_for(own, sampling.SIZE), (), dtype)
    part = (i.astype(dtype) + unit) / num
    k = num_skipped + 1 + jnp.sum(part[None] >= edges)
    return k, games.random_order(own, plan.num_players) < k

  return jax.vmap(draw)(jnp.arange(num))


def _whole_weights(plan):
  """Returns the weight of each pair that is enumerated."""
  num = [_num_pairs(k + 1, plan.num_players) for k in range(plan.num_whole)]
  return np.repeat(plan.layers[: plan.num_whole] / num, num)


def _listed(k, p):
  """Returns one set of each pair of a layer."""
  table = np.zeros((_num_pairs(k, p), p), bool)
  # Of the sets of half of the players, the second half are complements.
  sets = itertools.combinations(range(p), k)
  for row, members in zip(table, sets, strict=False):
    row[list(members)] = True
  return table


def _num_sizes(k, p):
  """Returns how many sizes layer `k` has: `k` and `p - k`, or one of both."""
  return 1 if 2 * k == p else 2


def _num_pairs(k, p):
  return math.comb(p, k) * _num_sizes(k, p) // 2
