"""One walk back over a function: gradients, relevance, bounds by rules.

`record` evaluates a function and keeps the value of every equation; `backward`
then goes from the output to the inputs and asks a rule, at each equation, what
its inputs get of what has arrived at its outputs; a value that is read several
times gets the sum. The walk runs under jit, vmap and shard_map. A method is a
table of rules, by the names of primitives and by roles (see `primitives`).
Guided backpropagation, say, is the gradient but at rectifiers:

    def rectifier(equation, inputs, outputs, relevance):
      if sum(equation.moving) == 1:  # Not a max-pool by maxima of slices.
        relevance = [jnp.maximum(relevance[0], 0)]
      return tapes.vjp(equation, inputs, outputs, relevance)

    table = {**tapes.GRADIENT, 'max': rectifier}
    tape = tapes.record(fn, x)
    rule = tapes.by_table(table, 'guided maps')
    (scores,) = tapes.backward(tape, jnp.ones(()), rule)

A rule gets `Equation(eqn, moving)`; the values of its inputs and outputs; and
the relevance of its outputs, zeros where nothing came. It returns the relevance
of each input; what it returns for constants is not looked at, and `None` is
nothing. An array has the shape of its input, after any axes of the method's own
(mind that JAX's sums and products broadcast axes of size one); other pytrees
may be anything that can be added. A rule that compares two examples reads the
other's tape, made by `replay`: `read(other, eqn.invars)`.
"""

from collections.abc import Callable, Collection, Mapping
import operator
import types
from typing import Any, NamedTuple

import jax
from jax.extend import core
import jax.numpy as jnp
from typing_extensions import TypeAliasType

from saliency_jax.core import jaxprs
from saliency_jax.core import primitives

# `(equation, inputs, outputs, relevance of outputs) -> relevance of inputs`.
Rule = TypeAliasType(
  'Rule',
  Callable[[primitives.Equation, list[Any], list[Any], list[Any]], list[Any]],
)


class Tape(NamedTuple):
  """A function's equations, and the values that they made.

  It holds variables of a jaxpr, and so cannot leave the jit it was made in.

  Attributes:
    closed: the jaxpr, without calls.
    values: of every variable.
    moving: the variables that depend on the inputs, by numbers that have
      derivatives; what is no float is a constant.
    in_tree: structure of the arguments.
    out_tree: structure of the output.
  """

  closed: core.ClosedJaxpr
  values: Mapping[core.Var, Any]
  moving: Collection[core.Var]
  in_tree: Any
  out_tree: Any


def record(
  fn: Callable[..., Any],
  *args: Any,
  keep: Collection[str] = (),
  constant: Collection[str] = (primitives.STEPS,),
  unroll: int = 0,
) -> Tape:
  """Evaluates a function, and keeps the value of every equation.

  Args:
    fn: any function of arrays.
    *args: its arguments, pytrees.
    keep: functions under jit or with derivatives of their own, by name, that
      stay one equation each: 'silu'. The rest is entered.
    constant: primitives and roles whose outputs are taken for constants.
    unroll: scans of at most so many steps are written out, so that a rule sees
      what is in them.
  """
  closed, shape = jax.make_jaxpr(fn, return_shape=True)(*args)
  closed = jaxprs.inline(
    closed, lambda eqn: primitives.name(eqn) not in keep, unroll
  )
  leaves, in_tree = jax.tree.flatten(args)
  return Tape(
    closed,
    jaxprs.environment(closed, *leaves),
    moving(closed, constant),
    in_tree,
    jax.tree.structure(shape),
  )


def replay(tape: Tape, *args: Any) -> Tape:
  """Returns the tape of the same equations at other arguments."""
  leaves = tape.in_tree.flatten_up_to(args)
  return tape._replace(values=jaxprs.environment(tape.closed, *leaves))


_MOVES = object()


def moving(
  closed: core.ClosedJaxpr,
  constant: Collection[str] = (primitives.STEPS,),
) -> frozenset[core.Var]:
  """Returns the variables that depend on the inputs through floats alone.

  Args:
    closed: the jaxpr.
    constant: primitives and roles whose outputs are taken for constants.
  """

  def rule(eqn, *args):
    equation = primitives.Equation(eqn, tuple(a is _MOVES for a in args))
    known = primitives.facts(eqn)
    labels = {primitives.name(eqn), known.kind if known else None}
    moves = any(equation.moving) and labels.isdisjoint(constant)
    return mark(eqn.outvars, moves)

  def mark(variables, moves):
    return [
      _MOVES if moves and primitives.is_float(v) else None for v in variables
    ]

  env = jaxprs.environment(closed, *mark(closed.jaxpr.invars, True), rule=rule)
  return frozenset(v for v, value in env.items() if value is _MOVES)


def read(tape: Tape, atoms: Any) -> list[Any]:
  """Returns the values of an equation's inputs, or of its outputs."""
  return [jaxprs.read(tape.values, v) for v in atoms]


def named(tape: Tape, name: str) -> core.Var:
  """Returns the variable that `jax.ad_checkpoint.checkpoint_name` marks.

  Raises:
    ValueError: for a name that is not there, or several times.
  """
  marks = [
    eqn for eqn in tape.closed.jaxpr.eqns if eqn.primitive.name == 'name'
  ]
  names = sorted({eqn.params['name'] for eqn in marks})
  matches = [eqn.outvars[0] for eqn in marks if eqn.params['name'] == name]
  if len(matches) != 1:
    raise ValueError(
      f'expected one value named {name!r}, found {len(matches)}; this function '
      f'names {names}: name one where the network has it in hand, '
      f'h = jax.ad_checkpoint.checkpoint_name(h, {name!r})'
    )
  return matches[0]


def equation(tape: Tape, eqn: core.JaxprEqn) -> primitives.Equation:
  """Returns an equation with what moves in it."""
  return primitives.Equation(
    eqn,
    tuple(isinstance(v, core.Var) and v in tape.moving for v in eqn.invars),
  )


def backward(tape: Tape, start: Any, rule: Rule) -> tuple[Any, ...]:
  """Walks from the output to the inputs.

  Args:
    tape: the equations and their values.
    start: relevance of the output, like it.
    rule: what the inputs of an equation get of the relevance of its outputs.

  Returns:
    The relevance of each argument: zeros where nothing arrives, `None` for what
    is no float.

  Raises:
    ValueError: from a rule, where it has no answer.
  """
  jaxpr = tape.closed.jaxpr
  leaves = tape.out_tree.flatten_up_to(start)
  relevances = walk(tape, zip(jaxpr.outvars, leaves, strict=True), rule)
  return tape.in_tree.unflatten([at(relevances, v) for v in jaxpr.invars])


def walk(tape: Tape, start: Any, rule: Rule) -> dict[core.Var, Any]:
  """Walks back from any variables: pairs of them and their relevance.

  Returns:
    The relevance of every variable that it reached.
  """
  relevances = {}

  def give(pairs):
    for v, relevance in pairs:
      if relevance is not None and isinstance(v, core.Var) and v in tape.moving:
        relevances[v] = (
          jax.tree.map(operator.add, relevances[v], relevance)
          if v in relevances
          else relevance
        )

  give(start)
  for eqn in reversed(tape.closed.jaxpr.eqns):
    if relevances.keys().isdisjoint(eqn.outvars):
      continue
    values = read(tape, eqn.outvars)
    relevance = [at(relevances, v) for v in eqn.outvars]
    given = rule(equation(tape, eqn), read(tape, eqn.invars), values, relevance)
    _check(eqn, given)
    give(zip(eqn.invars, given, strict=True))
  return relevances


def _check(eqn, given):
  """Refuses what cannot be the relevance of an equation's inputs."""
  what = f'the rule for {primitives.name(eqn)!r} returned'
  if len(given) != len(eqn.invars):
    raise ValueError(
      f'{what} {len(given)} values, expected {len(eqn.invars)}, one an input'
    )
  for v, relevance in zip(eqn.invars, given, strict=True):
    shape, want = getattr(relevance, 'shape', v.aval.shape), v.aval.shape
    if shape[len(shape) - len(want) :] != want:
      raise ValueError(
        f'{what} shape {shape} for an input of shape {want}: sum over what the '
        f'input is broadcast to'
      )


def at(relevances: Mapping[core.Var, Any], v: core.Var) -> Any:
  """Returns the relevance of a variable: zeros where none has arrived.

  None can arrive at a variable that is not of floats: that has `None`.
  """
  if v in relevances:
    return relevances[v]
  if not primitives.is_float(v):
    return None
  return jnp.zeros(v.aval.shape, v.aval.dtype)


def by_table(
  table: Mapping[str, Rule],
  what: str,
  remedies: Mapping[str, str] = types.MappingProxyType({}),
) -> Rule:
  """Returns the rule that looks each equation up in a table of rules.

  Args:
    table: rules by the names of primitives and by roles.
    what: what is made, in the plural, for the message where no rule is found.
    remedies: what helps there: see `primitives.rule`.
  """

  def rule(equation, *rest):
    return primitives.rule(table, equation, what, remedies)(equation, *rest)

  return rule


def vjp(
  equation: primitives.Equation,
  inputs: list[Any],
  outputs: list[Any],
  relevance: list[Any],
) -> list[Any]:
  """The rule of the gradient: an equation's own vector-Jacobian product."""
  del outputs
  eqn, moving = equation
  places = [i for i, m in enumerate(moving) if m]

  def fn(*moved):
    args = list(inputs)
    for i, a in zip(places, moved, strict=True):
      args[i] = a
    outs = zip(eqn.outvars, jaxprs.bind(eqn, *args), strict=True)
    return [o for v, o in outs if primitives.is_float(v)]

  _, pullback = jax.vjp(fn, *(inputs[i] for i in places))
  given = pullback([r for r in relevance if r is not None])
  back = dict(zip(places, given, strict=True))
  return [back.get(i) for i in range(len(inputs))]


# The gradient of functions without loops and branches.
GRADIENT: dict[str, Rule] = dict.fromkeys(
  (
    primitives.MOVES,
    primitives.SUMS,
    primitives.PRODUCTS,
    primitives.QUOTIENTS,
    primitives.INCREASING,
    primitives.ELEMENTARY,
  ),
  vjp,
)
