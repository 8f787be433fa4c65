"""The affine parts of a function, found on its tape."""

from typing import NamedTuple

from jax.extend import core

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
