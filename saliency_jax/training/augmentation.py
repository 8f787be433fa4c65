"""Random changes of an example before its loss is taken: `(x, key) -> x`.

References:
  Krizhevsky, Sutskever and Hinton, ImageNet classification with deep
  convolutional neural networks, 2012. https://doi.org/10.1145/3065386
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from typing_extensions import TypeAliasType

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import types

# `(x, key) -> x`, with all settings bound.
Augment = TypeAliasType(
  'Augment', Callable[[types.Example, Key[Array, '']], types.Example]
)


def crop_and_flip(
  x: Float[Array, 'H W C'], key: Key[Array, ''], *, pad: int = 4
) -> Float[Array, 'H W C']:
  """Returns an image that was moved and, half the time, reflected.

  Args:
    x: the image.
    key: consumed.
    pad: the most pixels by which it is moved, down or up and across; zeros
      take the place of what leaves.
  """
  checks.count('pad', pad, 0)
  flip_key, crop_key = (sampling.draw_key(key, i) for i in range(2))
  x = jnp.where(jax.random.bernoulli(flip_key), x[:, ::-1], x)
  starts = jax.random.randint(crop_key, (2,), 0, 2 * pad + 1)
  padded = jnp.pad(x, ((pad, pad), (pad, pad), (0, 0)))
  zero = jnp.zeros((), starts.dtype)
  return jax.lax.dynamic_slice(padded, (*starts, zero), x.shape)


def add_noise(
  x: types.Example, key: Key[Array, ''], *, sigma: types.Scalar
) -> types.Example:
  """Returns an example with normal noise: training for smoothed classifiers.

  Args:
    x: the example.
    key: consumed.
    sigma: deviation of the noise, in units of `x`.
  """
  checks.within('sigma', sigma, '[0, inf)')
  noise = sampling.normal(sampling.draw_key(key, 0), x)
  return jax.tree.map(
    lambda a, z: a + jnp.asarray(sigma, a.dtype) * z, x, noise
  )


def applied(
  augment: Augment,
  xs: types.Example,
  keys: Key[Array, 'n'],
) -> types.Example:
  """Returns a batch whose examples were changed, each by its own key."""
  own = lambda key: sampling.key_for(key, sampling.AUGMENTATION)
  return jax.vmap(lambda x, key: augment(x, own(key)))(xs, keys)
