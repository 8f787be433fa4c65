"""Linear bounds of a function over a box: CROWN, on its jaxpr.

    A_low x + b_low <= fn(x) <= A_high x + b_high   for all x in the box

A walk back over the equations (`tapes.walk`) hands rows of coefficients from
the outputs to the inputs, by the table `RULES`: affine equations
by their transposes, element-wise functions by lines below and above them,
products of two factors by planes. What has no rule there ends in the interval
of its values, so that every function that `intervals` bounds has linear bounds,
too. Intervals of intermediate values are those of `intervals`, or, tighter and
much more work, ends of linear bounds of their own (`tighten`).

The bounds hold in real arithmetic, of the function whose parameters are the
numbers that they are, and whatever depends on no input is as the function
computes it: a network evaluated in float32, and more so in bfloat16 or TF32,
differs from it by its own rounding, which is not bounded here. The bounds' own
rounding is. They are computed in float64 (`wide`), and at each equation

    <c, F(u)> >= <given, u> + offset - n eps <|c|, size(u)>

for the coefficients as computed: each is a sum of at most `n` products, in any
order, so that its error is at most `n eps / 2` times the sum of their sizes,
and an error `e` of a coefficient moves the bound by at most `|e| max |u|`. All
these together are at most `n eps / 2` times the outputs' own coefficients by
size, times `size(u)`, the terms of `F` by size at the largest inputs. Sums of
several coefficients of one value, one of each equation that reads it, count the
same way: `n` includes the number of equations. The other half of `n eps` is for
the rounding of the bound on the rounding.

References:
  Zhang, Weng, Chen, Hsieh and Daniel, Efficient neural network robustness
  certification with general activation functions, 2018.
  https://arxiv.org/abs/1811.00866
  Xu et al., Automatic perturbation analysis for scalable certified robustness
  and beyond, 2020. https://arxiv.org/abs/2002.12920
"""

from collections.abc import Callable, Mapping
import math
import types
from typing import NamedTuple

from jax.extend import core
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.core import activations
from saliency_jax.core import bending
from saliency_jax.core import interval_rules
from saliency_jax.core import intervals
from saliency_jax.core import linear_largest
from saliency_jax.core import linear_rules
from saliency_jax.core import linear_softmax
from saliency_jax.core import linear_steps
from saliency_jax.core import primitives
from saliency_jax.core import relaxations
from saliency_jax.core import rounding
from saliency_jax.core import sampling
from saliency_jax.core import tapes
from saliency_jax.core import units
from saliency_jax.core import wide

Interval = rounding.Interval

# By the names of primitives, and by roles; what is not here is not followed.
RULES = {**linear_rules.RULES, **linear_largest.RULES, **linear_softmax.RULES}


class Below(NamedTuple):
  """Functions of the input that are no larger than rows of the outputs.

  Attributes:
    slope: `[k, ...]`.
    offset: `[k]`, rounded down.
  """

  slope: Float[Array, 'k ...']
  offset: Float[Array, 'k']


class Traced(NamedTuple):
  """A function, made ready for bounds over any box.

  Attributes:
    closed: its equations in float64.
    curves: what its activations are, by what they make.
  """

  closed: core.ClosedJaxpr
  curves: Mapping[core.Var, bending.Curve]


def trace(
  fn: Callable[[Float[Array, '...']], Float[Array, '...']],
  x: Float[Array, '...'],
) -> Traced:
  """Reads a function of one array, outside of `wide.precision()`.

  Raises:
    ValueError: unless it has one output.
  """
  closed = wide.equations(fn, x)
  if len(closed.jaxpr.outvars) != 1:
    raise ValueError(f'expected one output, got {len(closed.jaxpr.outvars)}')
  return Traced(*activations.recognised(closed, x.dtype))


def record(
  traced: Traced,
  box: Interval,
  *,
  tighten: int = 0,
  batch_size: int | None = 64,
) -> tapes.Tape:
  """Bounds every value of a function, in `wide.precision()`.

  Args:
    traced: the function.
    box: of its argument.
    tighten: what goes into a function that is not affine gets linear bounds of
      its own, if it has at most so many entries; all else gets intervals.
    batch_size: such entries bounded at once.
  """
  unit = lambda equation, *boxes: _unit(traced.curves, equation, *boxes)
  rules = {
    **interval_rules.RULES,
    units.ACTIVATION: unit,
    units.SOFTMAX: unit,
  }

  def look(tape, equation):
    moved = [
      v
      for v, moves in zip(equation.eqn.invars, equation.moving, strict=True)
      if moves and primitives.is_float(v) and v.aval.size <= tighten
    ]
    if not primitives.is_affine(equation):
      for v in set(moved) - set(tape.closed.jaxpr.invars) - seen:
        tape.values[v] = _tightened(traced, tape, v, batch_size)
        seen.add(v)

  seen = set()
  return intervals.tape(
    traced.closed, box, rules=rules, look=look if tighten else None
  )


def _tightened(traced, tape, v, batch_size):
  """Returns the interval of a value, its ends by linear bounds of their own."""
  (box,) = (tape.values[i] for i in tape.closed.jaxpr.invars)
  own, shape = tape.values[v], v.aval.shape

  def ends(i):
    row = jnp.arange(own.low.size) == i
    row = row.reshape(1, *shape).astype(own.low.dtype)
    rows = jnp.concatenate([row, -row])
    return least(below(traced, tape, rows, of=v), box)

  entries = jnp.arange(own.low.size)
  found = sampling.batched_map(ends, entries, batch_size=batch_size)
  low, high = found[:, 0].reshape(shape), -found[:, 1].reshape(shape)
  return Interval(jnp.fmax(own.low, low), jnp.fmin(own.high, high))


def _unit(curves, equation, *boxes):
  """The interval of an activation or a softmax that is one equation."""
  inputs = [
    box if moves else box.low
    for box, moves in zip(boxes, equation.moving, strict=True)
  ]
  if sum(equation.moving) == 1:
    if equation.eqn.primitive.name == units.SOFTMAX:
      box = inputs[equation.moving.index(True)]
      return linear_softmax.interval(equation, box)
    found = linear_rules.relaxed(equation, inputs, curves)
    if found is not None:
      return relaxations.interval(found.grid)
  body = equation.eqn.params['jaxpr']
  tape = intervals.tape(body, *inputs)
  return tapes.read(tape, body.jaxpr.outvars)


def below(
  traced: Traced,
  tape: tapes.Tape,
  rows: Float[Array, 'k ...'],
  *,
  of: core.Var | None = None,
  mixes: Mapping[core.Var, Array] = types.MappingProxyType({}),
) -> Below:
  """Returns linear functions below rows of the outputs.

  Args:
    traced: the function.
    tape: the intervals of its values.
    rows: coefficients of the outputs; their negatives for what is above.
    of: another value than the output.
    mixes: slopes of activations, by what they make; others are chosen.
  """
  settings = linear_steps.Settings(traced.curves, mixes)
  offsets, slacks = [jnp.zeros(len(rows), rows.dtype)], []
  num_eqns = len(tape.closed.jaxpr.eqns)

  def rule(equation, inputs, outputs, relevance):
    cs = [
      _rows(c, v, len(rows))
      for c, v in zip(relevance, equation.eqn.outvars, strict=True)
    ]
    step = _rule(equation)(equation, inputs, outputs, cs, settings)
    offsets.append(step.offset)
    slacks.append(_slack(equation, cs, step.sizes, num_eqns))
    return step.given

  (x,) = tape.closed.jaxpr.invars
  if of is None:
    (of,) = tape.closed.jaxpr.outvars
  if isinstance(of, core.Literal) or of not in tape.moving:
    (value,) = tapes.read(tape, [of])
    slope = jnp.zeros((len(rows), *x.aval.shape), rows.dtype)
    return Below(slope, linear_steps.dot(rows, jnp.asarray(value, rows.dtype)))
  found = tapes.walk(tape, [(of, rows)], rule)
  slope = _rows(tapes.at(found, x), x, len(rows))
  offset = sum(offsets)
  eps = float(jnp.finfo(rows.dtype).eps)
  size = sum(jnp.abs(o) for o in offsets)
  slack = sum(slacks) + len(offsets) * eps * size
  return Below(slope, offset - slack)


def _rule(equation):
  name = primitives.name(equation.eqn)
  role = primitives.role(equation)
  return RULES.get(name, RULES.get(role, linear_steps.constant))


def _rows(c, v, num):
  """Returns coefficients, one row each, of what may have had none."""
  if c is None or c.ndim > len(v.aval.shape):
    return c
  return jnp.broadcast_to(c, (num, *v.aval.shape))


def _slack(equation, cs, sizes, num_eqns):
  """Returns the rounding of one step of the walk."""
  known = primitives.facts(equation.eqn)
  terms = known.num_terms(equation.eqn) if known else 2
  floats = [
    (c, v.aval.size)
    for c, v in zip(cs, equation.eqn.outvars, strict=True)
    if primitives.is_float(v)
  ]
  slack = 0
  for (c, size), sizes_of in zip(floats, sizes, strict=True):
    info = jnp.finfo(c.dtype)
    n = 2 * terms + size + num_eqns + 64
    slack += n * float(info.eps) * linear_steps.dot(jnp.abs(c), sizes_of)
    # Products of what is all but zero may be zero.
    slack += float(info.tiny) ** 0.5
  return slack


def least(found: Below, box: Interval) -> Float[Array, 'k']:
  """Returns the least values of linear functions over a box, rounded down."""
  middle, radius = rounding.split(box)
  low = found.offset + linear_steps.dot(found.slope, middle)
  low -= linear_steps.dot(jnp.abs(found.slope), radius)
  size = jnp.abs(found.offset) + linear_steps.dot(
    jnp.abs(found.slope), jnp.abs(middle) + radius
  )
  eps = float(jnp.finfo(low.dtype).eps)
  return low - (middle.size + 16) * eps * size


def identity(shape: tuple[int, ...]) -> Float[Array, 'k ...']:
  """Returns the rows of every output by itself."""
  rows = jnp.eye(math.prod(shape), dtype=jnp.float64)
  return rows.reshape(-1, *shape)


def choices(traced: Traced, tape: tapes.Tape) -> dict[core.Var, Array]:
  """Returns the slopes that are chosen of every value, as `below` takes them.

  See `relaxations.lines`: of the line below and of the line above, between the
  least that is of use, at 0, and the largest, at 1.
  """
  mixes = {}
  for eqn in tape.closed.jaxpr.eqns:
    known = linear_rules.relaxed(
      tapes.equation(tape, eqn), tapes.read(tape, eqn.invars), traced.curves
    )
    if known is not None:
      mixes[eqn.outvars[0]] = relaxations.mixed(known.grid)
  return mixes


def bounds(
  fn: Callable[[Float[Array, '...']], Float[Array, '...']],
  box: Interval,
  *,
  tighten: int = 0,
) -> Interval:
  """Returns bounds of every output of `fn` over a box, of its dtype.

  Args:
    fn: one array in, one out; of what `intervals` bounds.
    box: the inputs, `low <= high`.
    tighten: see `record`.

  Raises:
    ValueError: for a primitive that has no rule, by its name and place.
  """
  traced = trace(fn, box.low)
  with wide.precision():
    inside = Interval(*(a.astype(jnp.float64) for a in box))
    tape = record(traced, inside, tighten=tighten)
    (out,) = tape.closed.jaxpr.outvars
    rows = identity(out.aval.shape)
    found = below(traced, tape, jnp.concatenate([rows, -rows]))
    ends = least(found, inside).reshape(2, *out.aval.shape)
    own = _wide(intervals.output(tape))
    tight = Interval(jnp.fmax(ends[0], own.low), jnp.fmin(-ends[1], own.high))
    return wide.outward(tight, box.low.dtype)


def _wide(box):
  return Interval(*(jnp.asarray(a, jnp.float64) for a in box))
