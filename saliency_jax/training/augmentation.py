"""Random crops and reflections of an image before its loss is taken.

References:
  Krizhevsky, Sutskever and Hinton, ImageNet classification with deep
  convolutional neural networks, 2012. https://doi.org/10.1145/3065386
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.training import losses


def crop_and_flip(loss: losses.Loss, *, pad: int = 4) -> losses.Loss:
  """Returns the loss at an image that was moved and, half the time, reflected.

  Args:
    loss: of one example.
    pad: the most pixels by which it is moved, down or up and across; zeros
      take the place of what leaves.
  """
  checks.count('pad', pad, 0)

  def augmented(
    apply: types.Apply,
    params: Any,
    x: Float[Array, 'H W C'],
    label: Int[Array, ''],
    key: Key[Array, ''],
  ) -> losses.Terms:
    flip_key, crop_key = (sampling.draw_key(key, i) for i in range(2))
    loss_key = sampling.key_for(key, sampling.LOSS, 2)
    x = jnp.where(jax.random.bernoulli(flip_key), x[:, ::-1], x)
    starts = jax.random.randint(crop_key, (2,), 0, 2 * pad + 1)
    padded = jnp.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    zero = jnp.zeros((), starts.dtype)
    x = jax.lax.dynamic_slice(padded, (*starts, zero), x.shape)
    return loss(apply, params, x, label, loss_key)

  return augmented
