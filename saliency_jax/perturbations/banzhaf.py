"""Banzhaf values: what a player adds, in the mean over sets of the others.

`phi_i = E[v(S) | i in S] - E[v(S) | i not in S]`, every set alike likely. What
a set is worth tells of every player (maximum sample reuse). Sets come in pairs
with their complements, which the paper's do not: every player is then in half
of the sets, and the even part of the game drops out. The values do not sum to
anything.

References:
  Banzhaf, Weighted voting doesn't work: a mathematical analysis, 1965.
  Wang, Jia, Data Banzhaf: a robust data valuation framework for machine
    learning, 2023. https://arxiv.org/abs/2205.15466
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax import maskers
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import stopping
from saliency_jax.core import types
from saliency_jax.perturbations import games
from saliency_jax.perturbations import reliability


class BanzhafInfo(NamedTuple):
  """The value of each player, and how far it may be from the truth.

  Attributes:
    values: of the players, on their grid.
    stderr: standard error of each, over pairs; 0 where all sets are enumerated.
    margin: half of the 95% interval of each, by Student's t.
    score: `f(x)`.
    baseline_score: `v(nobody)`.
    num_calls: of the score.
    draws: how many pairs they are, and whether a tolerance is met.
  """

  values: Float[Array, '*players']
  stderr: Float[Array, '*players']
  margin: Float[Array, '*players']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  num_calls: Int[Array, '']
  draws: stopping.Draws


def banzhaf(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  masker: maskers.Constructor,
  num_samples: int = 2048,
  batch_size: int | None = 16,
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> types.Attribution:
  """Estimates Banzhaf values by maximum sample reuse.

  Args:
    fn: score of one example; no gradient is taken.
    x: the example.
    key: consumed; required unless all sets are enumerated.
    masker: the players.
    num_samples: coalitions beside nobody and everyone, 4 at least. The values
      are exact from `2^p - 2` on: all sets are then enumerated, whatever the
      tolerance. The most of them with a tolerance.
    batch_size: coalitions held in memory at once; `None` holds them all.
    tolerance: draws pairs until the largest standard error is no more: see
      `core/stopping.py`.
    start: an earlier map with the same key and settings, whose pairs are the
      first of these.

  Returns:
    Scores as the masker spreads them, in units of `fn`.

  Raises:
    ValueError: without a key where one is needed, or for too few samples.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> from saliency_jax import maskers
    >>> fn = lambda x: x[0] * x[1] + x[2]
    >>> maps, info = saliency_jax.banzhaf(
    ...   fn, jnp.ones(3), key=jax.random.key(0), masker=maskers.entries
    ... )
    >>> print(np.asarray(maps).round(3))
    [0.5 0.5 1. ]
  """
  x = examples.arrays(x)
  game = games.of(fn, x, masker, key)
  p = game.num
  checks.count('num_samples', num_samples)
  if num_samples >= 2**p - 2:
    terms, worths = _enumerated(game, batch_size)
    values, stderr = jnp.mean(terms, 0), jnp.zeros(p, game.dtype)
    draws = stopping.drawn(len(terms))
    if tolerance is not None:
      draws = draws._replace(met=jnp.all(jnp.isfinite(values)))
  else:
    games.enough('num_samples', num_samples, 4, game)
    mean, variance, draws, worths = _drawn(
      game, key, num_samples // 2, batch_size, tolerance, start
    )
    values, stderr = mean, stopping.standard_error(variance, draws)
  info = BanzhafInfo(
    values=game.shaped(values),
    stderr=game.shaped(stderr),
    margin=game.shaped(reliability.margin(stderr, draws.num - 1)),
    score=worths.everyone,
    baseline_score=worths.nobody,
    num_calls=worths.num_calls,
    draws=draws,
  )
  return examples.attribution(x, game.spread(values), info)


def _enumerated(game, batch_size):
  """Returns what players add in each pair of sets, `[n, p]`."""
  p = game.num
  # One set of each pair: the last player is absent.
  sets = jnp.arange(1, 2 ** (p - 1))[:, None] >> jnp.arange(p)[None] & 1 == 1
  worths, pairs = games.of_pairs(game, sets, batch_size=batch_size)
  terms = jax.vmap(_added)(sets, pairs)
  return jnp.concatenate([terms, jnp.full((1, p), worths.total)]), worths


def _drawn(game, key, num_pairs, batch_size, tolerance, start):
  """Returns the moments of what players add in drawn pairs of sets."""
  p = game.num
  draw = lambda i: jax.random.bernoulli(sampling.draw_key(key, i), 0.5, (p,))
  if tolerance is None and start is None:
    sets = jax.vmap(draw)(jnp.arange(num_pairs))
    worths, pairs = games.of_pairs(game, sets, batch_size=batch_size)
    terms = jax.vmap(_added)(sets, pairs)
    draws = stopping.drawn(num_pairs)
    return jnp.mean(terms, 0), jnp.var(terms, 0), draws, worths

  def term(i):
    members = draw(i)
    pair = jax.vmap(game.worth)(jnp.stack([members, ~members]))
    return _added(members, pair)

  if start is not None:
    info = stopping.info_of(start, BanzhafInfo)
    flat = lambda a: jnp.asarray(a, game.dtype).ravel()
    start = stopping.restored(flat(info.values), flat(info.stderr), info.draws)
  mean, variance, draws = stopping.moments(
    term,
    num_pairs,
    batch_size=None if batch_size is None else max(1, batch_size // 2),
    tolerance=tolerance,
    start=start,
  )
  return mean, variance, draws, games.ends(game, 2 * draws.num)


def _added(members, pair):
  """Returns what each player adds in a set and its complement."""
  return (2 * members.astype(pair.dtype) - 1) * (pair[0] - pair[1])
