"""What methods take as an example, and in which dtype they compute.

A photo divided by 255 in numpy is float64, a row of scikit-learn's too, and
JAX takes both as float32; a method does the same with its first line, `arrays`
where it only calls its function, `floats` where it differentiates it.

Only the function that is explained sees the dtype of the example. Blends, sums
and solvers are in float32 at least: `widened`. Scores come back in the dtype of
the example (float32 for integers), `info` stays in float32 at least.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from saliency_jax.core import types


def arrays(x: Any) -> types.Example:
  """Returns an example as JAX's arrays: what methods of forward calls take.

  Raises:
    ValueError: for complex numbers, text or objects.
  """
  return jax.tree.map(_array, x)


def one_array(where: str, x: Any) -> Array:
  """Returns an example that is one array, as JAX's.

  Args:
    where: what takes no other, for the message.
    x: the example.

  Raises:
    ValueError: for a tree of arrays, and as `arrays`.
  """
  x = arrays(x)
  if not isinstance(x, jax.Array):
    raise ValueError(
      f'{where} takes one array, got a tree {jax.tree.structure(x)}: '
      'maskers.leaves takes its arrays for players; a list of numbers is a '
      'tree too, and jnp.asarray(x) one array'
    )
  return x


def floats(x: Any) -> types.Example:
  """Returns an example as JAX's arrays of floats: what can be differentiated.

  Raises:
    ValueError: for anything but floats, with the cast that is missing.
  """
  x = arrays(x)
  for leaf in jax.tree.leaves(x):
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
      raise ValueError(
        f'expected an example of floats, got {leaf.dtype}: cast it, such as '
        'by x.astype("float32") / 255 for pixels of 0 to 255; tokens are '
        'explained at their embeddings, by transforms.at_tap(method, '
        '"embeddings"), or by methods of forward calls'
      )
  return x


def result_dtype(x: types.Example) -> Any:
  """Returns the dtype of what is computed of an example.

  That is the dtype of its floats, and float32 where it has none.
  """
  kinds = [
    leaf.dtype
    for leaf in jax.tree.leaves(x)
    if jnp.issubdtype(leaf.dtype, jnp.floating)
  ]
  with jax.numpy_dtype_promotion('standard'):
    return jnp.result_type(*kinds) if kinds else jnp.dtype(jnp.float32)


def accumulator(dtype: Any) -> Any:
  """Returns the dtype in which values are summed: float32 at least."""
  with jax.numpy_dtype_promotion('standard'):
    return jnp.promote_types(dtype, jnp.float32)


def wide(x: Any) -> Any:
  """Returns arrays in the dtype that methods compute in: float32 at least.

  Integers are exact there up to 2**24.
  """
  return jax.tree.map(lambda a: a.astype(accumulator(a.dtype)), x)


def like(values: Any, x: Any) -> Any:
  """Returns wide values in the dtypes of `x`, those without halves rounded."""

  def narrow(value, leaf):
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
      value = jnp.round(value)
    return value.astype(leaf.dtype)

  return jax.tree.map(narrow, values, x)


def widened(
  fn: Callable[[types.Example], Any], x: types.Example
) -> tuple[Callable[[types.Example], Any], types.Example]:
  """Returns a function and its example in the dtype that methods compute in.

  Args:
    fn: one example in, numbers out.
    x: the example, of JAX's arrays.

  Returns:
    The function of a wide example, which hands `fn` the dtype of `x` and makes
    floats that come back wide; and `x`, wide.
  """
  dtype = accumulator(result_dtype(x))

  def widen(out):
    out = jnp.asarray(out)
    return out.astype(dtype) if jnp.issubdtype(out.dtype, jnp.floating) else out

  return lambda point: jax.tree.map(widen, fn(like(point, x))), wide(x)


def attribution(x: types.Example, scores: Any, info: Any) -> types.Attribution:
  """Returns a map whose scores have the dtype of the example's floats.

  Args:
    x: the example as the method got it.
    scores: of the method: like `x`, or one array.
    info: of the method, as it was computed.
  """
  if jax.tree.structure(scores) == jax.tree.structure(x):
    dtypes = jax.tree.map(result_dtype, x)
  else:
    dtypes = jax.tree.map(lambda _: result_dtype(x), scores)
  scores = jax.tree.map(lambda s, dtype: s.astype(dtype), scores, dtypes)
  return types.Attribution(scores, info)


def _array(leaf):
  try:
    value = jnp.asarray(leaf)
  except (TypeError, ValueError) as e:
    raise ValueError(f'expected an example of numbers, got {leaf!r:.80}') from e
  if jnp.issubdtype(value.dtype, jnp.complexfloating):
    raise ValueError(f'expected an example of real numbers, got {value.dtype}')
  return value
