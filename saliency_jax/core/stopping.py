"""Means of draws until they are good enough, and further ones of earlier means.

A method that averages draws takes `tolerance`: it stops at the first batch
after which its largest standard error is no more, at `num_samples` otherwise.
Stopping early makes errors a little larger than they are said to be, since a
spread that came out small stops first. It also takes `start`, an attribution of
its own with the same key and settings, and draws what is missing from it: draw
`i` is the same in any run, and `n` draws and `m` more are the first `n + m`.
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
_LEAST = 16


class Draws(NamedTuple):
  """How many draws a mean is of.

  Attributes:
    num: draws, those of an earlier result included.
    met: whether there was a tolerance, and the largest standard error is within
      it.
  """

  num: Int[Array, '']
  met: Bool[Array, '']


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


@host.own_errors()
def moments(
  f: Callable[[Int[Array, '']], Any],
  num_samples: int,
  *,
  batch_size: int | None = None,
  tolerance: types.Scalar | None = None,
  start: Moments | None = None,
  watched: Callable[[Any], Any] = lambda variance: variance,
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
    watched: the variances whose standard errors count, in the units of the
      tolerance.

  Raises:
    ValueError: for a tolerance that is not positive.
  """
  checks.count('num_samples', num_samples)
  if tolerance is None and start is None:
    mean, variance = sampling.batched_moments(
      f, jnp.arange(num_samples), batch_size=batch_size
    )
    num = jnp.asarray(num_samples, jnp.int32)
    return Moments(mean, variance, Draws(num, jnp.asarray(False)))
  if tolerance is not None:
    checks.within('tolerance', tolerance, '(0, inf)')
  size = min(batch_size or num_samples, num_samples)
  size = math.ceil(num_samples / math.ceil(num_samples / size))

  def finished(mean, sum_sq, num):
    count = jnp.maximum(num, 1)
    variance = jax.tree.map(lambda s: s / count.astype(s.dtype), sum_sq)
    if tolerance is None:
      return Moments(mean, variance, Draws(num, jnp.asarray(False)))
    leaves = jax.tree.leaves(watched(variance))
    largest = jnp.max(jnp.stack([jnp.max(leaf) for leaf in leaves]))
    degrees = jnp.maximum(num - 1, 1).astype(largest.dtype)
    within = largest <= degrees * jnp.asarray(tolerance, largest.dtype) ** 2
    met = within & (num >= min(_LEAST, num_samples))
    return Moments(mean, variance, Draws(num, met))

  def more(sums):
    return (sums[2] < num_samples) & ~finished(*sums).draws.met

  def add(sums):
    mean, sum_sq, num = sums
    new = jnp.minimum(num + size, num_samples) - num
    # Behind the last draw it stands again, and is not counted.
    rows = jnp.minimum(num + jnp.arange(size), num_samples - 1)
    ys = jax.vmap(f)(rows)
    return (*sampling.merged(mean, sum_sq, ys, num, new), num + new)

  if start is None:
    zeros = sampling.nothing(f, jnp.asarray(0, jnp.int32))
    sums = (zeros, zeros, jnp.asarray(0, jnp.int32))
  else:
    num = jnp.asarray(start.draws.num, jnp.int32)
    times = lambda v: v * num.astype(v.dtype)
    sums = (start.mean, jax.tree.map(times, start.variance), num)
  return finished(*jax.lax.while_loop(more, add, sums))


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
  info = getattr(start, 'info', None)
  if not isinstance(info, kind):
    raise ValueError(
      f'start must be an attribution with {kind.__name__}, as this method '
      f'returns it, got {type(start if info is None else info).__name__}'
    )
  return info


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
