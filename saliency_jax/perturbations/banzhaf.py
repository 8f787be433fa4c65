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
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.perturbations import games


class BanzhafInfo(NamedTuple):
  """The value of each player, and how far it may be from the truth.

  Attributes:
    values: of the players, on their grid.
    stderr: standard error of each, over pairs; 0 where all sets are enumerated.
    score: `f(x)`.
    baseline_score: `v(nobody)`.
    num_calls: of the score.
  """

  values: Float[Array, '*players']
  stderr: Float[Array, '*players']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  num_calls: Int[Array, '']


def banzhaf(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  masker: maskers.Constructor,
  num_samples: int = 2048,
  batch_size: int | None = 16,
) -> types.Attribution:
  """Estimates Banzhaf values by maximum sample reuse.

  Args:
    fn: score of one example; no gradient is taken.
    x: the example.
    key: consumed; required unless all sets are enumerated.
    masker: the players.
    num_samples: coalitions beside nobody and everyone, 4 at least. The values
      are exact from `2^p - 2` on.
    batch_size: coalitions held in memory at once; `None` holds them all.

  Returns:
    Scores as the masker spreads them, in units of `fn`.

  Raises:
    ValueError: without a key where one is needed, or for too few samples.
  """
  x = examples.arrays(x)
  game = games.of(fn, x, masker, key)
  p = game.num
  whole = num_samples >= 2**p - 2
  if whole:
    # One set of each pair: the last player is absent.
    sets = jnp.arange(1, 2 ** (p - 1))[:, None] >> jnp.arange(p)[None] & 1 == 1
  else:
    games.enough('num_samples', num_samples, 4, game)
    draw = lambda i: jax.random.bernoulli(sampling.draw_key(key, i), 0.5, (p,))
    sets = jax.vmap(draw)(jnp.arange(num_samples // 2))
  worths, pairs = games.of_pairs(game, sets, batch_size=batch_size)
  side = 2 * sets.astype(game.dtype) - 1
  terms = side * (pairs[:, :1] - pairs[:, 1:])
  if whole:
    terms = jnp.concatenate([terms, jnp.full((1, p), worths.total)])
  values, stderr = jnp.mean(terms, 0), jnp.zeros(p, game.dtype)
  if not whole:
    stderr = sampling.standard_error(jnp.var(terms, 0), len(terms))
  info = BanzhafInfo(
    values=game.shaped(values),
    stderr=game.shaped(stderr),
    score=worths.everyone,
    baseline_score=worths.nobody,
    num_calls=worths.num_calls,
  )
  return examples.attribution(x, game.spread(values), info)
