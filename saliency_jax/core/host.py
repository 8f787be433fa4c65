"""Black boxes: a function of the host, called from inside a program.

One batched call leaves the program for all the examples that `vmap` brings
together, through every level of nesting.
"""

from collections.abc import Callable

import jax
from jax.experimental import buffer_callback
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.core import types


def from_host(
  predict: Callable[[np.ndarray], np.ndarray],
  output_shape: tuple[int, ...] = (),
) -> Callable[[types.Example], Float[Array, '...']]:
  """Returns a function of one example that calls `predict` on the host.

  The result can be passed to any method that asks for scores and no gradients
  (occlusion, RISE, LEG, LIME, Shapley values), jitted, vmapped and sharded.

  Args:
    predict: maps a batch `[n, *x]` to an array `[n, *output_shape]`: a
      scikit-learn model's `predict_proba`, a torch module, a remote service.
    output_shape: shape of the output for one example; `()` for a score,
      `(k,)` for logits.

  Raises:
    ValueError: from inside the program, with the shapes, if `predict` returns
      another shape; while tracing, if a gradient is asked for.
  """
  output_shape = tuple(output_shape)

  def callback(ctx, out, x):
    del ctx
    batch = np.asarray(x)
    lead = np.asarray(out).shape[: np.asarray(out).ndim - len(output_shape)]
    batch = batch.reshape(-1, *batch.shape[len(lead) :])
    result = np.asarray(predict(batch))
    expected = (batch.shape[0], *output_shape)
    if result.shape != expected:
      raise ValueError(
        f'the black box got a batch {batch.shape} and returned {result.shape}, '
        f'expected {expected}'
      )
    np.asarray(out)[...] = result.reshape(np.asarray(out).shape)

  @jax.custom_jvp
  def fn(x):
    shape = jax.ShapeDtypeStruct(output_shape, x.dtype)
    return buffer_callback.buffer_callback(
      callback, shape, vmap_method='broadcast_all'
    )(x)

  @fn.defjvp
  def _(primals, tangents):
    del primals, tangents
    raise ValueError(
      'a black box has no gradient: use a method of forward calls only '
      '(occlusion, rise, leg, lime, shap)'
    )

  return fn
