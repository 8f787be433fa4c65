"""Black boxes: a function of the host, called from inside a program.

One batched call leaves the program for all the examples that `vmap` brings
together, through every level of nesting. Outside of a program the function is
called directly, and its errors are Python's own.
"""

import collections
from collections.abc import Callable, Iterator
import contextlib
from typing import Any

import jax
from jax.experimental import buffer_callback
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.core import examples
from saliency_jax.core import types

# What black boxes raised of late: of a failure a program hands on the text.
_failures: collections.deque[BaseException] = collections.deque(maxlen=8)


def from_host(
  predict: Callable[[np.ndarray], Any],
  output_shape: tuple[int, ...] = (),
) -> Callable[[types.Example], Float[Array, '...']]:
  """Returns a function of one example that calls `predict` on the host.

  The result can be passed to any method that asks for scores and no gradients
  (occlusion, RISE, LEG), jitted, vmapped and sharded. It is floating: of the
  example's dtype, or float32 for whole numbers.

  Args:
    predict: maps a batch `[n, *x]` to real numbers `[n, *output_shape]`: a
      scikit-learn model's `predict_proba`, a torch module, a remote service.
      The batch is its own, to write into or to keep.
    output_shape: shape of the output for one example; `()` for a score,
      `(k,)` for logits.

  Raises:
    ValueError: if `predict` returns another shape, or no real numbers; in the
      user's own jitted program it is the last line of a `JaxRuntimeError`, as
      is whatever `predict` raises. While tracing, if a gradient is asked for.
  """
  output_shape = tuple(output_shape)

  def checked(batch):
    result = np.asarray(predict(batch))
    expected = (batch.shape[0], *output_shape)
    if result.shape != expected:
      raise ValueError(
        f'the black box got a batch {batch.shape} and returned {result.shape}, '
        f'expected {expected}'
      )
    if not _is_real(result.dtype):
      raise ValueError(
        f'the black box returned {result.dtype}, expected real numbers'
      )
    return result

  def callback(ctx, out, x):
    del ctx
    out = np.asarray(out)
    lead = out.ndim - len(output_shape)
    # The program's memory, which it reuses, is not handed out: hence the copy.
    batch = np.asarray(x).copy()
    try:
      result = checked(batch.reshape(-1, *batch.shape[lead:]))
    except BaseException as e:
      _failures.append(e)
      raise
    out[...] = result.reshape(out.shape)

  @jax.custom_jvp
  def fn(x):
    x = jnp.asarray(x)
    dtype = examples.result_dtype(x)
    if not isinstance(x, jax.core.Tracer):
      return jnp.asarray(checked(np.array(x)[None])[0], dtype)
    return buffer_callback.buffer_callback(
      callback,
      jax.ShapeDtypeStruct(output_shape, dtype),
      vmap_method='broadcast_all',
    )(x)

  @fn.defjvp
  def _(primals, tangents):
    del primals, tangents
    raise ValueError(
      'a black box has no gradient: use a method of forward calls only '
      '(occlusion, rise, leg, shapley, kernel_shap, lime)'
    )

  return fn


def failure(error: BaseException) -> BaseException | None:
  """Returns what a black box raised, where a program hands it on as its own."""
  if isinstance(error, jax.errors.JaxRuntimeError):
    for own in reversed(_failures):
      if str(error).endswith(f'{type(own).__name__}: {own}'):
        return own
  return None


@contextlib.contextmanager
def own_errors() -> Iterator[None]:
  """Raises what a black box raised, Ctrl-C too, and not JAX's report of it."""
  try:
    yield
  except jax.errors.JaxRuntimeError as e:
    if own := failure(e):
      raise own from None
    raise


def _is_real(dtype):
  kinds = (jnp.floating, jnp.integer, jnp.bool_)
  return any(jnp.issubdtype(dtype, kind) for kind in kinds)
