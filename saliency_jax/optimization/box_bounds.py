"""The least margin over a box about an example: how to bound it from below.

A bound reads the margins once. It then says, in float64 and within
`wide.precision()`, which number no margin falls below on `[x - w, x + w]`:

    reader = box_bounds.crown(fn, x)
    with wide.precision():
      low, _ = reader.low(widths, reader.start(widths))

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
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import optax
from typing_extensions import TypeAliasType

from saliency_jax.core import intervals
from saliency_jax.core import linear_bounds
from saliency_jax.core import types


class Reader(NamedTuple):
  """A bound of one example's margins.

  Attributes:
    low: from widths and what was learned to a number that no margin is below,
      and what `prices` reads of it.
    prices: from widths and the latter to what widths cost, by one or more
      accounts: the first lowers `low` as widths grow, the others are as large
      in all.
    start: from widths to what is known at first.
    learn: from widths and what was learned to what is better there.
  """

  low: Callable[[Array, Any], tuple[Float[Array, ''], Any]]
  prices: Callable[[Array, Any], Float[Array, 'p ...']]
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

  def low(widths, learned):
    del learned
    return _of_intervals(traced, x, widths), ()

  def prices(widths, known):
    del known
    return _slope_of_intervals(traced, x, widths)[None]

  return Reader(low, prices)


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

  def low(widths, learned):
    del learned
    box = _about(x, widths)
    tape = linear_bounds.record(traced, box, tighten=tighten)
    return _least(traced, tape, box, {})

  return Reader(low, functools.partial(_prices, traced, x))


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

  def start(widths):
    tape, _ = taped(widths)
    return list(linear_bounds.choices(traced, tape).values())

  def low(widths, learned):
    tape, box = taped(widths)
    names = linear_bounds.choices(traced, tape)
    mixes = dict(zip(names, learned, strict=True))
    # Slopes that were learned elsewhere may be worse than those chosen here.
    (a, slope_a), (b, slope_b) = (
      _least(traced, tape, box, m) for m in ({}, mixes)
    )
    return jnp.fmax(a, b), jnp.where(a > b, slope_a, slope_b)

  def learn(widths, learned):
    tape, box = taped(widths)
    chosen = linear_bounds.choices(traced, tape)

    def loss(slopes):
      mixes = dict(zip(chosen, slopes, strict=True))
      return -_least(traced, tape, box, mixes)[0]

    def better(a, b):
      """Returns the better slopes of two, each with its loss."""
      return jax.tree.map(lambda u, v: jnp.where(a[1] < b[1], u, v), a, b)

    def step(carry, _):
      slopes, state, best = carry
      value, gradient = jax.value_and_grad(loss)(slopes)
      best = better((slopes, value), best)
      updates, state = optimizer.update(gradient, state, slopes)
      slopes = optax.apply_updates(slopes, updates)
      slopes = jax.tree.map(lambda a: jnp.clip(a, 0, 1), slopes)
      return (slopes, state, best), None

    first = list(chosen.values())
    # optax mixes integers, float32 and the slopes' type in its counters.
    with jax.numpy_dtype_promotion('standard'):
      best = learned, loss(learned)
      carry = first, optimizer.init(first), best
      (_, _, best), _ = jax.lax.scan(step, carry, None, length=num_steps)
    return best[0]

  return Reader(low, functools.partial(_prices, traced, x), start, learn)


def _least(traced, tape, box, mixes):
  """Returns the least margin's bound, and the sizes of its slopes."""
  own = intervals.output(tape).low
  rows = linear_bounds.identity(own.shape)
  found = linear_bounds.below(traced, tape, rows, mixes=mixes)
  lows = jnp.fmax(linear_bounds.least(found, box), own)
  low = jnp.min(lows)
  # Of several that are least, the mean.
  share = (lows == low).astype(lows.dtype)
  share /= jnp.maximum(jnp.sum(share), 1)
  return low, jnp.tensordot(share, jnp.abs(found.slope), 1)


def _prices(traced, x, widths, slope):
  """Returns prices by a linear bound, and by intervals as well and alone.

  The linear bound's slope does not tell what wider intervals do to the
  relaxations, which in a deep network is most of what a width costs; that of
  intervals does, too much.
  """
  other = _slope_of_intervals(traced, x, widths)
  total, others = (jnp.sum(p * widths) for p in (slope, other))
  other = other * jnp.where(others > 0, total / others, 0)
  return jnp.stack([slope, slope / 2 + other / 2, other])


def _of_intervals(traced, x, widths):
  tape = linear_bounds.record(traced, _about(x, widths))
  return jnp.min(intervals.output(tape).low)


def _slope_of_intervals(traced, x, widths):
  slope = jax.grad(lambda w: _of_intervals(traced, x, w))(widths)
  return jnp.maximum(-slope, 0)


def _about(x, widths):
  return intervals.around(jnp.asarray(x).astype(widths.dtype), widths)
