"""Games: a score as a function of which players of a masker are present.

`v(S) = f(hide(S))` for a coalition `S` of the players, or the mean of `f` over
the rows of a background set in the place of what is hidden. Methods of
coalitions know the game alone, and share out what all players are worth
together, `v(everyone) - v(nobody)`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from saliency_jax import maskers
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import stopping
from saliency_jax.core import types


class Game(NamedTuple):
  """The worth of every coalition.

  Attributes:
    num: players, `p`.
    worth: which of them are present, `[p]`, to a number.
    shaped: a number a player, `[p]`, on the grid of the masker's players.
    spread: a number a player, `[p]`, to a map of the example.
    dtype: of the numbers, float32 at least.
    grid: players along each axis, where neighbours on it mean something.
    num_rows: calls of the score a coalition: 1, or rows of a background set.
  """

  num: int
  worth: Callable[[Bool[Array, 'p']], Float[Array, '']]
  shaped: Callable[[Float[Array, 'p']], Float[Array, '*players']]
  spread: Callable[[Float[Array, 'p']], types.Example]
  dtype: Any
  grid: tuple[int, ...] | None = None
  num_rows: int = 1


class Worths(NamedTuple):
  """What some coalitions are worth.

  Attributes:
    nobody: the score with every player hidden.
    everyone: the score of the example.
    of: what each coalition that was asked for is worth.
    num_rows: calls that each of them took.
    num_more: coalitions whose worth was used and not kept.
  """

  nobody: Float[Array, '']
  everyone: Float[Array, '']
  of: Float[Array, 'n']
  num_rows: int = 1
  num_more: Int[Array, ''] | int = 0

  @property
  def total(self) -> Float[Array, '']:
    """What all players are worth together."""
    return self.everyone - self.nobody

  @property
  def num_calls(self) -> Int[Array, '']:
    """How often the score was called."""
    num = len(self.of) + 2 + jnp.asarray(self.num_more, jnp.int32)
    return num * self.num_rows


def of(
  fn: types.ScoreFn,
  x: types.Example,
  masker: maskers.Constructor,
  key: Key[Array, ''] | None,
) -> Game:
  """Returns the game of a score and a masker.

  Args:
    fn: score of one example.
    x: the example, of JAX's arrays.
    masker: its players.
    key: for a baseline that draws.

  Raises:
    ValueError: for a masker of one player, which shares with nobody.
  """
  players = checks.constructor(masker)(x, key=key)
  if players.num < 2:
    raise ValueError(
      f'expected a masker of at least 2 players, got {players.num}: one player '
      'alone is worth fn(x) less the score of its baseline'
    )
  dtype = examples.accumulator(examples.result_dtype(x))
  fn, _ = examples.widened(fn, x)
  shaped = lambda values: values.reshape(players.shape)
  spread = lambda values: players.spread(shaped(values))

  def worth(keep):
    score = lambda kept: checks.one_number(fn(kept)).astype(dtype)
    return players.average(score, spread(keep.astype(dtype)))

  grid = players.shape if players.ordered else None
  return Game(players.num, worth, shaped, spread, dtype, grid, players.num_rows)


def worths(
  game: Game,
  coalition: Callable[[Int[Array, '']], Bool[Array, 'p']],
  num: int,
  *,
  batch_size: int | None,
) -> Worths:
  """Returns what coalitions are worth, and nobody and everyone.

  Args:
    game: in which they play.
    coalition: the number of a coalition, from 0, to its members.
    num: coalitions, at least one.
    batch_size: coalitions held in memory at once; `None` holds them all.
  """

  def worth(i):
    asked = coalition(jnp.clip(i - 1, 0, num - 1))
    # The first call has nobody, and the last has everyone.
    return game.worth((i > num) | ((i > 0) & asked))

  values = sampling.batched_map(
    worth, jnp.arange(num + 2), batch_size=batch_size
  )
  return Worths(values[0], values[-1], values[1:-1], game.num_rows)


def ends(game: Game, num_more: Int[Array, ''] | int = 0) -> Worths:
  """Returns what nobody and everyone are worth.

  Args:
    game: in which they play.
    num_more: other coalitions, whose worth is known.
  """
  p = game.num
  both = jnp.stack([jnp.zeros(p, bool), jnp.ones(p, bool)])
  found = sampling.batched_map(game.worth, both)
  return Worths(found[0], found[1], found[:0], game.num_rows, num_more)


def of_pairs(
  game: Game, sets: Bool[Array, 'n p'], *, batch_size: int | None
) -> tuple[Worths, Float[Array, 'n 2']]:
  """Returns what sets and their complements are worth: both, by pair.

  Args:
    game: in which they play.
    sets: one of each pair.
    batch_size: coalitions held in memory at once; `None` holds them all.
  """
  found = worths(
    game,
    lambda i: sets[i // 2] ^ (i % 2 == 1),
    2 * len(sets),
    batch_size=batch_size,
  )
  return found, found.of.reshape(-1, 2)


def of_draws(
  game: Game,
  draw: Callable[[Int[Array, '']], Bool[Array, 'c p']],
  num_samples: int,
  others: Bool[Array, 'n p'],
  stderr: Callable[[Worths, Float[Array, 'm c'], Any], Float[Array, 'p']],
  *,
  batch_size: int | None,
  tolerance: types.Scalar | None,
  start: stopping.Rows | None,
  least: int,
) -> tuple[Worths, stopping.Rows]:
  """Returns what the coalitions of draws are worth, until that is enough.

  Args:
    game: in which they play.
    draw: the number of a draw, from 0, to its `c` coalitions.
    num_samples: draws; the most of them with a tolerance.
    others: coalitions that are asked for once.
    stderr: of nobody, everyone and the others, of the draws and their number,
      as in `stopping.rows`.
    batch_size: coalitions held in memory at once; `None` holds them all.
    tolerance: for the largest standard error, or `None`.
    start: of earlier draws, or `None`.
    least: draws before which no standard error is believed.

  Returns:
    What nobody, everyone and the others are worth, and what each coalition of a
    draw is, `[m, c]`.
  """
  size = jax.eval_shape(draw, jnp.arange(1)[0]).shape[0]
  if tolerance is None and start is None:
    # As one program, in which the score stands once.
    num = num_samples * size

    def coalition(i):
      drawn = draw(jnp.minimum(i // size, num_samples - 1))[i % size]
      if not len(others):
        return drawn
      return jnp.where(i < num, drawn, others[jnp.maximum(i - num, 0)])

    found = worths(game, coalition, num + len(others), batch_size=batch_size)
    values = found.of[:num].reshape(-1, size)
    found = found._replace(of=found.of[num:], num_more=num)
    return found, stopping.Rows(values, stopping.drawn(num_samples))
  if len(others):
    found = worths(
      game, lambda i: others[i], len(others), batch_size=batch_size
    )
  else:
    found = ends(game)
  rows = stopping.rows(
    lambda i: jax.vmap(game.worth)(draw(i)),
    num_samples,
    lambda values, num: stderr(found, values, num),
    batch_size=None if batch_size is None else max(1, batch_size // size),
    tolerance=tolerance,
    start=start,
    least=least,
  )
  return found._replace(num_more=size * rows.draws.num), rows


def random_order(key: Key[Array, ''], num: int) -> Int[Array, 'p']:
  """Draws the place of each player in a uniformly random order.

  The players at the first `k` places are a uniformly random set of size `k`.
  """
  return jax.random.permutation(key, num)


def enough(name: str, value: int, least: int, game: Game) -> None:
  """Raises `ValueError` for too few draws for the players of a game."""
  checks.count(name, value)
  if value < least:
    raise ValueError(
      f'{name} must be at least {least} for {game.num} players, got {value}: '
      'ask for more, or bind fewer players to the masker'
    )
