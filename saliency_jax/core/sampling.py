"""Draws, and averages over many of them with a bounded number in memory.

Draw `i` of a method comes from `draw_key(key, i)`, and never from its place in
a batch or on a mesh: the same key gives the same map however it is computed.
What a key is for beside its draws has a place in the table below: `key_for`.
"""

from collections.abc import Callable
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import host
from saliency_jax.core import types

# The places of a key that are not draws: `key_for(key, BASELINE)`.
#
# At the start, where draws are counted from the next number on:
METHOD = 0  # A method that a metric calls again, with one key for all its maps.
NETWORK = 1  # Parameters that a metric makes random.
# Behind the draws: `key_for(key, EIGENVECTORS, num_draws)`.
EIGENVECTORS = 0  # The first direction of Lanczos's method.
INSPECTION = 0  # The first of the draws by which a box is judged.
ATTACK = 0  # An attack on the mean of the draws.
# At the end, which no number of draws reaches:
AUGMENTATION = 2**32 - 8  # Of an example of training: how it is changed.
HELD_OUT = 2**32 - 7  # Draws by which maps of other draws are judged.
SCALE = 2**32 - 6  # Draws by which the scale of the others is found.
LAYER = 2**32 - 5  # The order in which sets of one size are drawn.
SIZE = 2**32 - 4  # Of a draw's own key: how many players a coalition has.
NEIGHBOUR = 2**32 - 3  # Of a draw's own key: a method at a neighbour.
BOOTSTRAP = 2**32 - 2  # Multipliers of the terms that were averaged.
BASELINE = 2**32 - 1  # A baseline that draws.


def draw_key(key: Any, i: Int[Array, ''] | int) -> Key[Array, '']:
  """Returns the key of draw `i`.

  Raises:
    ValueError: if `key` is missing, or is not a threefry key. Other generators
      draw other numbers under `vmap` than in a loop.
  """
  remedy = (
    'pass key=jax.random.key(seed), and to a program of explainer.build '
    'keys=jax.random.split(key, n)'
  )
  if key is None:
    raise ValueError(f'this method draws: {remedy}')
  dtype = getattr(key, 'dtype', None)
  if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
    got = repr(key) if dtype is None else f'an array of {dtype}'
    raise ValueError(f'expected a key of jax.random, got {got}: {remedy}')
  if key.ndim:
    raise ValueError(
      f'expected one key, got {key.shape}: one an example goes to a program of '
      'explainer.build, or through jax.vmap'
    )
  if jax.random.key_impl(key) != 'threefry2x32':
    raise ValueError(
      f'got a key of {jax.random.key_impl(key)!r}: only threefry keys draw the '
      'same under vmap as in a loop; use jax.random.key(seed)'
    )
  return jax.random.fold_in(key, i)


def key_for(
  key: Any, place: Int[Array, ''] | int, num_draws: Int[Array, ''] | int = 0
) -> Key[Array, '']:
  """Returns the key of a place that is not a draw.

  Args:
    key: of the method.
    place: one of the table above.
    num_draws: draws before it, for a place that is counted from their end.

  Raises:
    ValueError: as `draw_key`.
  """
  return draw_key(key, num_draws + place)


def normal(key: Key[Array, ''], like: types.Example) -> types.Example:
  """Draws standard normals shaped and typed as `like`."""
  return _drawn(jax.random.normal, key, like)


def laplace(key: Key[Array, ''], like: types.Example) -> types.Example:
  """Draws Laplace noise of deviation 1, shaped and typed as `like`."""
  drawn = _drawn(jax.random.laplace, key, like)
  return jax.tree.map(lambda a: a / math.sqrt(2), drawn)


def uniform(
  key: Key[Array, ''],
  like: types.Example,
  *,
  low: float | int = 0,
  high: float | int = 1,
) -> types.Example:
  """Draws from `[low, high)`, shaped and typed as `like`."""
  draw = functools.partial(jax.random.uniform, minval=low, maxval=high)
  return _drawn(draw, key, like)


def signs(key: Key[Array, ''], like: types.Example) -> types.Example:
  """Draws -1 or 1, shaped and typed as `like`."""
  return _drawn(jax.random.rademacher, key, like)


def _drawn(draw, key, like):
  """Applies `draw(key, shape, dtype)` to each leaf, with keys of their own."""
  leaves, treedef = jax.tree.flatten(like)
  keys = [key] if len(leaves) == 1 else list(jax.random.split(key, len(leaves)))
  # The partitionable layout throws half of its bits away: four times slower
  # for images, and to compile, and draws are made on one device at a time.
  with jax.threefry_partitionable(False):
    draws = [
      draw(k, leaf.shape, leaf.dtype)
      for k, leaf in zip(keys, leaves, strict=True)
    ]
  return jax.tree.unflatten(treedef, draws)


@host.own_errors()
def batched_map(
  f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None
) -> Any:
  """Returns `f` of each element of `xs`, stacked, some of them at a time.

  Args:
    f: maps one element of `xs` to a pytree of arrays.
    xs: pytree of arrays with a common leading axis of length `n`.
    batch_size: calls of `f` held in memory at once; `None` holds all `n`.
  """
  n = _length(xs)
  num, size = _split(n, batch_size)
  if num == 1:
    return jax.vmap(f)(xs)
  _, ys = jax.lax.scan(
    lambda carry, i: (carry, jax.vmap(f)(_take(xs, i, size))),
    None,
    jnp.arange(num),
  )
  return jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:])[:n], ys)


@host.own_errors()
def batched_moments(
  f: Callable[[Any], Any],
  xs: Any,
  *,
  batch_size: int | None = None,
  num: Int[Array, ''] | None = None,
) -> tuple[Any, Any]:
  """Returns the mean and the variance of `f` over the elements of `xs`.

  Batches are merged by the update of Chan et al. (1983), which does not
  subtract two large numbers, so the variance is safe in float32. `f` is traced
  once: the batches are of one size, the last one filled up with elements of
  weight zero.

  Args:
    f: maps one element of `xs` to a pytree of arrays.
    xs: pytree of arrays with a common leading axis of length `n`.
    batch_size: calls of `f` held in memory at once; `None` holds all `n`.
    num: how many of the elements count, from the first; `None` is all.

  Returns:
    The mean and the (biased) variance, each shaped as one output of `f`, in
    float32 at least: half precision would forget what each draw adds.
  """
  n = _length(xs)
  num_batches, size = _split(n, batch_size)
  if n == 1:  # Its own mean: nothing is to be traced for a shape, or merged.
    mean = examples.wide(f(_element(xs)))
    return mean, jax.tree.map(jnp.zeros_like, mean)

  def step(carry, i):
    start = i * size
    last = n if num is None else num.astype(start.dtype)
    stop = jnp.minimum(start + size, last)
    ys = jax.vmap(f)(_take(xs, i, size))
    return merged(*carry, ys, start, jnp.maximum(stop - start, 0)), None

  zeros = nothing(f, _element(xs))
  carry = (zeros, zeros)
  if num_batches == 1:
    carry, _ = step(carry, jnp.array(0))
  else:
    carry, _ = jax.lax.scan(step, carry, jnp.arange(num_batches))
  mean, sum_sq = carry
  count = lambda s: n if num is None else num.astype(s.dtype)
  return mean, jax.tree.map(lambda s: s / count(s), sum_sq)


def nothing(f: Callable[[Any], Any], x: Any) -> Any:
  """Returns zeros shaped as `f(x)`, in the dtype in which it is summed."""
  return jax.tree.map(
    lambda s: jnp.zeros(s.shape, examples.accumulator(s.dtype)),
    jax.eval_shape(f, x),
  )


def merged(
  means: Any,
  sum_sqs: Any,
  ys: Any,
  num_before: Int[Array, ''],
  num_new: Int[Array, ''],
) -> tuple[Any, Any]:
  """Merges a batch into the mean and the squares about it of earlier draws.

  Args:
    means: of the earlier draws.
    sum_sqs: sums of the squares of their distances from it.
    ys: the batch, `[size, ...]`; what is behind its first `num_new` is not
      counted.
    num_before: earlier draws, at least one where no draw is new.
    num_new: draws of the batch that count.
  """

  def merge(mean, sum_sq, ys):
    ys = ys.astype(mean.dtype)
    places = jnp.arange(len(ys), dtype=num_new.dtype)
    weight = (places < num_new).astype(ys.dtype)
    n_a, n_b = (jnp.asarray(n, ys.dtype) for n in (num_before, num_new))
    total = n_a + n_b
    # Sums over the leading axis as products: XLA's own reduction of that axis
    # takes ten times as long on CPUs, a tenth of the gradients themselves.
    sum_of = functools.partial(
      jnp.tensordot, weight, axes=1, precision=jax.lax.Precision.HIGHEST
    )
    batch_mean = sum_of(ys) / jnp.maximum(n_b, 1)
    batch_sum_sq = sum_of((ys - batch_mean[None]) ** 2)
    delta = batch_mean - mean
    return (
      mean + delta * (n_b / total),
      sum_sq + batch_sum_sq + delta**2 * (n_a * n_b / total),
    )

  both = jax.tree.map(merge, means, sum_sqs, ys)
  return jax.tree.transpose(
    jax.tree.structure(means), jax.tree.structure((0, 0)), both
  )


def batched_mean(
  f: Callable[[Any], Any],
  xs: Any,
  *,
  batch_size: int | None = None,
  num: Int[Array, ''] | None = None,
) -> Any:
  """Returns the mean of `f` over elements of `xs`: see `batched_moments`."""
  return batched_moments(f, xs, batch_size=batch_size, num=num)[0]


def over_neighbours(
  f: Callable[[types.Example, Key[Array, '']], Any],
  x: types.Example,
  *,
  key: Key[Array, ''] | None,
  sigma: types.Sigma,
  num_samples: int,
  batch_size: int | None = None,
  average: Callable[..., Any] | None = None,
  noise: Callable[[Key[Array, ''], types.Example], types.Example] = normal,
) -> Any:
  """Returns the mean and the variance of `f` over noisy neighbours of `x`.

  Neighbour `i` is `x + sigma z` with `z = noise(draw_key(key, i), x)`: all
  that average over neighbours see the same ones for the same key.

  Args:
    f: maps a neighbour, and a key of its own that the noise leaves over, to a
      pytree of arrays.
    x: the example, in the dtype in which its noise is drawn.
    key: consumed; required.
    sigma: standard deviation of the noise in units of `x`, or a function of
      `x` that returns it.
    num_samples: neighbours.
    batch_size: calls of `f` held in memory at once; `None` holds them all.
    average: `(f, num_samples, *, batch_size)` of the numbers of the draws, as
      `stopping.moments`; `None` is `batched_moments`.
    noise: draws `z`, of deviation 1, from a key and what it is shaped as.

  Returns:
    As `batched_moments`, or what `average` returns.

  Raises:
    ValueError: without a key, for `sigma <= 0` or fewer than one neighbour.
  """
  checks.count('num_samples', num_samples)
  sigma = sigma(x) if callable(sigma) else sigma
  checks.within('sigma', sigma, '(0, inf)')

  def at(i):
    draw = draw_key(key, i)
    own = key_for(draw, NEIGHBOUR)
    neighbour = jax.tree.map(
      lambda a, z: a + jnp.asarray(sigma, a.dtype) * z, x, noise(draw, x)
    )
    return f(neighbour, own)

  if average is not None:
    return average(at, num_samples, batch_size=batch_size)
  return batched_moments(at, jnp.arange(num_samples), batch_size=batch_size)


def standard_error(variance: Any, num_samples: int) -> Any:
  """Returns the standard error of a mean from the draws' biased variance.

  One draw says nothing of its own error: the standard error is then infinite.
  """
  if num_samples == 1:
    return jax.tree.map(lambda v: jnp.full_like(v, jnp.inf), variance)
  return jax.tree.map(lambda v: jnp.sqrt(v / (num_samples - 1)), variance)


def _length(xs):
  return jax.tree.leaves(xs)[0].shape[0]


def _element(xs):
  return jax.tree.map(lambda a: a[0], xs)


def _split(n, batch_size):
  """Returns the fewest batches, and the least size that they need."""
  checks.count('the number of elements', n)
  if batch_size is None:
    return 1, n
  checks.count('batch_size', batch_size)
  num = math.ceil(n / batch_size)
  return num, math.ceil(n / num)


def _take(xs, i, size):
  """Returns batch `i`; past the end the last element stands again."""
  rows = jnp.minimum(i * size + jnp.arange(size), _length(xs) - 1)
  return jax.tree.map(lambda a: a[rows], xs)
