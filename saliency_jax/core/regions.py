"""The affine parts of a function, found on its tape.

`region` is the largest one that ends in a given value; `merge` makes a tape in
which each equation is either not affine or as much of a chain of affine ones as
nothing else reads from.
"""

import collections
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
from jax.extend import core
from jax.extend import source_info_util

from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import tapes


class Region(NamedTuple):
  """Equations that are together one affine function.

  Attributes:
    closed: their jaxpr, of the values of `basis` and then of `constants`.
    basis: the variables that move and that it is affine in.
    constants: the other variables that it reads.
  """

  closed: core.ClosedJaxpr
  basis: list[core.Var]
  constants: list[core.Var]


def region(tape: tapes.Tape, variable: core.Var) -> Region:
  """Returns the largest affine part of a tape that ends in a variable.

  It goes back to values that are inputs or no affine function of anything. One
  of these may well be made of others: the region takes each for its own.
  """
  eqns = []

  def collect(equation, inputs, outputs, relevance):
    del outputs, relevance
    if not primitives.is_affine(equation):
      return [None] * len(inputs)
    eqns.insert(0, equation.eqn)
    return [True] * len(inputs)

  reached = tapes.walk(tape, [(variable, True)], collect)
  made = {v for eqn in eqns for v in eqn.outvars}
  read = {v for eqn in eqns for v in jaxprs.variables(eqn.invars)}
  basis = [v for v in tape.values if v in reached and v not in made]
  constants = [
    v for v in tape.values if v in read and v not in reached and v not in made
  ]
  closed = jaxprs.part(eqns, [*basis, *constants], [variable])
  return Region(closed, basis, constants)


class _Pending(NamedTuple):
  """Equations that wait for the one that reads them; `operands` by variable."""

  eqns: list[core.JaxprEqn]
  operands: dict[core.Var, Any]


def merge(
  tape: tapes.Tape, constant: Collection[str] = (primitives.STEPS,)
) -> tapes.Tape:
  """Returns the tape with neighbouring affine equations made one.

  A convolution, the batch norm after it and the bias are one affine map then:
  an equation called `affine`, whose parameter `jaxpr` holds its parts. An
  affine equation joins the one that reads it, if that is affine too and nothing
  else reads it; so each is in one map. Values that are shared or named stay.

  Args:
    tape: from `tapes.record`.
    constant: as in `tapes.record`.
  """
  jaxpr = tape.closed.jaxpr
  reads = collections.Counter(
    v for eqn in jaxpr.eqns for v in jaxprs.variables(eqn.invars)
  )
  joined = {
    v
    for eqn in jaxpr.eqns
    if _joins(tape, eqn)
    for v in jaxprs.variables(eqn.invars)
    if reads[v] == 1 and v not in jaxpr.outvars
  }

  def rule(eqn, *args):
    if not _joins(tape, eqn):
      return jaxprs.bind(eqn, *args)
    eqns, operands = [], {}
    for v, a in zip(eqn.invars, args, strict=True):
      if isinstance(a, _Pending):
        eqns += a.eqns
        operands.update(a.operands)
      elif isinstance(v, core.Var):
        operands[v] = a
    eqns.append(eqn)
    if len(eqn.outvars) == 1 and eqn.outvars[0] in joined:
      return [_Pending(eqns, operands)]
    if len(eqns) == 1:
      return jaxprs.bind(eqn, *args)
    part = core.jaxpr_as_fun(jaxprs.part(eqns, operands, eqn.outvars))

    def affine(*values):
      return part(*values)

    with source_info_util.user_context(eqn.source_info.traceback):
      return jax.jit(affine)(*operands.values())

  closed = jax.make_jaxpr(
    lambda *args: jaxprs.evaluate(tape.closed, *args, rule=rule)
  )(*tape.closed.in_avals)
  values = jaxprs.environment(closed, *tapes.read(tape, jaxpr.invars))
  moving = tapes.moving(closed, constant)
  return tape._replace(closed=closed, values=values, moving=moving)


def _joins(tape, eqn):
  equation = tapes.equation(tape, eqn)
  # What is named can be tapped, and stays.
  return (
    any(equation.moving)
    and primitives.is_affine(equation)
    and eqn.primitive.name != 'name'
  )
