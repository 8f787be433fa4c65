"""What an activation is, however it was written.

A rectifier is a piecewise linear function of one value, entry by entry:
`max(x, 0)`, `jax.nn.relu`, `where(x > 0, x, 0)`, a clip with two kinks, a leaky
ReLU. All other functions of one value are smooth activations: GELU, SiLU, ELU,
softplus, sigmoid, tanh, exp; a softmax is one, of its logits. Powers, of which
norms are made, and absolute values are neither; nor is a bound that guards a
root or a denominator, as that of a variance at zero in a norm does.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax.extend import core
import jax.numpy as jnp

from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.core import units

RECTIFIER = 'rectifier'
SMOOTH = 'smooth'

_BOUNDS = ('clamp', 'max', 'min')
_POWERS = ('abs', 'cbrt', 'integer_pow', 'pow', 'rsqrt', 'sqrt', 'square')
_LINEAR = (primitives.MOVES, primitives.SUMS, primitives.STEPS)
_ROOTS = ('pow', 'rsqrt', 'sqrt')
# Between a bound and the root that it guards.
_SHIFTS = ('add', 'div', 'mul', 'sub')


class Found(NamedTuple):
  """A tape with its activations.

  Attributes:
    tape: in which an activation of several equations is one.
    kinds: of each activation, by its output: `RECTIFIER` or `SMOOTH`.
  """

  tape: tapes.Tape
  kinds: Mapping[core.Var, str]


def find(tape: tapes.Tape) -> Found:
  """Finds the activations on a tape.

  What is piecewise linear by bounds stays as it is, each bound a rectifier: in
  `x + max(x, 0)` the second summand alone is rectified.
  """
  joined = units.activations(units.softmaxes(tape))
  guards = _guards(tape)
  eqns, kinds = [], {}
  for eqn in joined.closed.jaxpr.eqns:
    parts = [tapes.equation(tape, part) for part in _parts(eqn)]
    kind = _kind(eqn, parts)
    if kind == RECTIFIER and any(map(is_bound, parts)):
      eqn = parts[-1].eqn
      kind = RECTIFIER if is_bound(parts[-1]) else None
    eqns.append(eqn)
    if kind and eqn.outvars[0] not in guards:
      kinds[eqn.outvars[0]] = kind
  jaxpr = joined.closed.jaxpr.replace(eqns=eqns)
  closed = core.ClosedJaxpr(jaxpr, joined.closed.consts)
  return Found(joined._replace(closed=closed), kinds)


def is_bound(equation: primitives.Equation) -> bool:
  """Returns whether an equation cuts one value off at constants."""
  return equation.eqn.primitive.name in _BOUNDS and sum(equation.moving) == 1


def names(eqn: core.JaxprEqn) -> str:
  """Returns the primitives that an activation is made of, by name."""
  return ', '.join(dict.fromkeys(e.primitive.name for e in _parts(eqn)))


def vjp(
  equation: primitives.Equation,
  inputs: list[Any],
  outputs: list[Any],
  relevance: list[Any],
) -> list[Any]:
  """The rule of the gradient, with derivative zero where a bound is reached."""
  eqn, moving = equation
  (r,) = relevance
  if is_bound(equation):
    bounds = [a for a, moves in zip(inputs, moving, strict=True) if not moves]
    for bound in bounds:
      r = jnp.where(outputs[0] == bound, 0, r)
    return passed(equation, inputs, outputs, [r])
  if eqn.primitive.name not in (units.ACTIVATION, units.SOFTMAX):
    return tapes.vjp(equation, inputs, outputs, relevance)
  # A unit has one operand that moves.
  place = moving.index(True)
  body = core.jaxpr_as_fun(eqn.params['jaxpr'])
  _, pullback = jax.vjp(
    lambda a: body(*inputs[:place], a, *inputs[place + 1 :]), inputs[place]
  )
  (given,) = pullback([r])
  return [given if moves else None for moves in moving]


def passed(
  equation: primitives.Equation,
  inputs: list[Any],
  outputs: list[Any],
  relevance: list[Any],
) -> list[Any]:
  """Hands on what arrives, summed where an entry of the input was repeated."""
  del outputs
  (r,) = relevance

  def repeated(a):
    if a.shape == r.shape:
      return r
    _, pullback = jax.vjp(lambda a: jnp.broadcast_to(a, r.shape), a)
    return pullback(r)[0]

  return [
    repeated(a) if moves else None
    for a, moves in zip(inputs, equation.moving, strict=True)
  ]


def _kind(eqn, parts):
  """Returns the kind of an equation that is no guard."""
  name = eqn.primitive.name
  if name == units.ACTIVATION:
    bent = [p for p in parts if primitives.role(p) not in _LINEAR]
    return RECTIFIER if all(map(is_bound, bent)) else SMOOTH
  if name == units.SOFTMAX:
    return SMOOTH
  (equation,) = parts
  if is_bound(equation):
    return RECTIFIER
  bends = primitives.role(equation) == primitives.ELEMENTARY
  return SMOOTH if bends and name not in _POWERS else None


def _guards(tape):
  """Returns the values that nothing but roots and denominators read."""
  jaxpr, read, other = tape.closed.jaxpr, set(), set(tape.closed.jaxpr.outvars)
  for eqn in reversed(jaxpr.eqns):
    equation, name = tapes.equation(tape, eqn), eqn.primitive.name
    if tape.moving.isdisjoint(eqn.outvars):
      continue
    handed = (
      name in _SHIFTS or primitives.role(equation) == primitives.MOVES
    ) and primitives.is_affine(equation)
    for i, v in enumerate(eqn.invars):
      if isinstance(v, core.Literal):
        continue
      root = name in _ROOTS or (name == 'div' and i == 1)
      guards = root or (handed and other.isdisjoint(eqn.outvars))
      (read if guards else other).add(v)
  return read - other


def _parts(eqn):
  """Returns the equations of a unit, or the one that is none."""
  unit = eqn.primitive.name in (units.ACTIVATION, units.SOFTMAX)
  return eqn.params['jaxpr'].jaxpr.eqns if unit else [eqn]
