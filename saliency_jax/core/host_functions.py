"""Functions of the host, called with batches: what they take and return.

Of `y = f(x)`, with `J` its Jacobian and `H_u` the Hessian of `u'y`, the host
may have four functions: `predict` is `y`, `gradient` is `J' u`, `hvp` is
`H_u v`, `jvp` is `J v`. Where `y` is one number `u` is 1, and left out.
Primitives are made of them in `callbacks.py`.
"""

from collections.abc import Callable, Sequence
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_FORWARD = 'occlusion, rise, leg, shapley, kernel_shap, lime'
_MISSING = {
  'gradient': (
    'a black box has no gradient: pass from_host(predict, gradient=...), or '
    f'use a method of forward calls only ({_FORWARD})'
  ),
  'hvp': (
    'a black box has no second derivatives: pass from_host(predict, '
    'gradient=..., hvp=...), or take a method of first order, such as cafo '
    'for caso'
  ),
  'jvp': (
    'a black box of several outputs has no derivative forwards: pass '
    'from_host(..., jvp=...), or make it one number, output_shape=()'
  ),
}


class Functions(NamedTuple):
  """What the host computes of batches; `None` for what it does not.

  Attributes:
    predict: `x -> y`.
    gradient: `x, u -> J' u`.
    hvp: `x, u, v -> H_u v`.
    jvp: `x, v -> J v`.
  """

  predict: Callable[..., Any]
  gradient: Callable[..., Any] | None = None
  hvp: Callable[..., Any] | None = None
  jvp: Callable[..., Any] | None = None

  def __repr__(self):  # A jaxpr shows it, and a module of torch is long.
    name = getattr(self.predict, '__name__', type(self.predict).__name__)
    return f'Functions({name})'


class Host(NamedTuple):
  """Functions of the host, for examples of one kind.

  Attributes:
    functions: of batches.
    shape: of the output for one example; `()` for one number.
    dtype: in which the program has the output.
    tree: how an example is made of arrays.
  """

  functions: Functions
  shape: tuple[int, ...]
  dtype: Any
  tree: Any


class Operands(NamedTuple):
  """What a function reads: arrays, of which only floats have vectors."""

  x: Sequence[Any]
  cotangents: Sequence[Any]
  vectors: Sequence[Any]


def require(host: Host, name: str) -> None:
  """Raises a `ValueError` for a function that the host does not have."""
  if getattr(host.functions, name) is None:
    raise ValueError(_MISSING[name])


def parts(host: Host, name: str, operands: Sequence[Any]) -> Operands:
  """Returns the operands of the function `name` apart."""
  num = host.tree.num_leaves
  end = num + (host.shape != () and name in ('gradient', 'hvp'))
  return Operands(operands[:num], operands[num:end], operands[end:])


def results(
  host: Host, name: str, operands: Sequence[Any], lead: int
) -> list[jax.ShapeDtypeStruct]:
  """Returns what the function `name` returns, by shapes and dtypes.

  Args:
    host: whose function it is.
    name: of the function.
    operands: with `lead` axes of a batch each.
    lead: number of these axes.
  """
  x = parts(host, name, operands).x
  if name in ('predict', 'jvp'):
    shape = x[0].shape[:lead] + host.shape
    return [jax.ShapeDtypeStruct(shape, host.dtype)]
  return [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in x if is_float(a)]


def run(
  host: Host, name: str, operands: Sequence[Any], lead: int
) -> list[np.ndarray]:
  """Calls the function `name` with a batch that is its own.

  Args:
    host: whose function it is.
    name: of the function.
    operands: with `lead` axes of a batch each.
    lead: number of these axes, which are one for the function.

  Returns:
    Arrays shaped as `results` has them, in any dtype of real numbers.

  Raises:
    ValueError: if the function returns anything else.
  """
  lengths = operands[0].shape[:lead]
  n = math.prod(lengths)
  # The program's memory, which it reuses, is not handed out: hence the copies.
  arrays = [np.array(a).reshape((n, *a.shape[lead:])) for a in operands]
  given = parts(host, name, arrays)
  floating = [is_float(a) for a in given.x]
  shapes = [a.shape for a in given.x]
  args = [host.tree.unflatten(given.x), *given.cotangents]
  if given.vectors:
    vectors = iter(given.vectors)
    filled = [
      next(vectors) if floats else np.zeros(a.shape, np.float32)
      for a, floats in zip(given.x, floating, strict=True)
    ]
    args.append(host.tree.unflatten(filled))
  result = getattr(host.functions, name)(*args)
  who = 'the black box' + f"'s {name}" * (name != 'predict')
  got = f'{who} got a batch {host.tree.unflatten(shapes)} and returned'
  if name in ('predict', 'jvp'):
    found, wanted = [result], [(n, *host.shape)]
  else:
    found = _leaves(host.tree, result, got)
    found = [r for r, floats in zip(found, floating, strict=True) if floats]
    wanted = [s for s, floats in zip(shapes, floating, strict=True) if floats]
  return [
    _checked(r, s, got).reshape((*lengths, *s[1:]))
    for r, s in zip(found, wanted, strict=True)
  ]


def is_float(a: Any) -> bool:
  """Returns whether an array holds floats, which have derivatives."""
  return jnp.issubdtype(a.dtype, jnp.floating)


def _leaves(tree, result, got):
  try:
    return tree.flatten_up_to(result)
  except ValueError as e:
    raise ValueError(
      f'{got} {type(result).__name__}, expected the same structure: {e}'
    ) from e


def _checked(result, expected, got):
  result = np.asarray(result)
  if result.shape != expected:
    raise ValueError(f'{got} {result.shape}, expected {expected}')
  kinds = (jnp.floating, jnp.integer, jnp.bool_)
  if not any(jnp.issubdtype(result.dtype, kind) for kind in kinds):
    raise ValueError(
      f'the black box returned {result.dtype}, expected real numbers'
    )
  return result
