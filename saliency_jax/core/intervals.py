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
  return output(record(fn, box))


def output(tape: tapes.Tape) -> Interval:
  """Returns bounds of the one output of equations, of their tape.

  Raises:
    ValueError: unless there is one.
  """
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

  closed, shape = jax.make_jaxpr(fn, return_shape=True)(box.low)
  trees = (jax.tree.structure(tree) for tree in ((box.low,), shape))
  found = tape(jaxprs.inline(closed), box, rules=rules)
  return found._replace(in_tree=next(trees), out_tree=next(trees))


def tape(
  closed: core.ClosedJaxpr,
  *inputs: Any,
  rules: Mapping[str, Any] = interval_rules.RULES,
  look: Callable[[tapes.Tape, primitives.Equation], None] | None = None,
) -> tapes.Tape:
  """Bounds every value that equations without calls make of some inputs.

  Args:
    closed: the equations.
    *inputs: intervals, or arrays that are constant.
    rules: see `record`.
    look: called before each equation that moves, with the tape so far, whose
      intervals it may replace by narrower ones.
  """
  values = {}
  moving = {
    v
    for v, a in zip(closed.jaxpr.invars, inputs, strict=True)
    if isinstance(a, Interval)
  }
  found = tapes.Tape(closed, values, moving, None, None)

  def rule(eqn, *args):
    equation = tapes.equation(found, eqn)
    if not any(equation.moving):
      return interval_sums.precise(eqn, *args)
    if look is not None:
      look(found, equation)
      args = tapes.read(found, eqn.invars)
    bound = primitives.rule(rules, equation, 'interval bounds')
    boxes = (a if isinstance(a, Interval) else Interval(a, a) for a in args)
    out = bound(equation, *boxes)
    moving.update(eqn.outvars)
    return [out] if isinstance(out, Interval) else out

  jaxprs.environment(closed, *inputs, rule=rule, env=values)
  return found


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
