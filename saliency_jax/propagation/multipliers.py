"""Multipliers of one equation between two examples: the rules of DeepLIFT.

The values of an equation are known at an example and at a baseline; `d` is the
difference of the two. A rule turns multipliers `m` of the output `y` into
multipliers `m_i` of the inputs `x_i`, such that

    sum_i m_i dx_i = m dy,

so that those of a function's arguments are complete. What is linear has its
transpose. An input that moves alone has `m dy / dx` (rescale). Of several, each
has an effect `e_i`, with `sum_i e_i = dy`, and then `m_i = m e_i / dx_i`: the
mean of what changing it does before and after the others are changed; for a
product `a b` that is `(b + b0)/2 da`. A maximum is due to the entry that wins
where it is larger, at the example or at the baseline: this cross rule gives a
window of a pool, a row that is reduced and a chain of pairs the same answer.

Truth values that depend on the example are numbers here, 0 and 1: a choice by
`x > 0` has an effect too, and hands it on to `x`.
"""

from collections.abc import Callable, Mapping, Sequence
import operator
from typing import Any, NamedTuple

from jax.extend import core
import jax.numpy as jnp
from jaxtyping import Array

from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.propagation import pools


class Values(NamedTuple):
  """The values of an equation at one example."""

  inputs: list[Any]
  outputs: list[Any]


# `(equation, values at x, values at the baseline, multipliers of the outputs)
# -> multipliers of the inputs`.
Rule = Callable[[primitives.Equation, Values, Values, list[Any]], list[Any]]


def between(
  tape: tapes.Tape, base: tapes.Tape, table: Mapping[str, Rule]
) -> tapes.Rule:
  """Returns the rule by which multipliers go back over two tapes.

  Args:
    tape: at the example.
    base: the same equations at the baseline.
    table: rules by the names of primitives and by roles.
  """

  def rule(equation, inputs, outputs, m):
    eqn, moving = equation
    # Whole numbers choose entries, and no entry lies between two others.
    choices = any(map(_is_whole, _where(moving, eqn.invars)))
    own = primitives.rule(
      {} if choices else table, equation, 'multipliers', primitives.UNROLL
    )
    start = Values(tapes.read(base, eqn.invars), tapes.read(base, eqn.outvars))
    return own(equation, Values(inputs, outputs), start, m)

  return rule


def linear(
  equation: primitives.Equation, x: Values, base: Values, m: list[Any]
) -> list[Any]:
  """Applies the transpose."""
  del base
  equation, inputs = _as_floats(equation, x.inputs, m[0].dtype)
  return tapes.vjp(equation, inputs, x.outputs, m)


def product(
  equation: primitives.Equation, x: Values, base: Values, m: list[Any]
) -> list[Any]:
  """Takes `(b + b0)/2` for `a` in a product of any kind, and the reverse."""
  return tapes.vjp(equation, middle(equation, x, base), x.outputs, m)


def quotient(
  equation: primitives.Equation, x: Values, base: Values, m: list[Any]
) -> list[Any]:
  """Takes `(1/b + 1/b0)/2` for `a` in `a / b`, `-(a + a0) / (2 b b0)` for b."""
  del equation
  ((a, b), (a0, b0)), (m,) = (x.inputs, base.inputs), m
  above, below = m * (1 / b + 1 / b0) / 2, -m * ((a + a0) / 2) / b / b0
  return [_summed(above, a.shape), _summed(below, b.shape)]


def smooth(
  equation: primitives.Equation, x: Values, base: Values, m: list[Any]
) -> list[Any]:
  """Takes `dy / dx`, and the derivative halfway where `x` hardly moves.

  There the quotient would be rounding: below 1e-6 of the values, or in narrow
  floats below the root of their precision.
  """
  return _elementwise(equation, x, base, m, least_step)


def steps(
  equation: primitives.Equation, x: Values, base: Values, m: list[Any]
) -> list[Any]:
  """Takes `dy / dx` however small `dx` is, for what may jump or bend there."""
  return _elementwise(equation, x, base, m, lambda a, a0: 0)


def extreme(
  equation: primitives.Equation, x: Values, base: Values, m: list[Any]
) -> list[Any]:
  """Gives a maximum, or minimum, to the entry that wins at the further end."""
  eqn, moving = equation
  (y,), (y0,), (m,) = x.outputs, base.outputs, m
  ahead = y >= y0 if 'max' in eqn.primitive.name else y <= y0

  def winners(m):
    # Of several that tie, as all do in a window of a black image, the first.
    here = pools.first(equation, x.inputs, x.outputs, [jnp.where(ahead, m, 0)])
    there = pools.first(
      equation, base.inputs, base.outputs, [jnp.where(ahead, 0, m)]
    )
    return map(operator.add, _where(moving, here), _where(moving, there))

  slopes = list(winners(m))
  if eqn.primitive.name in ('max', 'min'):  # Entry by entry.
    effects = [slope * (y - y0) for slope in slopes]
  else:
    effects = winners(m * (y - y0))
  # An entry that wins moves by `dy` or more, in floats too.
  dxs = map(jnp.subtract, _where(moving, x.inputs), _where(moving, base.inputs))
  return _back(moving, map(divided, effects, dxs, slopes))


def select(
  equation: primitives.Equation, x: Values, base: Values, m: list[Any]
) -> list[Any]:
  """Gives what is chosen its multiplier, and the choice the effect of it."""
  eqn, moving = equation
  if not moving[0]:
    return linear(equation, x, base, m)
  which, *cases = x.inputs
  which0, *cases0 = base.inputs
  (y,), (y0,), (m,) = x.outputs, base.outputs, m
  (other,) = jaxprs.bind(eqn, which0, *cases)
  (other0,) = jaxprs.bind(eqn, which, *cases0)
  effect = ((y - other) + (other0 - y0)) / 2
  dx = which.astype(m.dtype) - which0.astype(m.dtype)
  chosen = divided(m * effect, dx, jnp.zeros_like(dx))
  if not any(moving[1:]):
    return [chosen, *(None for _ in cases)]
  choose = primitives.Equation(eqn, (False, *moving[1:]))
  halves = (
    tapes.vjp(choose, [w, *cases], x.outputs, [m / 2]) for w in (which, which0)
  )
  added = [None if a is None else a + b for a, b in zip(*halves, strict=True)]
  return [chosen, *added[1:]]


def convert(
  equation: primitives.Equation, x: Values, base: Values, m: list[Any]
) -> list[Any]:
  """Passes on what changes its type: of a number made a truth value, a step."""
  (v,) = equation.eqn.outvars
  rule = linear if primitives.is_float(v) else steps
  return rule(equation, x, base, m)


# Rescale at every equation that is not linear.
RESCALE: dict[str, Rule] = {
  primitives.MOVES: linear,
  primitives.SUMS: linear,
  primitives.PRODUCTS: product,
  primitives.QUOTIENTS: quotient,
  primitives.INCREASING: extreme,
  primitives.ELEMENTARY: smooth,
  primitives.STEPS: steps,
  'clamp': steps,
  'convert_element_type': convert,
  'select_n': select,
  # Its derivative is zero, but it has its input's values.
  'stop_gradient': lambda equation, x, base, m: m,
}


def rescale(
  tape: tapes.Tape,
  base: tapes.Tape,
  variables: Sequence[core.Var],
  *,
  table: Mapping[str, Rule] = RESCALE,
) -> list[Any]:
  """Returns what variables contribute to the difference of two scores.

  Args:
    tape: a score of an example.
    base: the same equations at a baseline.
    variables: of the tape.
    table: rules by the names of primitives and by roles; one's own go on top:
      `{**RESCALE, 'sort': rule}`.

  Raises:
    ValueError: for an equation without a rule.
  """
  outvars = tape.closed.jaxpr.outvars
  ends = zip(
    outvars, map(jnp.ones_like, tapes.read(tape, outvars)), strict=True
  )
  multipliers = tapes.walk(tape, ends, between(tape, base, table))
  ways = map(
    jnp.subtract, tapes.read(tape, variables), tapes.read(base, variables)
  )
  return [
    tapes.at(multipliers, v) * way
    for v, way in zip(variables, ways, strict=True)
  ]


def divided(
  effect: Array, way: Array, slope: Array, least: Array | int = 0
) -> Array:
  """Returns `effect / way`, and the slope where the way is not above `least`.

  Nor is it between two infinities: those of masked logits.
  """
  moves = jnp.abs(way) > least
  effect = _summed(effect, way.shape).astype(way.dtype)
  return jnp.where(moves, effect / jnp.where(moves, way, 1), slope)


def least_step(a: Array, a0: Array) -> Array:
  """Returns the change of a value below which its quotients are rounding."""
  relative = max(1e-6, float(jnp.finfo(a.dtype).eps) ** 0.5)
  return relative * jnp.maximum(jnp.abs(a), jnp.abs(a0))


def middle(equation: primitives.Equation, x: Values, base: Values) -> list[Any]:
  """Returns the inputs, halfway between the two examples where they move."""
  return [
    (a + a0) / 2 if moves else a
    for a, a0, moves in zip(x.inputs, base.inputs, equation.moving, strict=True)
  ]


def number(a: Any, dtype: Any) -> Any:
  """Returns truth values as numbers of a dtype, and numbers as they are."""
  return a.astype(dtype) if a.dtype == bool else a


def _elementwise(equation, x, base, m, least):
  """Takes `m e_i / dx_i` for each of one or two inputs that move."""
  eqn, moving = equation
  (m,) = m
  slopes = [jnp.zeros((), m.dtype)] * len(moving)
  if all(map(primitives.is_float, [*eqn.outvars, *_where(moving, eqn.invars)])):
    slopes = tapes.vjp(equation, middle(equation, x, base), x.outputs, [m])
  given = []
  for i, effect in _effects(equation, x, base, m.dtype).items():
    a, a0 = (number(v.inputs[i], m.dtype) for v in (x, base))
    given.append(divided(m * effect, a - a0, slopes[i], least(a, a0)))
  return _back(moving, given)


def _effects(equation, x, base, dtype):
  """Returns what each input that moves does to the output, by its place."""
  eqn, moving = equation
  places = [i for i, moves in enumerate(moving) if moves]
  if len(places) > 2:
    primitives.rule({}, equation, 'multipliers of three inputs')
  y, y0 = (number(v.outputs[0], dtype) for v in (x, base))
  if len(places) == 1:
    return {places[0]: y - y0}
  i, j = places

  def mixed(first, second):
    args = list(first.inputs)
    args[j] = second.inputs[j]
    return number(jaxprs.bind(eqn, *args)[0], dtype)

  y10, y01 = mixed(x, base), mixed(base, x)
  return {i: ((y - y01) + (y10 - y0)) / 2, j: ((y - y10) + (y01 - y0)) / 2}


def _summed(a, shape):
  """Sums over the entries of an output that one entry of an input made."""
  if not shape:
    return jnp.sum(a)
  axes = [i for i, n in enumerate(shape) if n != a.shape[i]]
  return jnp.sum(a, axes, keepdims=True)


def _as_floats(equation, inputs, dtype):
  """Returns an equation that moves truth values as one that moves floats."""
  eqn, moving = equation
  if all(map(primitives.is_float, _where(moving, eqn.invars))):
    return equation, inputs
  data = range(len(inputs))[primitives.facts(eqn).data]
  inputs = [number(a, dtype) if i in data else a for i, a in enumerate(inputs)]
  retype = lambda v: core.Var(v.aval.update(dtype=dtype))
  eqn = eqn.replace(
    invars=[retype(v) if i in data else v for i, v in enumerate(eqn.invars)],
    outvars=[retype(v) for v in eqn.outvars],
  )
  return primitives.Equation(eqn, moving), inputs


def _is_whole(v):
  return jnp.issubdtype(v.aval.dtype, jnp.integer)


def _where(moving, values):
  """Returns those of an equation's inputs that move."""
  return [v for v, moves in zip(values, moving, strict=True) if moves]


def _back(moving, given):
  """Returns what the inputs that move are given, and `None` for others."""
  given = iter(given)
  return [next(given) if moves else None for moves in moving]
