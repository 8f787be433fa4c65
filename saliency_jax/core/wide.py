"""The equations of a function in double precision, whatever its own.

A bound that sums 20,000 numbers of float32 has to allow for more rounding than
it has room for. So bounds are computed in float64, of the function whose
parameters are the numbers that they are and whose arithmetic is exact:

    closed = wide.equations(fn, x)
    with wide.precision():
      y = jaxprs.evaluate(closed, x.astype(jnp.float64))

What depends on no input is taken as the function computes it. JAX computes in
float64 only where it is told to: everything that is made of wide numbers, their
derivatives too, has to happen within `precision()`, and what leaves it has to
be narrowed before, outward (`outward`). A loop that holds some of it cannot be
batched later, outside of `precision()`: JAX then warns that float64 is not
available and refuses the dtypes. So use `vmap(f)` or `lax.map(vmap(f), ...)`,
and not `vmap` of a `lax.map`, or enable x64.
"""

from collections.abc import Callable
import contextlib
from typing import Any

import jax
from jax.extend import core
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.core import jaxprs
from saliency_jax.core import rounding
from saliency_jax.core import tapes

# Parameters that name the dtype of an equation's output.
_DTYPES = ('new_dtype', 'preferred_element_type')


def precision() -> contextlib.AbstractContextManager[Any]:
  """Returns the context in which JAX computes in float64."""
  return jax.enable_x64(True)


def equations(
  fn: Callable[[Float[Array, '...']], Any], x: Float[Array, '...']
) -> core.ClosedJaxpr:
  """Returns the equations of a function of one array, without calls, wide.

  Args:
    fn: one array in; traced outside of `precision()`, so that it makes arrays
      of the dtypes that it always makes.
    x: like its argument.
  """
  return widened(jaxprs.inline(jax.make_jaxpr(fn)(x)))


def widened(closed: core.ClosedJaxpr) -> core.ClosedJaxpr:
  """Returns equations without calls in float64, where an input moves them."""
  moving = tapes.moving(closed, constant=())

  def rule(eqn, *args):
    if not moving.intersection(jaxprs.variables(eqn.invars)):
      return jaxprs.bind(eqn, *args)
    params = {
      name: jnp.dtype(jnp.float64)
      if name in _DTYPES and value is not None and _is_float(value)
      else value
      for name, value in eqn.params.items()
    }
    return jaxprs.bind(eqn.replace(params=params), *map(_wide, args))

  with precision():
    wide = [
      jax.ShapeDtypeStruct(a.shape, jnp.float64) if _is_float(a.dtype) else a
      for a in closed.in_avals
    ]
    return jax.make_jaxpr(
      lambda *args: jaxprs.evaluate(closed, *args, rule=rule)
    )(*wide)


def outward(box: rounding.Interval, dtype: Any) -> rounding.Interval:
  """Returns an interval of another dtype that holds a wide one."""
  info = jnp.finfo(dtype)
  if info.bits >= jnp.finfo(box.low.dtype).bits:
    return rounding.Interval(*(a.astype(dtype) for a in box))
  return rounding.rounded(rounding.Interval(*(a.astype(dtype) for a in box)), 1)


def _wide(a):
  a = jnp.asarray(a)
  return a.astype(jnp.float64) if _is_float(a.dtype) else a


def _is_float(dtype):
  return jnp.issubdtype(dtype, jnp.floating)
