"""Reading a function as JAX sees it: the equations of its jaxpr.

`evaluate` is the one loop forward over equations. What it does at each of them
is a rule, `rule(eqn, *inputs) -> outputs`, and the inputs may be anything that
the rule understands: arrays, intervals, sets of names. By default an equation
is evaluated as a jaxpr of its own, so that custom derivatives stay what they
are. `tapes` keeps what the loop found, and walks back over it.
"""

from collections.abc import Callable, Iterator, Mapping
import functools
from typing import Any

import jax
from jax.extend import core
from jax.extend import source_info_util
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import primitives

_DEBUG_INFO = core.DebugInfo('jaxprs', 'jaxprs', (), ())


def wrapped(eqn: core.JaxprEqn) -> core.ClosedJaxpr | None:
  """Returns the jaxpr that an equation merely wraps: jit, remat; or `None`."""
  return _body(eqn, (primitives.CALLS,))


def _body(eqn, kinds):
  facts = primitives.facts(eqn)
  if facts is None or facts.kind not in kinds:
    return None
  inner = eqn.params[facts.body]
  if isinstance(inner, core.ClosedJaxpr):
    return inner
  return core.ClosedJaxpr(inner, ())


def walk(
  jaxpr: core.Jaxpr, path: tuple[str, ...] = ()
) -> Iterator[tuple[core.JaxprEqn, tuple[str, ...]]]:
  """Yields every equation of a jaxpr, and of those inside, with its path.

  The path names the loops, branches and custom derivatives around an equation;
  what merely wraps it is left out.
  """
  for eqn in jaxpr.eqns:
    yield eqn, path
    inside = () if wrapped(eqn) else (eqn.primitive.name,)
    for inner in subjaxprs(eqn):
      yield from walk(inner, (*path, *inside))


def equations(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
  """Yields every equation of a jaxpr, and of the jaxprs inside of it."""
  return (eqn for eqn, _ in walk(jaxpr))


def subjaxprs(eqn: core.JaxprEqn) -> list[core.Jaxpr]:
  """Returns every jaxpr among an equation's parameters."""
  return [getattr(j, 'jaxpr', j) for j in core.jaxprs_in_params(eqn.params)]


def bind(eqn: core.JaxprEqn, *args: Any) -> list[Any]:
  """Evaluates one equation at values of its inputs, literals included."""
  # One variable an input, even where the equation has the same one twice.
  invars = [core.Var(v.aval) for v in eqn.invars]
  alone = part([eqn.replace(invars=invars)], invars, eqn.outvars)
  return core.jaxpr_as_fun(alone)(*args)


def environment(
  closed: core.ClosedJaxpr,
  *args: Any,
  rule: Callable[..., list[Any]] = bind,
  env: dict[core.Var, Any] | None = None,
) -> dict[core.Var, Any]:
  """Returns the value of every variable, by `rule(eqn, *inputs) -> outputs`.

  Args:
    closed: the jaxpr.
    *args: values of its inputs.
    rule: what is done at each equation.
    env: where to put the values, for a rule that reads, or changes, those that
      are there.
  """
  env = {} if env is None else env
  env.update(zip(closed.jaxpr.constvars, closed.consts, strict=True))
  env.update(zip(closed.jaxpr.invars, args, strict=True))
  for eqn in closed.jaxpr.eqns:
    inputs = [read(env, v) for v in eqn.invars]
    env.update(zip(eqn.outvars, rule(eqn, *inputs), strict=True))
  return env


def evaluate(
  closed: core.ClosedJaxpr,
  *args: Any,
  rule: Callable[..., list[Any]] = bind,
) -> list[Any]:
  """Evaluates a jaxpr with `rule(eqn, *inputs) -> outputs` at each equation."""
  env = environment(closed, *args, rule=rule)
  return [read(env, v) for v in closed.jaxpr.outvars]


def inline(
  closed: core.ClosedJaxpr,
  enter: Callable[[core.JaxprEqn], bool] = lambda eqn: True,
  unroll: int = 0,
) -> core.ClosedJaxpr:
  """Returns a jaxpr with its calls replaced by the equations inside of them.

  Calls are jit, remat, and functions with derivatives of their own, which are
  lost. Loops and branches stay equations.

  Args:
    closed: the jaxpr.
    enter: whether to replace the call of an equation.
    unroll: scans of at most so many steps are written out.
  """

  def rule(call, eqn, *args):
    if call is not None and not source_info_util.summarize(eqn.source_info):
      # Made inside of JAX: the line that called it is the one to name.
      eqn = eqn.replace(source_info=call.source_info)
    inside = functools.partial(rule, eqn)
    inner = _body(eqn, (primitives.CALLS, primitives.CUSTOM))
    if inner is not None and enter(eqn):
      return evaluate(inner, *args, rule=inside)
    if eqn.primitive.name == 'scan' and eqn.params['length'] <= unroll:
      return _written_out(eqn, args, inside)
    return bind(eqn, *args)

  whole = functools.partial(rule, None)
  return jax.make_jaxpr(lambda *args: evaluate(closed, *args, rule=whole))(
    *closed.in_avals
  )


def _written_out(eqn, args, rule):
  """Evaluates a scan step by step."""
  body, length = eqn.params['jaxpr'], eqn.params['length']
  # How constants, carry and rows are told apart in the parameters depends on
  # the version of JAX: rows have an axis more outside than inside.
  rank = lambda avals: np.array([len(a.shape) for a in avals], int)
  inside, outside = rank(body.in_avals), rank(v.aval for v in eqn.invars)
  num_rows = int(np.sum(outside > inside))
  inside, outside = rank(body.out_avals), rank(v.aval for v in eqn.outvars)
  num_carry = int(np.sum(outside == inside))
  last = len(args) - num_rows
  first = last - num_carry
  consts, carry, xs = args[:first], args[first:last], args[last:]
  made = {}
  for i in range(length)[:: -1 if eqn.params['reverse'] else 1]:
    at = [jax.lax.index_in_dim(x, i, keepdims=False) for x in xs]
    outs = evaluate(body, *consts, *carry, *at, rule=rule)
    carry, made[i] = outs[:num_carry], outs[num_carry:]
  ys = zip(*(made[i] for i in sorted(made)), strict=True)
  return [*carry, *map(jnp.stack, ys)]


def cut(
  closed: core.ClosedJaxpr, last: Callable[[core.JaxprEqn], bool]
) -> tuple[core.ClosedJaxpr, core.ClosedJaxpr]:
  """Cuts a jaxpr in two, after the first equation for which `last` holds.

  Returns:
    The first part, whose outputs are that equation's and whatever else is still
    read; and the second, from these to the outputs.
  """
  jaxpr = closed.jaxpr
  at = 1 + [last(eqn) for eqn in jaxpr.eqns].index(True)
  first, second = jaxpr.eqns[:at], jaxpr.eqns[at:]
  still = set(variables([v for e in second for v in e.invars] + jaxpr.outvars))
  made = [*jaxpr.invars, *(v for e in first[:-1] for v in e.outvars)]
  between = [*first[-1].outvars, *(v for v in made if v in still)]

  def half(eqns, invars, outvars):
    part = jaxpr.replace(eqns=eqns, invars=invars, outvars=outvars)
    return core.ClosedJaxpr(part, closed.consts)

  return (
    half(first, jaxpr.invars, between),
    half(second, between, jaxpr.outvars),
  )


def part(eqns: Any, invars: Any, outvars: Any) -> core.ClosedJaxpr:
  """Returns the jaxpr of some equations."""
  jaxpr = core.Jaxpr(
    (), list(invars), list(outvars), list(eqns), debug_info=_DEBUG_INFO
  )
  return core.ClosedJaxpr(jaxpr, ())


def read(values: Mapping[core.Var, Any], v: core.Var | core.Literal) -> Any:
  """Returns the value of a variable, or of a literal as an array."""
  if isinstance(v, core.Literal):
    return np.asarray(v.val, v.aval.dtype)
  return values[v]


def variables(atoms: Any) -> list[core.Var]:
  """Returns what of some inputs is no literal."""
  return [v for v in atoms if isinstance(v, core.Var)]
