"""Draws until what is made of them is good enough, and on from earlier ones.

A method that draws takes `tolerance`: it stops as soon as its largest standard
error is no more, at the most draws that it may take otherwise. Stopping early
makes errors a little larger than they are said to be, since a spread that came
out small stops first. It also takes `start`, an attribution of its own with the
same key and settings, and draws what is missing from it: draw `i` is the same
in any run, and `n` draws and `m` more are the first `n + m`.

`moments` is for means: what a mean and its standard error say of earlier draws
is all that later ones need, and every batch is looked at. `rows` is for what is
solved from all draws at once: what each draw gave is kept, a few numbers, and
since each look is a solve, draws grow by a quarter between two looks.
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import host
from saliency_jax.core import sampling
from saliency_jax.core import types

# Draws before which a standard error is not believed.
LEAST = 16
# By which share draws grow between two looks that are solves.
_GROWTH = 4


class Draws(NamedTuple):
  """How many draws a mean is of.

  Attributes:
    num: draws, those of an earlier result included.
    met: whether the largest standard error is within the tolerance; `None`
      where there was none.
  """

  num: Int[Array, '']
  met: Bool[Array, ''] | None


class Moments(NamedTuple):
  """The mean and the variance of draws.

  Attributes:
    mean: a pytree of arrays, in float32 at least.
    variance: of the draws, biased; of the same shape.
    draws: how many they are.
  """

  mean: Any
  variance: Any
  draws: Draws


class Rows(NamedTuple):
  """What each of some draws gave.

  Attributes:
    values: a pytree of arrays `[n, ...]`, zeros behind the last draw.
    draws: how many they are.
  """

  values: Any
  draws: Draws


@host.own_errors()
def moments(
  f: Callable[[Int[Array, '']], Any],
  num_samples: int,
  *,
  batch_size: int | None = None,
  tolerance: types.Scalar | None = None,
  start: Moments | None = None,
  watched: Callable[[Any, Any], Any] = lambda mean, variance: variance,
) -> Moments:
  """Returns the mean and the variance of `f` over draws 0, 1, ...

  Without `tolerance` and `start` it is `sampling.batched_moments`, and one
  batch after the other until it is good otherwise. Under `vmap` an example that
  is good waits for the others, unchanged.

  Args:
    f: maps the number of a draw to a pytree of arrays.
    num_samples: draws; the most of them with a tolerance.
    batch_size: calls of `f` held in memory at once; `None` holds them all.
    tolerance: for the largest standard error of what is watched, above 0.
    start: earlier moments, of the same `f`.
    watched: mean and variance to the variances whose standard errors count, in
      the units of the tolerance.

  Raises:
    ValueError: for a tolerance that is not positive.
  """
  checks.count('num_samples', num_samples)
  if tolerance is None and start is None:
    mean, variance = sampling.batched_moments(
      f, jnp.arange(num_samples), batch_size=batch_size
    )
    return Moments(mean, variance, drawn(num_samples))
  size = _size(num_samples, batch_size)

  def variance_of(sum_sq, num):
    count = jnp.maximum(num, 1)
    return jax.tree.map(lambda s: s / count.astype(s.dtype), sum_sq)

  def stderr(sums, num):
    mean, sum_sq = sums
    spread = watched(mean, variance_of(sum_sq, num))
    return standard_error(spread, Draws(num, None))

  def add(sums, first, new):
    # Behind the last draw it stands again, and is not counted.
    ys = jax.vmap(f)(jnp.minimum(_numbers(first, size), num_samples - 1))
    same = lambda mean, y: _same_shape(mean.shape, y.shape[1:])
    jax.tree.map(same, sums[0], ys)
    return sampling.merged(*sums, ys, first, new)

  if start is None:
    zeros = sampling.nothing(f, jnp.arange(1)[0])
    sums, num = (zeros, zeros), jnp.asarray(0, jnp.int32)
  else:
    num = jnp.asarray(start.draws.num, jnp.int32)
    times = lambda v: v * num.astype(v.dtype)
    sums = (start.mean, jax.tree.map(times, start.variance))
  (mean, sum_sq), draws = _until(
    add,
    stderr,
    sums,
    num,
    num_samples,
    size,
    tolerance,
    min(LEAST, num_samples),
  )
  return Moments(mean, variance_of(sum_sq, draws.num), draws)


@host.own_errors()
def rows(
  f: Callable[[Int[Array, '']], Any],
  num_samples: int,
  stderr: Callable[[Any, Int[Array, '']], Any],
  *,
  batch_size: int | None = None,
  tolerance: types.Scalar | None = None,
  start: Rows | None = None,
  least: int = LEAST,
  unit: int = 1,
) -> Rows:
  """Returns `f` of draws 0, 1, ..., until what is made of them is good.

  Args:
    f: maps the number of a draw to a pytree of arrays.
    num_samples: draws; the most of them with a tolerance.
    stderr: maps the values of `Rows`, and how many of them are drawn, to the
      standard errors that count, in the units of the tolerance.
    batch_size: calls of `f` held in memory at once; `None` holds them all.
    tolerance: for the largest of the standard errors, above 0.
    start: earlier ones, of the same `f`. Where they are more than
      `num_samples`, they all stay.
    least: draws before which `stderr` is not believed.
    unit: draws that belong together: only whole units are looked at.

  Raises:
    ValueError: for a tolerance that is not positive.
  """
  checks.count('num_samples', num_samples)
  if tolerance is None and start is None:
    values = sampling.batched_map(
      f, jnp.arange(num_samples), batch_size=batch_size
    )
    return Rows(values, drawn(num_samples))
  size = _size(num_samples, batch_size)
  length = room(num_samples, None if start is None else start.values)

  def add(values, first, new):
    numbers = _numbers(first, size)
    ys = jax.vmap(f)(jnp.minimum(numbers, num_samples - 1))
    places = jnp.where(
      numbers < (first + new).astype(numbers.dtype), numbers, length
    )
    put = lambda v, y: v.at[places].set(y.astype(v.dtype), mode='drop')
    return jax.tree.map(put, values, ys)

  values = jax.tree.map(
    lambda z: jnp.zeros((length, *z.shape), z.dtype),
    sampling.nothing(f, jnp.arange(1)[0]),
  )
  num = jnp.asarray(0, jnp.int32)
  if start is not None:
    num = jnp.asarray(start.draws.num, jnp.int32)
    values = jax.tree.map(_begun, values, start.values)
  values, draws = _until(
    add,
    stderr,
    values,
    num,
    num_samples,
    size,
    tolerance,
    min(least, num_samples),
    unit,
    _GROWTH,
  )
  return Rows(values, draws)


def drawn(num: Int[Array, ''] | int) -> Draws:
  """Returns `Draws` of so many, to no tolerance."""
  return Draws(jnp.asarray(num, jnp.int32), None)


def room(num_samples: int, values: Any | None) -> int:
  """Returns for how many draws `rows` has room, beside earlier values."""
  if values is None:
    return num_samples
  return max(num_samples, *(len(v) for v in jax.tree.leaves(values)))


def _numbers(first, size):
  """Returns the numbers of so many draws, as `jnp.arange` has them."""
  numbers = jnp.arange(size)
  return numbers + first.astype(numbers.dtype)


def _begun(values, earlier):
  """Returns rows that begin with earlier ones, or raises."""
  _same_shape(earlier.shape[1:], values.shape[1:])
  return values.at[: len(earlier)].set(jnp.asarray(earlier, values.dtype))


def _same_shape(earlier, wanted):
  """Raises `ValueError` unless earlier draws are shaped as the others."""
  if earlier != wanted:
    raise ValueError(
      f'start has draws of shape {earlier}, expected {wanted}: go on with the '
      'same example, masker and settings'
    )


def _size(num_samples, batch_size):
  """Returns the least size of a batch of which the fewest are needed."""
  if batch_size is not None:
    checks.count('batch_size', batch_size)
  size = min(batch_size or num_samples, num_samples)
  return math.ceil(num_samples / math.ceil(num_samples / size))


def _until(
  add, stderr, state, num, most, size, tolerance, least, unit=1, growth=None
):
  """Adds batches of draws to a state until it is good, or has the most.

  Args:
    add: `(state, first, new) -> state` with `new` draws more, from number
      `first`: at most `size`.
    stderr: `(state, num)` to the standard errors that count.
    state: of the draws before.
    num: how many they are.
    most: draws.
    size: of a batch.
    tolerance: for the largest standard error, or `None`.
    least: draws before which there is no look.
    unit: of whose multiples there is a look.
    growth: a `growth`-th of the draws is added before the next look; `None`
      looks after every batch.
  """
  if tolerance is not None:
    checks.within('tolerance', tolerance, '(0, inf)')

  def met(state, num):
    if tolerance is None:
      return jnp.asarray(False)
    leaves = jax.tree.leaves(stderr(state, num))
    largest = jnp.max(jnp.stack([jnp.max(leaf) for leaf in leaves]))
    within = largest <= jnp.asarray(tolerance, largest.dtype)
    return within & (num >= least)

  def next_look(num):
    if tolerance is None:
      return jnp.full_like(num, most)
    more = jnp.maximum(least - num, 1)
    if growth is not None:
      more = jnp.maximum(more, num // growth)
    # Whole batches, so that each look is at the end of one.
    num += -(-more // size) * size
    return jnp.minimum(-(-num // unit) * unit, most)

  def look(carry):
    state, num, good, begun = carry
    # One that is good, and waits for others under vmap, draws no more; and
    # earlier draws may be enough.
    enough = good | (~begun & (num >= least))
    until = jnp.where(enough, num, next_look(num))

    def step(carry):
      state, num = carry
      new = jnp.minimum(num + size, until) - num
      return add(state, num, new), num + new

    state, num = jax.lax.while_loop(lambda c: c[1] < until, step, (state, num))
    return state, num, met(state, num), jnp.asarray(True)

  def goes_on(carry):
    _, num, good, begun = carry
    return ~good & (~begun | (num < most))

  carry = state, num, jnp.asarray(False), jnp.asarray(False)
  state, num, good, _ = jax.lax.while_loop(goes_on, look, carry)
  return state, Draws(num, None if tolerance is None else good)


def standard_error(variance: Any, draws: Draws) -> Any:
  """Returns the standard error of a mean: see `sampling.standard_error`."""

  def error(v):
    degrees = jnp.maximum(draws.num - 1, 1).astype(v.dtype)
    return jnp.where(draws.num > 1, jnp.sqrt(v / degrees), jnp.inf)

  return jax.tree.map(error, variance)


def info_of(start: Any, kind: type) -> Any:
  """Returns what an earlier attribution says of its draws.

  Raises:
    ValueError: unless it is one of the same method.
  """
  if isinstance(start, kind):
    raise ValueError(
      f'start must be the whole attribution, got its info, {kind.__name__}: '
      'pass start=found, not start=found.info'
    )
  info = getattr(start, 'info', None)
  if not isinstance(info, kind):
    raise ValueError(
      f'start must be an attribution with {kind.__name__}, as this method '
      f'returns it, got {type(start if info is None else info).__name__}'
    )
  return info


def same_players(earlier: Any, like: Any) -> None:
  """Raises `ValueError` unless an earlier map has the players of this one.

  Args:
    earlier: what the earlier map says of each player, an array.
    like: an array of the shape that it has to have.
  """
  if earlier.shape != like.shape:
    raise ValueError(
      f'start is of players {earlier.shape}, expected {like.shape}: go on with '
      'the same example and masker'
    )


def restored(
  mean: Any, stderr: Any, draws: Draws, scale: types.Scalar = 1
) -> Moments:
  """Returns the moments that a mean and its standard error came from.

  Args:
    mean: of the draws.
    stderr: standard error of the mean, infinite of one draw.
    draws: how many they are.
    scale: by which both were multiplied since.
  """
  degrees = jnp.maximum(draws.num - 1, 1)

  def variance(s):
    # One draw has no variance, and its standard error no bound.
    square = (s / jnp.asarray(scale, s.dtype)) ** 2 * degrees.astype(s.dtype)
    return jnp.where(draws.num > 1, square, 0)

  plain = lambda m: m / jnp.asarray(scale, m.dtype)
  return Moments(
    jax.tree.map(plain, examples.wide(mean)),
    jax.tree.map(variance, stderr),
    draws,
  )
