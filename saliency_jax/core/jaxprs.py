"""Reading a function as JAX sees it: the equations of its jaxpr.

A jaxpr is walked one equation at a time, each evaluated as a jaxpr of its own,
so that custom derivative rules stay what they are.
"""

from collections.abc import Callable, Iterator
from typing import Any

from jax.extend import core

# Primitives that only wrap a jaxpr, and the parameter that holds it.
_WRAPPERS = {
  'jit': 'jaxpr',
  'pjit': 'jaxpr',
  'closed_call': 'call_jaxpr',
  'core_call': 'call_jaxpr',
  'checkpoint': 'jaxpr',
  'remat2': 'jaxpr',
}
_DEBUG_INFO = core.DebugInfo('jaxprs.bind', 'jaxprs.bind', (), ())


def wrapped(eqn: core.JaxprEqn) -> core.ClosedJaxpr | None:
  """Returns the jaxpr that an equation merely wraps: jit, remat; or `None`."""
  inner = eqn.params.get(_WRAPPERS.get(eqn.primitive.name, ''))
  if inner is None or isinstance(inner, core.ClosedJaxpr):
    return inner
  return core.ClosedJaxpr(inner, ())


def subjaxprs(eqn: core.JaxprEqn) -> list[core.Jaxpr]:
  """Returns every jaxpr among an equation's parameters."""
  return [getattr(j, 'jaxpr', j) for j in core.jaxprs_in_params(eqn.params)]


def equations(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
  """Yields every equation of a jaxpr, and of the jaxprs inside of it."""
  for eqn in jaxpr.eqns:
    yield eqn
    for inner in subjaxprs(eqn):
      yield from equations(inner)


def bind(eqn: core.JaxprEqn, *args: Any) -> list[Any]:
  """Evaluates one equation at the values of its inputs, literals included."""
  free = [
    (v, a)
    for v, a in zip(eqn.invars, args, strict=True)
    if not isinstance(v, core.Literal)
  ]
  # A variable may stand twice among the inputs, and once among the arguments.
  values = dict(free)
  jaxpr = core.Jaxpr(
    (), list(values), list(eqn.outvars), [eqn], debug_info=_DEBUG_INFO
  )
  return core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, ()))(*values.values())


def evaluate(
  closed: core.ClosedJaxpr,
  *args: Any,
  rule: Callable[..., list[Any]] = bind,
) -> list[Any]:
  """Evaluates a jaxpr with `rule(eqn, *inputs) -> outputs` at each equation."""
  jaxpr = closed.jaxpr
  env = dict(zip(jaxpr.constvars, closed.consts, strict=True))
  env.update(zip(jaxpr.invars, args, strict=True))

  def read(v):
    return v.val if isinstance(v, core.Literal) else env[v]

  for eqn in jaxpr.eqns:
    env.update(zip(eqn.outvars, rule(eqn, *map(read, eqn.invars)), strict=True))
  return [read(v) for v in jaxpr.outvars]
