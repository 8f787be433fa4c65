"""The least margin over a box about an example: how to bound it from below.

A bound reads the margins once. It then says, in float64 and within
`wide.precision()`, which number no margin falls below on `[x - w, x + w]`, and
what a width costs:

    reader = box_bounds.crown(fn, x)
    with wide.precision():
      low, price = reader.read(widths, reader.start(widths))

It holds in exact arithmetic: see `core.linear_bounds`.

References:
  Gowal et al., On the effectiveness of interval bound propagation for training
  verifiably robust models, 2018. https://arxiv.org/abs/1810.12715
  Zhang, Weng, Chen, Hsieh and Daniel, Efficient neural network robustness
  certification with general activation functions, 2018.
  https://arxiv.org/abs/1811.00866
  Xu et al., Fast and complete: enabling complete neural network verification
  with rapid and massively parallel incomplete verifiers, 2021.
  https://arxiv.org/abs/2011.13824
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import optax
from typing_extensions import TypeAliasType

from saliency_jax.core import intervals
from saliency_jax.core import linear_bounds
from saliency_jax.core import types


class Least(NamedTuple):
  """What a bound says of a box.

  Attributes:
    low: no margin is smaller.
    price: by how much each width, made a little larger, lowers that; at least
      zero.
  """

  low: Float[Array, '']
  price: Float[Array, '...']


class Reader(NamedTuple):
  """A bound of one example's margins.

  Attributes:
    read: from widths and what was learned to `Least`.
    start: from widths to what is known at first.
    learn: from widths and what was learned to what is better there.
  """

  read: Callable[[Array, Any], Least]
  start: Callable[[Array], Any] = lambda widths: ()
  learn: Callable[[Array, Any], Any] = lambda widths, learned: learned


Bound = TypeAliasType(
  'Bound', Callable[[types.MarginsFn, types.Example], Reader]
)


def interval(fn: types.MarginsFn, x: Float[Array, '...']) -> Reader:
  """Bounds margins by the intervals of all values: quick, and loose.

  Raises:
    ValueError: for a primitive that the bounds do not know, by its name.
  """
  traced = linear_bounds.trace(fn, x)

  def low(widths):
    tape = linear_bounds.record(traced, _about(x, widths))
    return jnp.min(intervals.output(tape).low)

  def read(widths, learned):
    del learned
    value, slope = jax.value_and_grad(low)(widths)
    return Least(value, jnp.maximum(-slope, 0))

  return Reader(read)


def crown(
  fn: types.MarginsFn, x: Float[Array, '...'], *, tighten: int = 0
) -> Reader:
  """Bounds margins by linear functions of the input, CROWN.

  Args:
    fn: the margins.
    x: the example.
    tighten: what goes into an activation gets linear bounds of its own, if it
      has at most so many entries; all else gets intervals.

  Raises:
    ValueError: for a primitive that the bounds do not know, by its name.
  """
  traced = linear_bounds.trace(fn, x)

  def read(widths, learned):
    del learned
    box = _about(x, widths)
    tape = linear_bounds.record(traced, box, tighten=tighten)
    return _least(traced, tape, box, {})

  return Reader(read)


def alpha_crown(
  fn: types.MarginsFn,
  x: Float[Array, '...'],
  *,
  tighten: int = 0,
  optimizer: optax.GradientTransformation | None = None,
  num_steps: int = 20,
) -> Reader:
  """Bounds margins as `crown`, and learns the slopes of the activations.

  Args:
    fn: the margins.
    x: the example.
    tighten: see `crown`.
    optimizer: `None` takes Adam's steps of .1; slopes go from 0 to 1.
    num_steps: of one learning.

  Raises:
    ValueError: for a primitive that the bounds do not know, by its name.
  """
  traced = linear_bounds.trace(fn, x)
  optimizer = optax.adam(0.1) if optimizer is None else optimizer

  def taped(widths):
    box = _about(x, widths)
    return linear_bounds.record(traced, box, tighten=tighten), box

  def chosen(tape):
    return linear_bounds.choices(traced, tape)

  def read(widths, learned):
    tape, box = taped(widths)
    mixes = dict(zip(chosen(tape), learned, strict=True))
    return _least(traced, tape, box, mixes)

  def learn(widths, learned):
    tape, box = taped(widths)
    names = list(chosen(tape))

    def loss(learned):
      mixes = dict(zip(names, learned, strict=True))
      return -_least(traced, tape, box, mixes).low

    def step(carry, _):
      learned, state, best, least = carry
      value, slope = jax.value_and_grad(loss)(learned)
      better = value < least
      best = jax.tree.map(lambda a, b: jnp.where(better, a, b), learned, best)
      updates, state = optimizer.update(slope, state, learned)
      moved = optax.apply_updates(learned, updates)
      moved = jax.tree.map(lambda a: jnp.clip(a, 0, 1), moved)
      return (moved, state, best, jnp.minimum(value, least)), None

    # optax mixes integers, float32 and the slopes' type in its counters.
    with jax.numpy_dtype_promotion('standard'):
      carry = learned, optimizer.init(learned), learned, jnp.inf
      carry, _ = jax.lax.scan(step, carry, None, length=num_steps)
    return carry[2]

  def start(widths):
    tape, _ = taped(widths)
    return list(chosen(tape).values())

  return Reader(read, start, learn)


def _least(traced, tape, box, mixes):
  own = intervals.output(tape).low
  found = linear_bounds.below(
    traced, tape, linear_bounds.identity(own.shape), mixes=mixes
  )
  lows = jnp.fmax(linear_bounds.least(found, box), own)
  low = jnp.min(lows)
  # The price of the least margin; of several, of all of them.
  share = (lows == low).astype(lows.dtype)
  share /= jnp.maximum(jnp.sum(share), 1)
  price = jnp.tensordot(share, jnp.abs(found.slope), 1)
  return Least(low, price)


def _about(x, widths):
  return intervals.around(jnp.asarray(x).astype(widths.dtype), widths)
