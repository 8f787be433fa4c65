"""What methods take as an example: arrays of any kind, or floats alone.

A photo divided by 255 in numpy is float64, a row of scikit-learn's too, and
JAX takes both as float32; a method does the same with its first line.
"""

from typing import Any

import jax
import jax.numpy as jnp

from saliency_jax.core import types


def arrays(x: Any) -> types.Example:
  """Returns an example as JAX's arrays: what methods of forward calls take.

  Raises:
    ValueError: for complex numbers, text or objects.
  """
  return jax.tree.map(_array, x)


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
        'by x.astype("float32") / 255 for pixels of 0 to 255'
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


def _array(leaf):
  try:
    value = jnp.asarray(leaf)
  except (TypeError, ValueError) as e:
    raise ValueError(f'expected an example of numbers, got {leaf!r:.80}') from e
  if jnp.issubdtype(value.dtype, jnp.complexfloating):
    raise ValueError(f'expected an example of real numbers, got {value.dtype}')
  return value
