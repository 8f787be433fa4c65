"""Equations that are one thing, made one equation of a tape.

A rule looks at one equation at a time. What is one thing to a method may well
be several equations: SiLU is `mul(x, logistic(x))`, and a softmax, a
convolution with its batch norm, or a ReLU by `select_n`, are several too. Each
function here takes a tape and returns one in which such equations are one, a
unit, found by what they do and not by a name:

  `activations`  an element-wise function of one value: `ACTIVATION`;
  `softmaxes`    `exp(x) / sum exp(x)`: `SOFTMAX`;
  `affine`       a product with constant coefficients, or a sum, and the
                 scalings and shifts around it: `AFFINE`.

The parameter `jaxpr` of a unit holds its equations; its value is the value of
the last of them. A tape with units is there to be walked back. `affine` comes
last: it leaves out all that nothing comes back to.
"""

import collections
from collections.abc import Callable
import math
from typing import Any

from jax.extend import core
import jax.numpy as jnp

from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import tapes

ACTIVATION = 'activation'
SOFTMAX = 'softmax'
AFFINE = 'affine'

# Entry by entry, where what moves has the shape of the output.
_ENTRYWISE = frozenset(
  'add add_any clamp convert_element_type copy div max min mul neg select_n '
  'sub'.split()
) | frozenset(primitives.of_kind(primitives.ELEMENTARY, primitives.STEPS))

_REPEATS = ('broadcast_in_dim', 'convert_element_type', 'reshape', 'squeeze')

primitives.register(ACTIVATION, primitives.ELEMENTARY)
primitives.register(AFFINE, primitives.SUMS)


def activations(tape: tapes.Tape) -> tapes.Tape:
  """Makes a unit of what is an element-wise function of one value.

  SiLU, both GELUs, softplus, leaky ReLU and a ReLU by `select_n` are; what has
  one operand that depends on the inputs is one equation as it is.
  """
  eqns, depends = [], set(tape.closed.jaxpr.invars)
  # Of each value: what it is an element-wise function of, and whether a bent
  # one.
  parents, bent = {}, set()
  for eqn in tape.closed.jaxpr.eqns:
    operands = {v for v in jaxprs.variables(eqn.invars) if v in depends}
    depends.update(eqn.outvars if operands else ())
    if operands and _is_entrywise(eqn, operands):
      (out,) = eqn.outvars
      lines = [_line(parents, v) for v in operands]
      parent = next((v for v in lines[0] if all(v in l for l in lines)), None)
      parents[out] = parent
      between = {v for l in lines if parent for v in l[: l.index(parent)]}
      affine = primitives.is_affine(tapes.equation(tape, eqn))
      if not affine or between & bent or not operands <= tape.moving:
        bent.add(out)
      if len(operands) > 1 and parent and out in bent & tape.moving:
        eqn = _unit(ACTIVATION, _between(tape, parent, eqn))
    eqns.append(eqn)
  return _replaced(tape, eqns)


def softmaxes(tape: tapes.Tape) -> tapes.Tape:
  """Makes a unit of each softmax, from its logits to its weights.

  An exponential of logits less their largest, as in the logarithm of a sum of
  exponentials, is an activation: the largest one's difference is zero, and a
  rule would have nothing to go by.
  """
  makers = {v: eqn for eqn in tape.closed.jaxpr.eqns for v in eqn.outvars}

  def made_by(name, v):
    """Returns what an equation of that name made a value of, or `None`."""
    eqn = makers.get(v) if isinstance(v, core.Var) else None
    return eqn.invars if eqn and eqn.primitive.name == name else None

  def unmoved(v):
    """Returns the value whose entries are repeated to make this one."""
    while isinstance(v, core.Var) and v in makers:
      if makers[v].primitive.name not in _REPEATS:
        break
      v = makers[v].invars[0]
    return v

  depends = _below(tape.closed.jaxpr.invars, tape.closed.jaxpr.eqns)

  def unshifted(v):
    """Returns the logits before their largest entry was taken off."""
    shifted = made_by('sub', v)
    if shifted is None:
      return v
    x, off = shifted
    stopped = off in depends and off not in tape.moving
    largest = made_by('reduce_max', unmoved(off))
    return x if stopped or (largest and largest[0] is x) else v

  def unit(eqn):
    if eqn.primitive.name == 'exp':
      logits = unshifted(eqn.invars[0])
      if logits is not eqn.invars[0]:
        return _unit(ACTIVATION, _between(tape, logits, eqn))
    if eqn.primitive.name != 'div':
      return eqn
    logits = made_by('exp', eqn.invars[0])
    summed = made_by('reduce_sum', unmoved(eqn.invars[1]))
    same = summed and made_by('exp', unmoved(summed[0]))
    if not logits or not same or same[0] is not logits[0]:
      return eqn
    return _unit(SOFTMAX, _between(tape, unshifted(logits[0]), eqn))

  return _replaced(tape, [unit(eqn) for eqn in tape.closed.jaxpr.eqns])


def affine(tape: tapes.Tape, *, merge: bool = True) -> tapes.Tape:
  """Makes units of affine equations.

  Each equation joins the one that reads it, if nothing else does, as long as
  there is one among them that mixes entries: a product with constants, a sum.
  So a unit's coefficients are the coefficients of that one, each times some
  factors, and
  their absolute values or squares are products of such too. Equations that only
  move entries stay as they are unless they lie on the way.

  Args:
    tape: the tape.
    merge: whether to join equations; otherwise each is a unit of its own.
  """
  jaxpr = tape.closed.jaxpr
  jaxpr = jaxpr.replace(eqns=_leading(jaxpr.eqns, jaxpr.outvars, tape.moving))
  reads = collections.Counter(
    v for eqn in jaxpr.eqns for v in jaxprs.variables(eqn.invars)
  )
  reads.update(jaxprs.variables(jaxpr.outvars))
  chains, joined = {}, set()
  for eqn in jaxpr.eqns:
    if not _is_link(tapes.equation(tape, eqn)):
      continue
    moved = [v for v in jaxprs.variables(eqn.invars) if v in tape.moving]
    before = chains.get(moved[0], [])
    fits = sum(_mixes(tapes.equation(tape, e)) for e in (*before, eqn)) <= 1
    if merge and before and fits and len(moved) == 1 and reads[moved[0]] == 1:
      joined.add(moved[0])
      chains[eqn.outvars[0]] = [*before, eqn]
    else:
      chains[eqn.outvars[0]] = [eqn]

  def unit(eqn):
    chain = chains.get(eqn.outvars[0], [])
    roles = {primitives.role(tapes.equation(tape, e)) for e in chain}
    last = eqn.outvars[0] not in joined
    return _unit(AFFINE, chain) if last and primitives.SUMS in roles else eqn

  eqns = [unit(eqn) for eqn in jaxpr.eqns]
  return _replaced(tape, _leading(eqns, jaxpr.outvars, tape.moving))


def main(equation: primitives.Equation) -> primitives.Equation:
  """Returns what an affine unit is about: its product or sum, or its last part.

  What is no such unit is about itself.
  """
  eqn, moving = equation
  if eqn.primitive.name != AFFINE:
    return equation
  body = eqn.params['jaxpr'].jaxpr
  parts = _parts(body, moving)
  weighs = [
    p for p in parts if _mixes(p) and primitives.role(p) == primitives.SUMS
  ]
  return (weighs or parts)[-1]


def linear(
  equation: primitives.Equation,
  inputs: list[Any],
  modify: Callable[[Any], Any] = lambda c: c,
) -> Callable[..., Any]:
  """Returns the linear part of an affine unit, as a function of what moves.

  Args:
    equation: the unit.
    inputs: the values of its inputs.
    modify: of each coefficient; a multiplicative function, such as the absolute
      value, modifies the coefficients of the whole.
  """
  eqn, moving = equation
  body = eqn.params['jaxpr']
  places = [i for i, m in enumerate(moving) if m]

  def fn(*moved):
    args = list(inputs)
    for i, a in zip(places, moved, strict=True):
      args[i] = a
    parts = iter(_parts(body.jaxpr, moving))

    def rule(part, *args):
      args = _modified(part, next(parts).moving, args, modify)
      return jaxprs.bind(part, *args)

    return jaxprs.evaluate(body, *args, rule=rule)[0]

  return fn


def _parts(body, moving):
  """Returns the equations of a unit, with what moves in each."""
  moves = {v for v, m in zip(body.invars, moving, strict=True) if m}
  parts = []
  for eqn in body.eqns:
    flags = tuple(isinstance(v, core.Var) and v in moves for v in eqn.invars)
    parts.append(primitives.Equation(eqn, flags))
    moves.update(eqn.outvars)
  return parts


def _modified(eqn, flags, args, modify):
  """Returns the operands, with coefficients modified and without shifts."""
  kind = primitives.facts(eqn).kind
  if kind in (primitives.PRODUCTS, primitives.QUOTIENTS):
    return [
      a if moves else modify(a) for a, moves in zip(args, flags, strict=True)
    ]
  args = [
    a if moves or not primitives.is_float(v) else jnp.zeros_like(a)
    for v, a, moves in zip(eqn.invars, args, flags, strict=True)
  ]
  if eqn.primitive.name in ('neg', 'sub') and flags[-1]:
    # The coefficient is -1, and the equation's own sign is taken back.
    args[-1] = args[-1] * -modify(-jnp.ones((), args[-1].dtype))
  return args


def _is_entrywise(eqn, operands):
  return (
    eqn.primitive.name in _ENTRYWISE
    and len(eqn.outvars) == 1
    and all(v.aval.shape == eqn.outvars[0].aval.shape for v in operands)
  )


def _is_link(equation):
  """Returns whether an equation may be a part of an affine unit."""
  eqn, moving = equation
  if not any(moving) or len(eqn.outvars) > 1 or eqn.primitive.name == 'name':
    return False
  # A move that puts constants beside its entries, such as a mask's.
  filled = primitives.role(equation) == primitives.MOVES and any(
    primitives.is_float(v)
    for v, m in zip(eqn.invars, moving, strict=True)
    if not m
  )
  return primitives.is_affine(equation) and not filled


def _mixes(equation):
  """Returns whether an output has several entries, or an entry several outputs.

  An entry that is read several times has no one coefficient any more.
  """
  eqn, moving = equation
  if sum(moving) > 1:
    return True
  if primitives.role(equation) == primitives.MOVES:
    operand = eqn.invars[moving.index(True)]
    return eqn.primitive.name in ('gather', 'dynamic_slice') or math.prod(
      eqn.outvars[0].aval.shape
    ) > math.prod(operand.aval.shape)
  return eqn.primitive.name not in _ENTRYWISE or (
    eqn.outvars[0].aval.shape != eqn.invars[moving.index(True)].aval.shape
  )


def _line(parents, v):
  """Returns a value, what it is a function of, and so on."""
  line = []
  while v is not None:
    line.append(v)
    v = parents.get(v)
  return line


def _between(tape, start, last):
  """Returns the equations by which the last one depends on a value."""
  eqns = tape.closed.jaxpr.eqns
  eqns = eqns[: eqns.index(last) + 1]
  below = _below([start], eqns) - {start}
  return _leading([e for e in eqns if below & {*e.outvars}], last.outvars)


def _below(starts, eqns):
  """Returns the values that some depend on, in any way."""
  below = set(starts)
  for eqn in eqns:
    if not below.isdisjoint(jaxprs.variables(eqn.invars)):
      below.update(eqn.outvars)
  return below


def _leading(eqns, outvars, among=None):
  """Returns, in order, the equations that some values are made by.

  With `among`, those that lead there by some variables alone.
  """
  needed, kept = set(jaxprs.variables(outvars)), []
  for eqn in reversed(eqns):
    if not needed.isdisjoint(eqn.outvars):
      read = jaxprs.variables(eqn.invars)
      needed.update(v for v in read if among is None or v in among)
      kept.append(eqn)
  return kept[::-1]


def _unit(name, eqns):
  made = {v for eqn in eqns for v in eqn.outvars}
  read = [v for eqn in eqns for v in jaxprs.variables(eqn.invars)]
  invars = [v for v in dict.fromkeys(read) if v not in made]
  outvars = eqns[-1].outvars
  return eqns[-1].replace(
    primitive=core.Primitive(name),
    invars=invars,
    params={'jaxpr': jaxprs.part(eqns, invars, outvars)},
  )


def _replaced(tape, eqns):
  jaxpr = tape.closed.jaxpr.replace(eqns=eqns)
  return tape._replace(closed=core.ClosedJaxpr(jaxpr, tape.closed.consts))
