"""Interval bounds of a function over a box, read off its jaxpr.

    low <= fn(x) <= high   for all   x_low <= x <= x_high

Each equation maps intervals to one that holds all its values, by the table
`interval_rules.RULES`: linear ones by `A m -+ |A| r` from middles and radii,
increasing ones by their ends. What follows the last equations that are not
affine is bounded again as one function `F` with the Jacobian `J`, by
`F(m) -+ |J| r`: an affine function has its exact range, and a difference of two
logits is no wider than it is.

Bounds are rounded outward. They hold in real arithmetic, and for `fn` in
floating point with sums in any order and full-precision products: rounding a
sum of `n` terms moves it by at most `n eps / 2` times the sum of their sizes,
and elementary functions are taken to be right to 8 units in the last place.

References:
  Gowal et al., On the effectiveness of interval bound propagation for training
  verifiably robust models, 2018. https://arxiv.org/abs/1810.12715
  Higham, Accuracy and stability of numerical algorithms, 2002, section 3.1.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.extend import core
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.core import interval_rules
from saliency_jax.core import interval_sums
from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import regions
from saliency_jax.core import rounding
from saliency_jax.core import tapes

Interval = rounding.Interval

_HIGHEST = jax.lax.Precision.HIGHEST


def bounds(
  fn: Callable[[Float[Array, '...']], Float[Array, '...']], box: Interval
) -> Interval:
  """Returns bounds of every output of `fn` over a box of inputs.

  Args:
    fn: one array in, one out: of dense layers, convolutions, pools, the usual
      activations and norms, comparisons, sums and products.
    box: the inputs, `low <= high`.

  Raises:
    ValueError: for a primitive that has no rule, by its name and place.
  """
  tape = record(fn, box)
  if len(tape.closed.jaxpr.outvars) != 1:
    raise ValueError(
      f'expected one output, got {len(tape.closed.jaxpr.outvars)}'
    )
  (v,) = tape.closed.jaxpr.outvars
  if v not in tape.moving:
    (value,) = tapes.read(tape, [v])
    return Interval(value, value)
  own, tail = tape.values[v], _tail(tape, v)
  # Infinite ends have no middle: they make the tail NaN.
  return Interval(jnp.fmax(own.low, tail.low), jnp.fmin(own.high, tail.high))


def record(
  fn: Callable[[Float[Array, '...']], Any],
  box: Interval,
  rules: Mapping[str, Any] = interval_rules.RULES,
) -> tapes.Tape:
  """Bounds every value in a function over a box of inputs.

  Args:
    fn: one array in.
    box: the inputs, `low <= high`.
    rules: by the names of primitives and by roles, `(equation, *intervals) ->
      interval`, or a list of them.

  Returns:
    The tape, whose values are intervals where they move.
  """

  def rule(eqn, *args):
    moving = tuple(isinstance(a, Interval) for a in args)
    if not any(moving):
      return interval_sums.precise(eqn, *args)
    equation = primitives.Equation(eqn, moving)
    bound = primitives.rule(rules, equation, 'interval bounds')
    boxes = (a if isinstance(a, Interval) else Interval(a, a) for a in args)
    out = bound(equation, *boxes)
    return [out] if isinstance(out, Interval) else out

  closed, shape = jax.make_jaxpr(fn, return_shape=True)(box.low)
  closed = jaxprs.inline(closed)
  values = jaxprs.environment(closed, box, rule=rule)
  moving = {v for v, value in values.items() if isinstance(value, Interval)}
  trees = (jax.tree.structure(tree) for tree in ((box.low,), shape))
  return tapes.Tape(closed, values, moving, *trees)


def _tail(tape: tapes.Tape, v: core.Var) -> Interval:
  """Bounds a value as an affine function of what it is affine in."""
  region = regions.region(tape, v)
  constants = [tape.values[c] for c in region.constants]

  def value(points, rule):
    return jaxprs.evaluate(region.closed, *points, *constants, rule=rule)[0]

  middle, radius = zip(
    *(rounding.split(tape.values[b]) for b in region.basis), strict=True
  )
  centre, pullback = jax.vjp(lambda m: value(m, interval_sums.precise), middle)
  rows = jnp.eye(centre.size, dtype=centre.dtype).reshape(-1, *centre.shape)
  (jacobian,) = jax.vmap(pullback)(rows)
  spread = sum(
    jnp.matmul(
      jnp.abs(j).reshape(centre.size, -1), r.ravel(), precision=_HIGHEST
    )
    for j, r in zip(jacobian, radius, strict=True)
  ).reshape(centre.shape)
  sizes = [jnp.abs(m) + r for m, r in zip(middle, radius, strict=True)]
  size = value(sizes, interval_sums.sizes)
  # Sums on the way, ours and of `fn`; sums of the Jacobian, each of which
  # runs over at most the outputs; and the last one, over the basis.
  num_terms = sum(r.size for r in radius) + sum(
    2 * primitives.facts(e).num_terms(e) + max(v.aval.size for v in e.outvars)
    for e in region.closed.jaxpr.eqns
  )
  return rounding.widened(centre - spread, centre + spread, num_terms, size)


def around(x: Float[Array, '...'], widths: Any) -> Interval:
  """Returns the interval that holds `[x - widths, x + widths]`."""
  return rounding.rounded(Interval(x - widths, x + widths), 2)
