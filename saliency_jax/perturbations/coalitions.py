"""Which coalitions regressions look at, and how much each of them weighs.

Coalitions come in pairs of a set and its complement. A layer holds the pairs of
a set of `k <= p / 2` of `p` players; its weight is that of the sizes `k` and
`p - k`, and the weights of all layers sum to 1. A layer that is short enough to
be listed is a group of its own, from which no pair is drawn twice; all longer
ones are one group.

The first layer comes first. Then one group after the other gets a pair, the one
that has the fewest for its weight, until its pairs are at an end (Adams'
method of apportionment): a plan for fewer pairs is the beginning of a plan for
more, however many there will be.
"""

from collections.abc import Callable
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Key
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.perturbations import games

# Pairs of a layer that is listed: a table of them is in the program.
_MOST_LISTED = 16384
# Multiples of the golden ratio, a share of 2^32: no two of some are near.
_GOLDEN = 2654435769
_TINY = float(np.finfo(np.float32).tiny)


class Plan(NamedTuple):
  """Which pairs are looked at.

  Attributes:
    num_players: `p`.
    layers: their weights, from `k = 1`.
    num_listed: layers, from the first, that are groups of their own. All others
      are one more group.
    order: the group of each pair, from 0.
  """

  num_players: int
  layers: Float[np.ndarray, 'k']
  num_listed: int
  order: Int[np.ndarray, 'n']

  @property
  def groups(self) -> Float[np.ndarray, 'g']:
    """The weights of the groups."""
    rest = self.layers[self.num_listed :]
    own = self.layers[: self.num_listed]
    return np.append(own, rest.sum()) if rest.size else own

  @property
  def limits(self) -> Int[np.ndarray, 'g']:
    """How many pairs each group has; what is not listed has no end."""
    limits = np.full(len(self.groups), checks.MOST, np.int32)
    for k in range(self.num_listed):
      limits[k] = _num_pairs(k + 1, self.num_players)
    return limits

  @property
  def counts(self) -> Int[np.ndarray, 'g']:
    """How many pairs of each group are looked at."""
    return np.bincount(self.order, minlength=len(self.groups))

  @property
  def is_whole(self) -> bool:
    """Whether every pair is looked at."""
    return len(self.order) == _num_all(self.num_players)

  @property
  def goes_on(self) -> bool:
    """Whether it begins as plans for fewer pairs do."""
    return self.num_listed == _num_listed(self.num_players)


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

  The first layer always is whole: without it a system of equations for the
  values may be singular.

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
  num = min(num_samples // 2, _num_all(p))
  listed = len(layers) if num == _num_all(p) else _num_listed(p)
  found = Plan(p, layers / layers.sum(), listed, np.zeros(0, int))
  first = _num_pairs(1, p)
  seats = [
    (group, number, number / weight)
    for group, (weight, limit) in enumerate(
      zip(found.groups, found.limits, strict=True)
    )
    if group
    for number in [np.arange(min(limit, num - first))]
  ]
  groups = [np.full(len(number), group) for group, number, _ in seats]
  groups = np.concatenate([np.zeros(first, int), *groups])
  turns = np.concatenate([np.full(first, -1.0), *(turn for *_, turn in seats)])
  heavy = -found.groups[groups]
  return found._replace(order=groups[np.lexsort((heavy, turns))[:num]])


def sets(key: Key[Array, ''] | None, plan: Plan) -> Bool[Array, 'n p']:
  """Draws one set of each pair of a plan, in its order.

  Args:
    key: required unless every pair is looked at.
    plan: of the pairs.
  """
  p, found = plan.num_players, []
  ordered = key is not None or not plan.is_whole
  for group, num in enumerate(plan.counts):
    if group < plan.num_listed and num:
      table = jnp.asarray(_listed(group + 1, p))
      if ordered:
        own = sampling.draw_key(
          sampling.key_for(key, sampling.LAYER), group + 1
        )
        table = table[jax.random.permutation(own, len(table))[:num]]
      found.append(table[:num])
    elif num:
      found.append(_unlisted(key, plan))
  # From the order of the groups to that of the plan.
  places = np.argsort(np.argsort(plan.order, kind='stable'))
  return jnp.concatenate(found)[places]


def weights(
  plan: Plan, dtype: DTypeLike, num: Int[Array, ''] | None = None
) -> Float[Array, 'n']:
  """Returns the weight of each pair among the first `num`, 0 of the others.

  The weight of a group is spread over its pairs that are looked at, and the
  weight of a group without any over all that are not whole. Their sum is 1.

  Args:
    plan: of the pairs.
    dtype: of the weights.
    num: how many of them are looked at; `None` is all.
  """
  seen, counts = _counts(plan, num)
  groups = jnp.asarray(plan.groups, dtype)
  whole = counts >= plan.limits
  known = ~whole & (counts > 0)
  left = jnp.sum(jnp.where(whole, 0, groups))
  share = left / jnp.maximum(jnp.sum(jnp.where(known, groups, 0)), _TINY)
  spread = jnp.where(whole, groups, groups * share)
  each = spread / jnp.maximum(counts, 1).astype(groups.dtype)
  return jnp.where(seen, each[plan.order], 0)


def unseen(
  plan: Plan, dtype: DTypeLike, num: Int[Array, ''] | None = None
) -> Float[Array, 'n']:
  """Returns the share of each pair's group that is not looked at.

  The variance of a mean over a part of a group is less by this factor. It is 0
  for pairs that are enumerated, and for those behind the first `num`.
  """
  seen, counts = _counts(plan, num)
  left = (plan.limits - counts).astype(dtype)
  shares = left / jnp.asarray(plan.limits, dtype)
  return jnp.where(seen, shares[plan.order], 0)


def fewest(plan: Plan) -> int:
  """Returns the fewest pairs among which each group has one."""
  return _num_pairs(1, plan.num_players) + len(plan.groups) - 1


def fresh(
  key: Key[Array, ''] | None, plan: Plan, num: int
) -> Bool[Array, 'n p']:
  """Draws sets of all layers, by the draws behind those of the plan.

  The weight is cut into `num` equal parts with a draw in each.
  """
  edges = jnp.asarray(np.cumsum(plan.layers)[:-1], jnp.float32)

  def draw(i):
    own = sampling.draw_key(key, len(plan.order) + i)
    size_key = sampling.key_for(own, sampling.SIZE)
    unit = jax.random.uniform(size_key, (), edges.dtype)
    k = 1 + jnp.sum((i.astype(unit.dtype) + unit) / num >= edges)
    return games.random_order(own, plan.num_players) < k

  return jax.vmap(draw)(jnp.arange(num))


def second_moment(plan: Plan) -> float:
  """Returns `a` of `E[c c'] = a (1 - 11' / p)`, `c` a set less its mean."""
  p, k = plan.num_players, np.arange(1, len(plan.layers) + 1)
  return float(np.sum(plan.layers * k * (p - k)) / (p * (p - 1)))


def _counts(plan, num):
  """Returns which pairs are among the first, and how many of each group."""
  num = jnp.asarray(len(plan.order) if num is None else num, jnp.int32)
  seen = jnp.arange(len(plan.order), dtype=jnp.int32) < num
  group = jnp.arange(len(plan.groups))
  member = (plan.order[:, None] == group[None]) & seen[:, None]
  counts = jnp.sum(member, 0, dtype=jnp.int32)
  return seen, counts


def _unlisted(key, plan):
  """Draws sets of the layers that are too long to be listed.

  Their sizes go round the weight of these layers in steps of the golden ratio,
  from a random start: each is drawn by its weight, and any number of them is
  spread evenly.
  """
  layers = plan.layers[plan.num_listed :]
  edges = jnp.asarray(np.cumsum(layers)[:-1] / layers.sum(), jnp.float32)
  numbers = np.flatnonzero(plan.order == plan.num_listed)
  steps = np.arange(len(numbers), dtype=np.uint64) * np.uint64(_GOLDEN)
  own = sampling.draw_key(sampling.key_for(key, sampling.LAYER), 0)
  turned = jax.random.bits(own, (), jnp.uint32) + jnp.asarray(
    (steps % 2**32).astype(np.uint32)
  )
  # Of 32 bits a float has 24.
  part = (turned >> 8).astype(jnp.float32) / 2**24

  def draw(i, part):
    k = plan.num_listed + 1 + jnp.sum(part >= edges)
    return games.random_order(sampling.draw_key(key, i), plan.num_players) < k

  return jax.vmap(draw)(jnp.asarray(numbers), part)


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


def _num_all(p):
  return 2 ** (p - 1) - 1


def _num_listed(p):
  """Returns how many layers are short enough to be listed, from the first."""
  num = 1
  while num < p // 2 and _num_pairs(num + 1, p) <= _MOST_LISTED:
    num += 1
  return num
