"""Shapley values: what a player adds, in the mean over orders of arrival.

`phi_i = sum_{S without i} s! (p - s - 1)! / p! (v(S + i) - v(S))`, for sets of
`s` of the other players. They sum to `v(everyone) - v(nobody)`.

References:
  Shapley, A value for n-person games, 1953.
  Castro, Gomez, Tejada, Polynomial calculation of the Shapley value based on
    sampling, 2009. https://doi.org/10.1016/j.cor.2008.04.004
  Mitchell, Cooper, Frank, Holmes, Sampling permutations for Shapley value
    estimation, 2022. https://arxiv.org/abs/2104.12199
"""

from collections.abc import Callable
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np
from typing_extensions import TypeAliasType

from saliency_jax import maskers
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import stopping
from saliency_jax.core import types
from saliency_jax.perturbations import games
from saliency_jax.perturbations import reliability

_HIGHEST = jax.lax.Precision.HIGHEST
# Players of `exact`: 65,536 coalitions.
_MOST_PLAYERS = 16


class ShapleyInfo(NamedTuple):
  """The value of each player, and how far it may be from the truth.

  Attributes:
    values: of the players, on their grid.
    stderr: standard error of each; 0 for `exact`.
    margin: half of the 95% interval of each, by Student's t: 2.26 standard
      errors at 10 pairs, or orders, and 1.96 at hundreds.
    efficiency_error: `|sum of values - (f(x) - v(nobody))|`: rounding.
    score: `f(x)`.
    baseline_score: `v(nobody)`.
    num_calls: of the score.
    draws: of `permutation` and `stratified`, how many pairs of orders, or
      orders, they are, and whether a tolerance is met; so of the pairs of a
      `gaussian_process` with a tolerance. `None` of the others.
    estimator: its name, which is no array: `start` goes on from the same one.
  """

  values: Float[Array, '*players']
  stderr: Float[Array, '*players']
  margin: Float[Array, '*players']
  efficiency_error: Float[Array, '']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  num_calls: Int[Array, '']
  draws: stopping.Draws | None
  estimator: types.Name = types.Name('')


class Estimate(NamedTuple):
  """What an estimator returns.

  Attributes:
    values: of the players.
    stderr: standard error of each.
    worths: of which the calls are counted.
    draws: how many they are, of an estimator that can go on from them.
    freedom: degrees of freedom of the standard errors.
    estimator: its name, of one that can go on.
  """

  values: Float[Array, 'p']
  stderr: Float[Array, 'p']
  worths: games.Worths
  draws: stopping.Draws | None = None
  freedom: Int[Array, ''] | int = checks.MOST
  estimator: str = ''


# `(game, *, key, batch_size) -> Estimate`, its settings bound.
Estimator = TypeAliasType('Estimator', Callable[..., Estimate])


def shapley(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  masker: maskers.Constructor,
  estimator: Estimator | None = None,
  batch_size: int | None = 16,
) -> types.Attribution:
  """Shares out what the players of a masker are worth together.

  Args:
    fn: score of one example; no gradient is taken.
    x: the example.
    key: consumed; required by the estimators that draw.
    masker: the players.
    estimator: `exact`, `permutation`, `stratified.stratified` or, closest at
      most numbers of calls, `gaussian_process.gaussian_process`, its settings
      bound by `functools.partial`; `None` is `permutation`.
    batch_size: coalitions held in memory at once; `None` holds them all.

  Returns:
    Scores as the masker spreads them, in units of `fn`.

  Raises:
    ValueError: without a key where one is needed, or for more or fewer players,
      or fewer draws, than the estimator takes.

  Examples:
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> from saliency_jax import maskers
    >>> from saliency_jax.perturbations import shapley
    >>> fn = lambda x: x[0] * x[1] + x[2]
    >>> maps, info = saliency_jax.shapley(
    ...   fn, jnp.ones(3), masker=maskers.entries, estimator=shapley.exact
    ... )
    >>> print(np.asarray(maps).round(3))
    [0.5 0.5 1. ]
  """
  x = examples.arrays(x)
  game = games.of(fn, x, masker, key)
  estimator = permutation if estimator is None else estimator
  values, stderr, worths, draws, freedom, name = estimator(
    game, key=key, batch_size=batch_size
  )
  info = ShapleyInfo(
    values=game.shaped(values),
    stderr=game.shaped(stderr),
    margin=game.shaped(reliability.margin(stderr, freedom)),
    efficiency_error=jnp.abs(jnp.sum(values) - worths.total),
    score=worths.everyone,
    baseline_score=worths.nobody,
    num_calls=worths.num_calls,
    draws=draws,
    estimator=types.Name(name),
  )
  return examples.attribution(x, game.spread(values), info)


def exact(
  game: games.Game,
  *,
  key: Key[Array, ''] | None = None,
  batch_size: int | None,
) -> Estimate:
  """Calls the score for all `2^p` coalitions of at most 16 players.

  Args:
    game: whose values are wanted.
    key: not used.
    batch_size: coalitions held in memory at once; `None` holds them all.
  """
  del key
  p = game.num
  if p > _MOST_PLAYERS:
    raise ValueError(
      f'exact takes at most {_MOST_PLAYERS} players, got {p}: bind fewer to '
      'the masker, or use estimator=permutation'
    )
  bits = jnp.arange(p)
  member = lambda i: (i >> bits) & 1 == 1
  # Coalition 0 is nobody, and the last one everyone.
  num = 2**p - 2
  worths = games.worths(
    game, lambda i: member(i + 1), num, batch_size=batch_size
  )
  members = jax.vmap(member)(jnp.arange(1, num + 1))
  sizes = np.arange(p + 1)
  # s! (p - s)! / p! of a set of `s`, for one member and for one who is not.
  chance = np.array([1 / math.comb(p, s) for s in sizes])
  inside = jnp.asarray(chance / np.maximum(sizes, 1), game.dtype)
  outside = jnp.asarray(chance / np.maximum(p - sizes, 1), game.dtype)
  size = jnp.sum(members, 1)
  weights = jnp.where(members, inside[size][:, None], -outside[size][:, None])
  # Scores less the baseline's are small numbers, which float32 sums well.
  values = times(worths.of - worths.nobody, weights) + worths.total / p
  return Estimate(values, jnp.zeros_like(values), worths)


def permutation(
  game: games.Game,
  *,
  key: Key[Array, ''] | None,
  batch_size: int | None,
  num_pairs: int = 10,
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> Estimate:
  """Averages what players add in random orders, each with its reverse.

  Pairs are exact for games of interactions of two players at most. A pair takes
  `2 (p - 1)` calls.

  Args:
    game: whose values are wanted.
    key: consumed; required.
    batch_size: coalitions held in memory at once; `None` holds them all.
    num_pairs: of an order and its reverse, 2 at least: standard errors come
      from their differences. The most of them with a tolerance.
    tolerance: draws pairs until the largest standard error is no more: see
      `core/stopping.py`.
    start: an earlier map with the same key and settings, whose pairs are the
      first of these.
  """
  checks.count('num_pairs', num_pairs, 2)
  p = game.num
  if tolerance is None and start is None:
    places = random_orders(key, game, num_pairs)
    num = num_pairs * (2 * p - 2)
    worths = games.worths(
      game, lambda i: _arrived(places, i), num, batch_size=batch_size
    )
    return mean(_added(places, worths), worths, 'permutation')
  ends = games.ends(game)

  def terms(i):
    place = games.random_order(sampling.draw_key(key, i), p)[None]
    path = sampling.batched_map(
      lambda j: game.worth(_arrived(place, j)),
      jnp.arange(2 * p - 2),
      batch_size=batch_size,
    )
    return _added(place, ends._replace(of=path))[0]

  found = stopping.moments(
    terms,
    num_pairs,
    batch_size=1,
    tolerance=tolerance,
    start=restored(start, game, 'permutation'),
  )
  num = found.draws.num * (2 * p - 2)
  return estimate(found, ends._replace(num_more=num), 'permutation')


def _arrived(places, i):
  """Returns who has come in coalition `i` of orders and their reverses."""
  p = places.shape[1]
  place = places[i // (2 * p - 2)]
  turned = i % (2 * p - 2) >= p - 1
  # The first so many to arrive, from the one end or the other.
  return jnp.where(turned, p - 1 - place, place) < i % (p - 1) + 1


def _added(places, worths):
  """Returns what players add in orders `[n, p]` and their reverses."""
  num, p = places.shape
  paths = worths.of.reshape(num, 2, p - 1)
  ends = [
    jnp.full((num, 2, 1), end) for end in (worths.nobody, worths.everyone)
  ]
  added = jnp.diff(jnp.concatenate([ends[0], paths, ends[1]], 2), axis=2)
  orders = jnp.arange(num)[:, None]
  terms = added[orders, 0, places] + added[orders, 1, p - 1 - places]
  return terms / 2


def random_orders(
  key: Key[Array, ''] | None, game: games.Game, num: int
) -> Int[Array, 'num p']:
  """Draws the places of the players in random orders."""
  draw = lambda i: games.random_order(sampling.draw_key(key, i), game.num)
  return jax.vmap(draw)(jnp.arange(num))


def times(
  worths: Float[Array, 'n'], shares: Float[Array | np.ndarray, 'n p']
) -> Float[Array, 'p']:
  """Returns what the worths of sets give each player, by their shares."""
  shares = jnp.asarray(shares, worths.dtype)
  return jnp.matmul(worths, shares, precision=_HIGHEST)


def mean(
  terms: Float[Array, 'n p'], worths: games.Worths, name: str
) -> Estimate:
  """Returns the mean of independent estimates, and its error."""
  draws = stopping.drawn(len(terms))
  found = stopping.Moments(jnp.mean(terms, 0), jnp.var(terms, 0), draws)
  return estimate(found, worths, name)


def estimate(
  found: stopping.Moments, worths: games.Worths, name: str
) -> Estimate:
  """Returns the estimate of the moments of independent ones."""
  stderr = stopping.standard_error(found.variance, found.draws)
  freedom = found.draws.num - 1
  return Estimate(found.mean, stderr, worths, found.draws, freedom, name)


def restored(
  start: types.Attribution | None, game: games.Game, name: str
) -> stopping.Moments | None:
  """Returns the moments of an earlier map, if there is one.

  Raises:
    ValueError: it is of another estimator, or of other players.
  """
  if start is None:
    return None
  info = stopping.info_of(start, ShapleyInfo)
  if info.draws is None or info.estimator != name:
    got = info.estimator or 'one that does not go on'
    raise ValueError(
      f'start must be of the same estimator, {name}, got a map of {got}'
    )
  flat = lambda a: jnp.asarray(a, game.dtype).ravel()
  return stopping.restored(flat(info.values), flat(info.stderr), info.draws)
