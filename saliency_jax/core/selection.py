"""How many a share of some entries are, and the k-th smallest without a sort.

The bits of floats that are not negative are ordered as the floats are, so the
number is found among the integers, with a count of the entries below each that
is tried. Sorting the 150,528 entries of a photo takes many times as long on a
CPU, and longer than a gradient there.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.core import serial
from saliency_jax.core import types


def count(share: types.Scalar | np.floating, n: int) -> types.Scalar:
  """Returns `ceil(share n)`, how many of `n` entries a share of them is.

  A product that is whole but for rounding is whole: .2 of 785 are 157, though
  `.2 * 785` is 157.00000000000003.

  Args:
    share: in [0, 1], as exact as its dtype; a traced one gives a traced count.
    n: number of entries.
  """
  kind = getattr(share, 'dtype', np.float64)
  if not jnp.issubdtype(kind, jnp.floating):
    kind = np.float32
  whole = 1 - 4 * float(jnp.finfo(kind).eps)
  if isinstance(share, jax.core.Tracer):
    product = share.astype(np.promote_types(kind, np.float32)) * n
    return jnp.ceil(product * whole).astype(jnp.int32)
  return math.ceil(float(share) * n * whole)


def kth_smallest(
  values: Float[Array, '...'], k: types.Scalar
) -> Float[Array, '']:
  """Returns the `k`-th smallest entry, exactly; 0 for a `k` of 0.

  Args:
    values: at least zero, without NaN; of 16, 32 or 64 bits.
    k: from 1 to the number of entries; it may be traced.
  """
  integer = jnp.dtype(f'int{8 * values.dtype.itemsize}')
  bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(values), integer)
  found = _kth(bits.ravel(), jnp.asarray(k, jnp.int32))
  return jax.lax.bitcast_convert_type(found, values.dtype)


def kth_of_each(
  values: Float[Array, 'q ...'], k: types.Scalar
) -> Float[Array, '...']:
  """Returns of each place the `k`-th smallest of its values, exactly.

  Args:
    values: along the first axis, without NaN; of 16, 32 or 64 bits.
    k: from 1 to the number of values; it may be traced.
  """
  integer = jnp.dtype(f'int{8 * values.dtype.itemsize}')
  info = jnp.iinfo(integer)
  # The other bits of negative floats are ordered the other way round.
  turned = lambda b: jnp.where(b < 0, b ^ info.max, b)
  bits = turned(jax.lax.bitcast_convert_type(values, integer))
  ends = tuple(
    jnp.full(values.shape[1:], end, integer) for end in (info.min, info.max)
  )
  found = _halved(bits, k, ends)
  return jax.lax.bitcast_convert_type(turned(found), values.dtype)


# Steps of the search that go where a line through the counts says, before the
# interval is halved.
_INTERPOLATED = 16


@serial.in_turn
def _kth(bits, k):
  """Returns the `k`-th smallest of some integers; 0 for a `k` of 0.

  It is above `low`, which `below` entries do not exceed, and at most `high`.
  Between them the count is taken for a line, as in the Illinois form of the
  rule of false position: the miss of an end that stays twice is halved. About
  14 counts are enough for the gradients of a photo, where halving takes 32.
  """
  real = jnp.float64 if bits.dtype.itemsize == 8 else jnp.float32
  miss = lambda count: (count - k).astype(real) + 0.5

  def more(state):
    _, low, high, below, *_ = state
    return (below < k - 1) & (high - low > 1)

  def narrow(state):
    step, low, high, below, miss_low, miss_high, last = state
    share = miss_low / (miss_low - miss_high)
    guess = low + (share * (high - low).astype(real)).astype(low.dtype)
    middle = low + (high - low) // 2
    middle = jnp.where(step < _INTERPOLATED, guess, middle)
    middle = jnp.clip(middle, low + 1, high - 1)
    count = jnp.sum(bits <= middle, dtype=jnp.int32)
    enough = count >= k
    side = enough.astype(jnp.int32)
    stale = jnp.where(side == last, 0.5, 1).astype(real)
    return (
      step + 1,
      jnp.where(enough, low, middle),
      jnp.where(enough, middle, high),
      jnp.where(enough, below, count),
      jnp.where(enough, miss_low * stale, miss(count)),
      jnp.where(enough, miss(count), miss_high * stale),
      side,
    )

  zero = jnp.zeros((), jnp.int32)
  ends = jnp.min(bits) - 1, jnp.max(bits)
  misses = miss(zero), miss(zero + bits.size)
  begin = (zero, *ends, zero, *misses, zero - 1)
  _, low, *_ = jax.lax.while_loop(more, narrow, begin)
  largest = jnp.iinfo(bits.dtype).max
  above = jnp.min(jnp.where(bits > low, bits, largest))
  return jnp.where(k > 0, above, 0)


def _halved(bits, k, ends):
  """Returns the `k`-th smallest along the first axis, between two ends."""
  k = jnp.asarray(k, jnp.int32)

  def halve(ends, _):
    low, high = ends
    middle = (low & high) + ((low ^ high) >> 1)  # Their mean, rounded down.
    enough = jnp.sum(bits <= middle[None], 0, dtype=jnp.int32) >= k
    return (
      jnp.where(enough, low, middle + 1),
      jnp.where(enough, middle, high),
    ), None

  width = 8 * bits.dtype.itemsize
  (_, high), _ = jax.lax.scan(halve, ends, None, length=width)
  return high
