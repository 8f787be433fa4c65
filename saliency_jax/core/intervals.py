"""Interval bounds of a function over a box, read off its jaxpr.

    low <= fn(x) <= high   for all   x_low <= x <= x_high

Each equation maps intervals to one that holds all its values: linear ones by
`A m -+ |A| r` from middles and radii, increasing ones by their ends. What
follows the last equations that are not affine is bounded again as one function
`F` with the Jacobian `J`, by `F(m) -+ |J| r`: an affine function has its exact
range, and a difference of two logits is no wider than it is.

Bounds are rounded outward. They hold in real arithmetic, and for `fn` in
floating point with sums in any order and full-precision products: rounding a
sum of `n` terms moves it by at most `n eps / 2` times that of their sizes, and
elementary functions are taken to be right to 8 units in the last place.

References:
  Gowal et al., On the effectiveness of interval bound propagation for training
  verifiably robust models, 2018. https://arxiv.org/abs/1810.12715
  Higham, Accuracy and stability of numerical algorithms, 2002, section 3.1.
"""

from collections.abc import Callable
import math
from typing import Any

import jax
from jax.extend import core
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.core import interval_rules
from saliency_jax.core import jaxprs

Interval = interval_rules.Interval

_HIGHEST = jax.lax.Precision.HIGHEST

# Affine, and exact; all operands but the values that move are constants.
_MOVES = frozenset(
  'broadcast_in_dim concatenate copy dynamic_slice expand_dims gather name '
  'optimization_barrier pad reshape rev select_n slice split squeeze stack '
  'transpose unstack'.split()
)
# Increasing in every operand, and exact.
_INCREASING = frozenset(
  'clamp cummax cummin max min reduce_max reduce_min reduce_window_max '
  'reduce_window_min'.split()
)
_ELEMENTARY = frozenset(
  'cbrt erf exp exp2 expm1 log log1p logistic sqrt tanh'.split()
)
_SUMS = frozenset('add add_any cumsum reduce_sum reduce_window_sum'.split())
# Bilinear; those of `models.convolutions` are known by their names.
_PRODUCTS = frozenset(
  'conv_general_dilated dense_conv_conv depthwise_conv_conv dot_general'.split()
)
# Calls whose derivative rules do not matter here.
_CALLS = ('custom_jvp_call', 'custom_vjp_call')


def bounds(
  fn: Callable[[Float[Array, '...']], Float[Array, '...']], box: Interval
) -> Interval:
  """Returns bounds of every output of `fn` over a box of inputs.

  Args:
    fn: one array in, one out: of dense layers, convolutions, pools, the usual
      activations and norms, comparisons, sums and products.
    box: the inputs, `low <= high`.

  Raises:
    ValueError: for a primitive that has no rule, by its name.
  """
  closed = _inlined(fn, box.low)
  jaxpr = closed.jaxpr
  env = dict(zip(jaxpr.constvars, closed.consts, strict=True))
  env[jaxpr.invars[0]] = box

  def read(v):
    if isinstance(v, core.Literal):
      return jnp.asarray(v.val, v.aval.dtype)
    return env[v]

  for eqn in jaxpr.eqns:
    args = [read(v) for v in eqn.invars]
    moving = [isinstance(a, Interval) for a in args]
    outs = _intervals(eqn, args, moving) if any(moving) else _bind(eqn, *args)
    env.update(zip(eqn.outvars, outs, strict=True))
  out = read(jaxpr.outvars[0])
  if not isinstance(out, Interval):
    return Interval(out, out)
  tail = _tail(jaxpr, env)
  # Infinite ends have no middle: they make the tail NaN.
  return Interval(jnp.fmax(out.low, tail.low), jnp.fmin(out.high, tail.high))


def _inlined(fn, x):
  """Returns the jaxpr of `fn` without calls."""

  def rule(eqn, *args):
    inner = jaxprs.wrapped(eqn)
    if inner is None and eqn.primitive.name in _CALLS:
      inner = eqn.params['call_jaxpr']
    if inner is None:
      return jaxprs.bind(eqn, *args)
    return jaxprs.evaluate(inner, *args, rule=rule)

  closed = jax.make_jaxpr(fn)(x)
  if len(closed.out_avals) != 1:
    raise ValueError(f'expected one output, got {len(closed.out_avals)}')
  return jax.make_jaxpr(lambda x: jaxprs.evaluate(closed, x, rule=rule))(x)


def _intervals(eqn, args, moving):
  """Returns the intervals of an equation's outputs."""
  name = eqn.primitive.name
  ends = [a if m else Interval(a, a) for a, m in zip(args, moving, strict=True)]
  low, high = ([getattr(e, side) for e in ends] for side in Interval._fields)
  if name in _MOVES and _is_affine(eqn, moving) or name in _INCREASING:
    return _zip(_bind(eqn, *low), _bind(eqn, *high))
  if name in _ELEMENTARY:
    pairs = _zip(_bind(eqn, *low), _bind(eqn, *high))
    return [
      interval_rules.rounded(p, interval_rules.ELEMENTARY_UNITS) for p in pairs
    ]
  if name in _SUMS:
    sizes = [jnp.maximum(jnp.abs(e.low), jnp.abs(e.high)) for e in ends]
    (a,), (b,) = (_bind(eqn, *v) for v in (low, high))
    (size,) = _bind_sizes(eqn, *sizes)
    return [_widened(a, b, _num_terms(eqn), size)]
  if name in _PRODUCTS and _is_affine(eqn, moving):
    return [_product(eqn, args, moving)]
  if name == 'convert_element_type' and _is_affine(eqn, moving):
    return [
      interval_rules.rounded(
        Interval(_bind(eqn, *low)[0], _bind(eqn, *high)[0]), 2
      )
    ]
  rule = interval_rules.RULES.get(name)
  if rule is None:
    raise ValueError(
      f'interval bounds have no rule for the primitive {name!r}'
      + (' of these operands' if name in _MOVES | _PRODUCTS else '')
    )
  return [rule(eqn, *ends)]


def _product(eqn, args, moving):
  """Bounds a product with a constant: a dense layer, a convolution."""
  middle, radius = _split(args[moving.index(True)])
  constant = args[moving.index(False)]

  def product(value, constant):
    pair = [value, constant] if moving[0] else [constant, value]
    return _bind(eqn, *pair)[0]

  center = product(middle, constant)
  spread = product(radius, jnp.abs(constant))
  size = product(jnp.abs(middle), jnp.abs(constant)) + spread
  return _widened(center - spread, center + spread, _num_terms(eqn), size)


def _tail(jaxpr, env):
  """Bounds the output as an affine function of what it is affine in."""

  def moves(v):
    return not isinstance(v, core.Literal) and isinstance(env[v], Interval)

  needed, eqns = {jaxpr.outvars[0]}, []
  for eqn in reversed(jaxpr.eqns):
    if not needed.isdisjoint(eqn.outvars):
      moving = [moves(v) for v in eqn.invars]
      if _is_affine(eqn, moving):
        eqns.insert(0, eqn)
        needed.update(v for v in eqn.invars if moves(v))
  made = {v for eqn in eqns for v in eqn.outvars}
  basis = [v for v in env if v in needed and v not in made]
  middle, radius = zip(*(_split(env[v]) for v in basis), strict=True)

  def value(points, bind=_bind, of_constant=lambda a: a):
    own = dict(zip(basis, points, strict=True))

    def read(v):
      if isinstance(v, core.Literal):
        return of_constant(jnp.asarray(v.val, v.aval.dtype))
      return own[v] if v in own else of_constant(env[v])

    for eqn in eqns:
      own.update(
        zip(eqn.outvars, bind(eqn, *map(read, eqn.invars)), strict=True)
      )
    return own[jaxpr.outvars[0]]

  center, pullback = jax.vjp(value, middle)
  rows = jnp.eye(center.size, dtype=center.dtype).reshape(-1, *center.shape)
  (jacobian,) = jax.vmap(pullback)(rows)
  spread = sum(
    jnp.matmul(
      jnp.abs(j).reshape(center.size, -1), r.ravel(), precision=_HIGHEST
    )
    for j, r in zip(jacobian, radius, strict=True)
  ).reshape(center.shape)
  sizes = [jnp.abs(m) + r for m, r in zip(middle, radius, strict=True)]
  size = value(sizes, _bind_sizes, _size_of)
  # Sums on the way, ours and that of `fn`; those of the Jacobian, each of which
  # runs over at most the outputs; and the last one, over the basis.
  num_terms = sum(
    2 * _num_terms(e) + max(v.aval.size for v in e.outvars) for e in eqns
  ) + sum(r.size for r in radius)
  return _widened(center - spread, center + spread, num_terms, size)


def _is_affine(eqn, moving):
  """Returns whether an equation is affine in the operands that move."""
  name = eqn.primitive.name
  if name in ('select_n', 'gather', 'dynamic_slice'):
    # A moving predicate is no affine matter; indices are whole, and cannot.
    return not (moving[0] if name == 'select_n' else any(moving[1:]))
  if name == 'convert_element_type':
    kinds = (eqn.invars[0].aval.dtype, eqn.outvars[0].aval.dtype)
    return all(jnp.issubdtype(kind, jnp.floating) for kind in kinds)
  if name in _PRODUCTS or name == 'mul':
    return sum(moving) == 1
  if name == 'div':
    return not moving[1]
  return name in _MOVES | _SUMS | {'neg', 'sub'}


def _num_terms(eqn):
  """Returns how many terms a sum of this equation has, at most."""
  name, shapes = eqn.primitive.name, [v.aval.shape for v in eqn.invars]
  if name == 'dot_general':
    (axes, _), _ = eqn.params['dimension_numbers']
    return math.prod(shapes[0][i] for i in axes)
  if name == 'conv_general_dilated':
    out = eqn.params['dimension_numbers'].rhs_spec[0]
    return math.prod(shapes[1]) // shapes[1][out]
  if name in _PRODUCTS:
    return math.prod(shapes[1][: 2 if name.startswith('depthwise') else 3])
  if name == 'reduce_sum':
    return math.prod(shapes[0][i] for i in eqn.params['axes'])
  if name == 'reduce_window_sum':
    return math.prod(eqn.params['window_dimensions'])
  if name == 'cumsum':
    return shapes[0][eqn.params['axis']]
  return 2


def _bind(eqn, *args):
  """Evaluates an equation, its products in full precision."""
  name = eqn.primitive.name
  if name in ('dot_general', 'conv_general_dilated'):
    params = {**eqn.params, 'precision': (_HIGHEST, _HIGHEST)}
    return jaxprs.bind(eqn.replace(params=params), *args)
  if name in _PRODUCTS:
    x, kernel = args
    groups = x.shape[3] if name.startswith('depthwise') else 1
    return [
      jax.lax.conv_general_dilated(
        x,
        kernel[:, :, None] if kernel.ndim == 3 else kernel,
        eqn.params['strides'],
        eqn.params['padding'],
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=groups,
        precision=_HIGHEST,
      )
    ]
  return jaxprs.bind(eqn, *args)


def _bind_sizes(eqn, *args):
  """Evaluates an affine equation with all its coefficients by size."""
  name = eqn.primitive.name
  if name == 'neg':
    return [args[0]]
  if name == 'sub':
    return [args[0] + args[1]]
  if name in _PRODUCTS:
    return _bind(eqn, *args)
  # Not `jaxprs.bind`, which takes literals, and their signs, from the equation.
  out = eqn.primitive.bind(*args, **eqn.params)
  return out if eqn.primitive.multiple_results else [out]


def _size_of(a):
  return jnp.abs(a) if jnp.issubdtype(a.dtype, jnp.floating) else a


def _zip(lows, highs):
  return [Interval(a, b) for a, b in zip(lows, highs, strict=True)]


def _split(box):
  """Returns a middle, and a radius that reaches both ends."""
  info = jnp.finfo(box.low.dtype)
  middle = box.low / 2 + box.high / 2
  radius = jnp.maximum(box.high - middle, middle - box.low)
  return middle, radius * (1 + 2 * float(info.eps)) + float(info.tiny)


def _widened(low: Array, high: Array, num_terms: int, size: Array) -> Interval:
  """Moves both ends outward by the rounding of a sum, and by our own."""
  info = jnp.finfo(low.dtype)
  slack = (num_terms + 4) * float(info.eps) * size + float(info.tiny)
  return Interval(low - slack, high + slack)


def around(x: Float[Array, '...'], widths: Any) -> Interval:
  """Returns the interval that holds `[x - widths, x + widths]`."""
  return interval_rules.rounded(Interval(x - widths, x + widths), 2)
