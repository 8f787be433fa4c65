"""Activations of several primitives, recognised by their equations.

`jax.nn.silu` is a product of its operand with a sigmoid of it, and the bounds
of a product of two factors know nothing of what they share. So the equations by
which a value depends on another one are compared with the equations of the
known functions, traced alike: the order of factors and of summands does not
matter, nor where a constant is broadcast; a slope such as a leaky ReLU's may be
any. What is not recognised stays the equations that it is.
"""

from collections.abc import Mapping
import functools
from typing import Any

import jax
from jax.extend import core
import jax.numpy as jnp

from saliency_jax.core import bending
from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.core import units
from saliency_jax.core import wide

_OPERAND, _ANY = 'operand', 'any constant'
_EITHER_WAY = ('add', 'max', 'min', 'mul')
_AS_IT_IS = ('broadcast_in_dim', 'copy', 'name', 'reshape', 'squeeze')

# Of one value, with a constant where it takes two; and what curve it is, of
# that constant.
_KNOWN = (
  (lambda z, a: jnp.where(z >= 0, z, a * z), bending.BROKEN),
  (lambda z, a: jnp.where(z > 0, z, a * z), bending.BROKEN),
  (lambda z, a: jnp.where(z < 0, a * z, z), bending.BROKEN),
  (lambda z, a: jnp.where(z <= 0, a * z, z), bending.BROKEN),
  (lambda z, a: jnp.maximum(z, a * z), bending.BROKEN),
  (lambda z: jnp.where(z > 0, z, 0), bending.BROKEN),
  (lambda z: jnp.where(z >= 0, z, 0), bending.BROKEN),
  (lambda z: jnp.where(z < 0, 0, z), bending.BROKEN),
  (lambda z: jnp.where(z <= 0, 0, z), bending.BROKEN),
  (lambda z: z * (z > 0).astype(z.dtype), bending.BROKEN),
  (jax.nn.softplus, bending.SOFTPLUS),
  (jax.nn.hard_tanh, bending.HARD_TANH),
  (jax.nn.hard_silu, bending.HARD_SILU),
  (jax.nn.gelu, bending.GELU),
  (functools.partial(jax.nn.gelu, approximate=False), bending.GELU),
  (jax.nn.mish, bending.MISH),
  (jax.nn.silu, bending.swish(1.0)),
  (lambda z, b: z * jax.nn.sigmoid(b * z), bending.swish),
  (lambda z, a: jax.nn.elu(z, a), bending.elu),
  (lambda z: jax.nn.elu(z), bending.elu(1.0)),
  (lambda z: jax.nn.celu(z, 1.0), bending.elu(1.0)),
)


def recognised(
  closed: core.ClosedJaxpr, dtype: Any
) -> tuple[core.ClosedJaxpr, Mapping[core.Var, bending.Curve]]:
  """Makes one equation of each activation and of each softmax, as in `units`.

  Args:
    closed: equations made by `wide.equations`.
    dtype: of the function's argument, in which its constants were rounded.

  Returns:
    The equations, and the curves of what the activations make.
  """
  moving = tapes.moving(closed, constant=())
  tape = tapes.Tape(closed, {}, moving, None, None)
  makers = {v: eqn for eqn in closed.jaxpr.eqns for v in eqn.outvars}
  eqns, curves = [], {}
  found = units.activations(tape).closed.jaxpr.eqns
  softmaxes = units.softmaxes(tape).closed.jaxpr.eqns
  for own, unit, softmax in zip(
    closed.jaxpr.eqns, found, softmaxes, strict=True
  ):
    curve = None
    if unit.primitive.name == units.ACTIVATION:
      curve = _curve(unit, makers, moving, jnp.dtype(dtype))
    if softmax.primitive.name == units.SOFTMAX:
      eqns.append(softmax)
    elif curve is not None:
      curves[own.outvars[0]] = curve
      eqns.append(unit)
    else:
      eqns.append(own)
  jaxpr = closed.jaxpr.replace(eqns=eqns)
  return core.ClosedJaxpr(jaxpr, closed.consts), curves


def _curve(unit, makers, moving, dtype):
  moved = [v for v in unit.invars if v in moving]
  if len(moved) != 1:
    return None
  found = _tree(unit.outvars[0], moved[0], makers)
  for pattern, curve in _patterns(dtype, jax.config.jax_enable_x64):
    constants = []
    if not _matches(found, pattern, constants):
      continue
    if isinstance(curve, bending.Curve):
      return curve
    if all(isinstance(c, float) for c in constants):
      return curve(*constants[:1])
  return None


@functools.cache
def _patterns(dtype, x64):
  """Returns the known functions' trees, and their curves."""
  # Whether JAX makes float64 by itself decides what it makes of literals.
  with jax.enable_x64(x64):
    z = jax.ShapeDtypeStruct((), dtype)
    found = []
    for fn, curve in _KNOWN:
      takes = fn.__code__.co_argcount if hasattr(fn, '__code__') else 1
      args = [z] * (2 if takes == 2 and fn.__name__ == '<lambda>' else 1)
      with jax.numpy_dtype_promotion('standard'):
        closed = wide.widened(jaxprs.inline(jax.make_jaxpr(fn)(*args)))
      makers = {v: eqn for eqn in closed.jaxpr.eqns for v in eqn.outvars}
      operand, (out,) = closed.jaxpr.invars[0], closed.jaxpr.outvars
      found.append((_tree(out, operand, makers), curve))
  return found


def _tree(v, operand, makers):
  """Returns an expression as nested tuples of names and operands."""
  if v is operand:
    return _OPERAND
  if isinstance(v, core.Literal):
    return float(v.val)
  eqn = makers.get(v)
  if eqn is None:
    return _ANY
  if eqn.primitive.name in _AS_IT_IS or _keeps(eqn):
    return _tree(eqn.invars[0], operand, makers)
  parts = [_tree(u, operand, makers) for u in eqn.invars]
  if all(p == _ANY or isinstance(p, float) for p in parts):
    return _ANY
  return (eqn.primitive.name, eqn.params.get('y'), *parts)


def _keeps(eqn):
  """Returns whether a conversion changes no value."""
  if eqn.primitive.name != 'convert_element_type':
    return False
  (v,), (out,) = eqn.invars, eqn.outvars
  return primitives.is_float(out) and (
    primitives.is_float(v) or v.aval.dtype == bool
  )


def _matches(tree, pattern, constants):
  """Returns whether a tree is as the pattern; appends its own constants."""
  if pattern == _ANY:
    constants.append(tree)
    return tree == _ANY or isinstance(tree, float)
  if not isinstance(pattern, tuple) or not isinstance(tree, tuple):
    return tree == pattern
  if tree[:2] != pattern[:2] or len(tree) != len(pattern):
    return False
  orders = [tree[2:]]
  if tree[0] in _EITHER_WAY:
    orders.append(tree[:1:-1])
  for parts in orders:
    mark = len(constants)
    pairs = zip(parts, pattern[2:], strict=True)
    if all(_matches(t, p, constants) for t, p in pairs):
      return True
    del constants[mark:]
  return False
