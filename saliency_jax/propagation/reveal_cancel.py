"""RevealCancel: DeepLIFT that keeps apart what pushes a value up and down.

Every difference has two parts, `d = p + n`. A curve `y = g(x)` gives each part
its mean effect, before and after the other,

    p_y = (g(x0 + p) - g(x0) + g(x0 + n + p) - g(x0 + n)) / 2,

so that inputs which cancel each other before a ReLU are not overlooked. A
weighted sum gathers the terms that raise it in its `p`, the others in its `n`.
Scalings, shifts and moves keep the parts as they are: so a batch norm between a
convolution and its ReLU does not lose them. What else there is, products,
quotients and maxima of several, is rescaled as a whole. Curves are single
equations: ReLU, ReLU6, tanh, sigmoid; what several make is rescaled.

References:
  Shrikumar, Greenside, Kundaje, Learning important features through propagating
  activation differences, 2017, sections 3.4 and 3.5.3.
  https://arxiv.org/abs/1704.02685
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import core
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.propagation import multipliers

# With one operand that moves, they make each output of one entry.
_SCALINGS = ('add', 'add_any', 'div', 'mul', 'neg', 'sub')


class Parts(NamedTuple):
  """Of a difference, or the multipliers of its parts."""

  up: Any
  down: Any


def reveal_cancel(
  tape: tapes.Tape, base: tapes.Tape, variables: Sequence[core.Var]
) -> list[Any]:
  """Returns what variables contribute to the difference of two scores.

  Args:
    tape: a score of an example.
    base: the same equations at a baseline.
    variables: of the tape.

  Raises:
    ValueError: for an equation without a rule.
  """
  parts = {}
  outvars = tape.closed.jaxpr.outvars
  scores = [jnp.ones_like(score) for score in tapes.read(tape, outvars)]
  dtype = scores[0].dtype

  def ends(eqn):
    return tuple(
      multipliers.Values(tapes.read(t, eqn.invars), tapes.read(t, eqn.outvars))
      for t in (tape, base)
    )

  def difference(v):
    (a,), (a0,) = tapes.read(tape, [v]), tapes.read(base, [v])
    return multipliers.number(a, dtype) - multipliers.number(a0, dtype)

  def given(equation):
    """Returns the parts of an equation's inputs, `None` of constants."""
    keep = _keeps(equation)
    pairs = zip(equation.eqn.invars, equation.moving, strict=True)
    return [
      (parts[v] if keep else _split(difference(v))) if moves else None
      for v, moves in pairs
    ]

  def make(equation):
    x, start = ends(equation.eqn)
    if primitives.is_affine(equation):
      return _applied(equation, x, given(equation))
    if _is_curve(equation):
      return [_effects(equation, x, start, given(equation))]
    return [_split(difference(v)) for v in equation.eqn.outvars]

  whole = multipliers.between(tape, base, multipliers.RESCALE)

  def back(equation, inputs, outputs, m):
    x, start = ends(equation.eqn)
    m = [r if isinstance(r, Parts) else Parts(r, r) for r in m]
    if primitives.is_affine(equation):
      handed = _transposed(equation, x, m)
      if _keeps(equation):
        return handed
      pairs = zip(equation.eqn.invars, handed, strict=True)
      return [
        None if r is None else _twice(_chosen(difference(v), r))
        for v, r in pairs
      ]
    if _is_curve(equation):
      return _slopes(equation, x, start, given(equation), m[0])
    ways = map(difference, equation.eqn.outvars)
    m = [_chosen(way, r) for way, r in zip(ways, m, strict=True)]
    handed = whole(equation, inputs, outputs, m)
    return [None if r is None else _twice(r) for r in handed]

  for v in tape.closed.jaxpr.invars:
    parts[v] = _split(difference(v))
  for eqn in tape.closed.jaxpr.eqns:
    equation = tapes.equation(tape, eqn)
    if any(equation.moving):
      parts.update(zip(eqn.outvars, make(equation), strict=True))
  start = zip(outvars, map(_twice, scores), strict=True)
  arrived = tapes.walk(tape, start, back)
  return [
    arrived[v].up * parts[v].up + arrived[v].down * parts[v].down
    if v in arrived
    else jnp.zeros_like(difference(v))
    for v in variables
  ]


def _keeps(equation):
  """Returns whether each output is made of one entry that moves."""
  eqn, moving = equation
  return (
    primitives.role(equation) == primitives.MOVES
    or _is_curve(equation)
    or (eqn.primitive.name in _SCALINGS and sum(moving) == 1)
  )


def _is_curve(equation):
  """Returns whether it is one function of one float, entry by entry."""
  eqn, moving = equation
  moved = [v for v, moves in zip(eqn.invars, moving, strict=True) if moves]
  return (
    len(moved) == 1
    and all(map(primitives.is_float, [*moved, *eqn.outvars]))
    and (
      primitives.role(equation) == primitives.ELEMENTARY
      or eqn.primitive.name in ('max', 'min', 'clamp')
    )
  )


def _sides(equation, inputs):
  """Yields the two halves of a linear map: of what raises, of what lowers it.

  Each is `None`, or an equation with what moves in it, and its inputs.
  """
  eqn, moving = equation
  name = eqn.primitive.name
  if name == 'neg':
    return None, (equation, inputs)
  if name == 'sub':
    halves = ((moving[0], False), (False, moving[1]))
    return tuple(
      (primitives.Equation(eqn, half), inputs) if any(half) else None
      for half in halves
    )
  kind = primitives.facts(eqn).kind
  if kind not in (primitives.PRODUCTS, primitives.QUOTIENTS):
    return (equation, inputs), None
  i = moving.index(False)
  gone = np.inf if kind == primitives.QUOTIENTS else 0
  signs = (inputs[i] > 0, inputs[i] < 0)
  return tuple(
    (
      equation,
      [
        jnp.where(sign, a, jnp.asarray(gone, a.dtype)) if j == i else a
        for j, a in enumerate(inputs)
      ],
    )
    for sign in signs
  )


def _applied(equation, x, parts):
  """Returns the parts of the outputs of a linear map."""
  up = [None if p is None else p.up for p in parts]
  down = [None if p is None else p.down for p in parts]
  raises, lowers = _sides(equation, x.inputs)
  pairs = (
    (_push(raises, up), _push(lowers, down)),
    (_push(raises, down), _push(lowers, up)),
  )
  return list(map(Parts, *(_plus(a, b) for a, b in pairs)))


def _transposed(equation, x, m):
  """Returns the multipliers of the parts of the inputs of a linear map."""
  up, down = [r.up for r in m], [r.down for r in m]
  raises, lowers = _sides(equation, x.inputs)
  pairs = (
    (_pull(raises, x, up), _pull(lowers, x, down)),
    (_pull(raises, x, down), _pull(lowers, x, up)),
  )
  both = zip(*(_plus(a, b) for a, b in pairs), strict=True)
  return [None if a is None else Parts(a, b) for a, b in both]


def _push(side, tangents):
  if side is None:
    return None
  (eqn, moving), inputs = side
  places = [i for i, moves in enumerate(moving) if moves]

  def fn(*moved):
    args = list(inputs)
    for i, a in zip(places, moved, strict=True):
      args[i] = a
    return jaxprs.bind(eqn, *args)

  at, along = ([values[i] for i in places] for values in (inputs, tangents))
  return jax.jvp(fn, at, along)[1]


def _pull(side, x, m):
  return None if side is None else tapes.vjp(*side, x.outputs, m)


def _plus(first, second):
  """Adds two lists, either of which, or any entry, may be `None`."""
  if first is None or second is None:
    return second if first is None else first
  return [
    (b if a is None else a) if a is None or b is None else a + b
    for a, b in zip(first, second, strict=True)
  ]


def _effects(equation, x, start, parts):
  """Returns the parts of a curve's output: the mean effects of the input's."""
  i = equation.moving.index(True)

  def at(step):
    args = [a + step if j == i else a for j, a in enumerate(start.inputs)]
    return jaxprs.bind(equation.eqn, *args)[0]

  (y,), (y0,) = x.outputs, start.outputs
  raised, lowered = at(parts[i].up), at(parts[i].down)
  return Parts((raised - y0 + y - lowered) / 2, (lowered - y0 + y - raised) / 2)


def _slopes(equation, x, start, parts, m):
  """Returns `m p_y / p_x` for each part, the derivative where it is nothing."""
  i = equation.moving.index(True)
  least = 0
  if primitives.role(equation) == primitives.ELEMENTARY:
    least = multipliers.least_step(x.inputs[i], start.inputs[i])
  halfway = multipliers.middle(equation, x, start)
  slopes = []
  for r, effect, way in zip(
    m, _effects(equation, x, start, parts), parts[i], strict=True
  ):
    slope = tapes.vjp(equation, halfway, x.outputs, [r])[i]
    slopes.append(multipliers.divided(r * effect, way, slope, least))
  return [Parts(*slopes) if j == i else None for j in range(len(x.inputs))]


def _split(way):
  return Parts(jnp.maximum(way, 0), jnp.minimum(way, 0))


def _twice(m):
  return Parts(m, m)


def _chosen(way, m):
  """Returns the multiplier of a whole difference, by its sign."""
  none = (m.up + m.down) / 2
  return jnp.where(way > 0, m.up, jnp.where(way < 0, m.down, none))
