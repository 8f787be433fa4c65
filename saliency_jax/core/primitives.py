"""What is known of JAX's primitives, in one place.

A rule says what becomes of one equation of a jaxpr: which bounds it keeps, how
much relevance it hands back. A table of rules maps primitives, by their names,
and roles, by the words below, to rules; `rule` looks up the name first and then
the role. Whoever brings a primitive of their own says what it is once,

    primitives.register('my_conv', primitives.PRODUCTS, num_terms=...)

and every table that has a rule for its role accepts it.
"""

from collections.abc import Callable, Mapping
import math
import types
from typing import Any, NamedTuple

from jax.extend import core
from jax.extend import source_info_util
import jax.numpy as jnp

# Roles of equations. Moves and sums are affine in the operands that move.
MOVES = 'moves'  # Each output is an entry of an operand, or a constant.
SUMS = 'sums'  # Weighted sums: products with a constant are among them.
PRODUCTS = 'products'  # Linear in each of two operands, both of which move.
QUOTIENTS = 'quotients'  # The denominator moves.
INCREASING = 'increasing'  # Picks entries by order: max, min, clamp, max-pool.
ELEMENTARY = 'elementary'  # Entry by entry, not affine: exp, tanh, pow.
STEPS = 'steps'  # Without a derivative: comparisons, rounding, stop_gradient.
CALLS = 'calls'  # Wraps a jaxpr: jit, remat.
CUSTOM = 'custom derivatives'  # Wraps a jaxpr, with a derivative of its own.
CONTROL = 'control flow'  # Loops and branches.
KINDS = (
  MOVES,
  SUMS,
  PRODUCTS,
  QUOTIENTS,
  INCREASING,
  ELEMENTARY,
  STEPS,
  CALLS,
  CUSTOM,
  CONTROL,
)

# The remedy of methods that write scans out.
UNROLL = {'scan': 'pass unroll={length}'}


class Equation(NamedTuple):
  """One equation of a jaxpr, and what of it moves.

  Attributes:
    eqn: the equation.
    moving: whether each of its inputs depends on what is studied; the others
      are constants.
  """

  eqn: core.JaxprEqn
  moving: tuple[bool, ...]


class Facts(NamedTuple):
  """What is known of a primitive.

  Attributes:
    kind: its role when all operands that may move do.
    data: the operands that may move; with others moving it has no role.
    num_terms: maps an equation to the number of terms in the sum that makes one
      output, or more.
    plain: the same function, of JAX's own primitives, for a primitive that has
      no `precision` to set: `(*operands, **params) -> output`.
    body: the parameter that holds the jaxpr of a call.
  """

  kind: str
  data: slice = slice(None)
  num_terms: Callable[[core.JaxprEqn], int] = lambda eqn: 2
  plain: Callable[..., Any] | None = None
  body: str = ''


_FACTS: dict[str, Facts] = {}


def register(names: str, kind: str, **facts: Any) -> None:
  """Says what primitives are.

  Args:
    names: of the primitives, separated by spaces.
    kind: one of the roles of this module, `KINDS`.
    **facts: the other fields of `Facts`.

  Raises:
    ValueError: for another kind.
  """
  if kind not in KINDS:
    raise ValueError(f'kind must be one of {KINDS}, got {kind!r}')
  for each in names.split():
    _FACTS[each] = Facts(kind, **facts)


def facts(eqn: core.JaxprEqn) -> Facts | None:
  """Returns what is known of an equation's primitive, if it is registered."""
  return _FACTS.get(eqn.primitive.name)


def of_kind(*kinds: str) -> list[str]:
  """Returns the names of the primitives of some kinds, in order."""
  return sorted(name for name, known in _FACTS.items() if known.kind in kinds)


def name(eqn: core.JaxprEqn) -> str:
  """Returns the name of a primitive, or of the function that a call wraps."""
  known = facts(eqn)
  if known is not None and known.kind in (CALLS, CUSTOM):
    return eqn.params.get('name', eqn.primitive.name)
  return eqn.primitive.name


def role(equation: Equation) -> str | None:
  """Returns what an equation is, given what moves in it."""
  eqn, moving = equation
  known = facts(eqn)
  if known is None:
    return None
  if known.kind == QUOTIENTS:
    return QUOTIENTS if moving[1] else SUMS
  if sum(moving) != sum(moving[known.data]):
    return None
  if known.kind == PRODUCTS and sum(moving) == 1:
    return SUMS
  return known.kind


def is_affine(equation: Equation) -> bool:
  """Returns whether an equation is affine, from floats to floats."""
  eqn, moving = equation
  moved = [v for v, m in zip(eqn.invars, moving, strict=True) if m]
  return role(equation) in (MOVES, SUMS) and all(
    map(is_float, [*moved, *eqn.outvars])
  )


def is_float(v: core.Var | core.Literal) -> bool:
  """Returns whether a variable holds numbers that have derivatives."""
  return jnp.issubdtype(v.aval.dtype, jnp.inexact)


def rule(
  table: Mapping[str, Any],
  equation: Equation,
  what: str,
  remedies: Mapping[str, str] = types.MappingProxyType({}),
) -> Any:
  """Returns the rule for an equation: by its name, or else by its role.

  Args:
    table: rules by the names of primitives and by roles.
    equation: the equation, and what moves in it.
    what: the subject of the message, in the plural: 'interval bounds'.
    remedies: what helps where there is no rule, by the names of primitives and
      by roles; `{length}` is how many steps a scan has.

  Raises:
    ValueError: where there is none, with the place in the source.
  """
  own, part = name(equation.eqn), role(equation)
  match = table.get(own, table.get(part))
  if match is None and own.endswith('callback'):
    raise ValueError(
      f'{what} look into the function, and cannot look into a black box: use a '
      'method of forward calls, such as occlusion, rise, leg or shapley, or of '
      'gradients where it has them'
    )
  if match is None:
    where = source_info_util.summarize(equation.eqn.source_info) or 'no line'
    raise ValueError(
      f'{what} have no rule for the primitive {own!r} ({part or "unknown"}) at '
      f'{where}: {_remedy(equation, remedies)}use a method of forward calls '
      '(occlusion, shapley, leg), or explain what comes after it by '
      f'transforms.at_tap; a table of rules of your own takes one under {own!r}'
    )
  return match


def _remedy(equation, remedies):
  """Returns what helps first where an equation has no rule."""
  eqn = equation.eqn
  own, known = name(eqn), facts(eqn)
  first = remedies.get(own, remedies.get(role(equation), ''))
  if own == 'scan':
    length = eqn.params['length']
    first = (first or 'scans are not entered').format(length=length)
    return f'a scan of {length} steps: {first}; else '
  if known is not None and known.kind == CONTROL:
    return f'a {own} is not entered; '
  if first:
    return f'{first}; else '
  if known is None:
    return (
      'if it is one of these kinds, say so by saliency_jax.core.primitives.'
      f'register({own!r}, kind), {KINDS}; else '
    )
  return ''


def _contracted(eqn):
  shape = eqn.invars[0].aval.shape
  (axes, _), _ = eqn.params['dimension_numbers']
  return math.prod(shape[i] for i in axes)


def _window(eqn):
  shape = eqn.invars[1].aval.shape
  return math.prod(shape) // shape[eqn.params['dimension_numbers'].rhs_spec[0]]


def _reduced(eqn):
  return math.prod(eqn.invars[0].aval.shape[i] for i in eqn.params['axes'])


register(
  'broadcast_in_dim concatenate convert_element_type copy device_put name '
  'optimization_barrier pad reshape rev slice split squeeze stack transpose '
  'unstack',
  MOVES,
)
register('dynamic_slice gather', MOVES, data=slice(0, 1))
register('dynamic_update_slice', MOVES, data=slice(0, 2))
register('select_n', MOVES, data=slice(1, None))
register('add add_any neg sub', SUMS)
register('reduce_sum', SUMS, num_terms=_reduced)
register(
  'reduce_window_sum',
  SUMS,
  num_terms=lambda eqn: math.prod(eqn.params['window_dimensions']),
)
register(
  'cumsum',
  SUMS,
  num_terms=lambda eqn: eqn.invars[0].aval.shape[eqn.params['axis']],
)
register('mul', PRODUCTS)
register('dot_general', PRODUCTS, num_terms=_contracted)
register('conv_general_dilated', PRODUCTS, num_terms=_window)
register('div', QUOTIENTS)
register(
  'clamp cummax cummin max min reduce_max reduce_min reduce_window_max '
  'reduce_window_min',
  INCREASING,
)
register(
  'abs acos acosh asin asinh atan atan2 atanh cbrt cos cosh digamma erf '
  'erf_inv erfc exp exp2 expm1 integer_pow lgamma log log1p logistic pow rsqrt '
  'sin sinh sqrt square tan tanh',
  ELEMENTARY,
)
register(
  'and argmax argmin ceil eq floor ge gt is_finite le lt ne not or round sign '
  'stop_gradient xor',
  STEPS,
)
register('checkpoint jit remat2', CALLS, body='jaxpr')
register('closed_call', CALLS, body='call_jaxpr')
register('custom_jvp_call custom_vjp_call', CUSTOM, body='call_jaxpr')
register('cond scan while', CONTROL)
