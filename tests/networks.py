"""Published networks on smaller images than they were made for.

For tests of what is done with a real network, whatever the size of its images.
"""

import functools
from typing import Any

import jax.numpy as jnp

from saliency_jax import models
from saliency_jax.models import registry
from saliency_jax.models import wrap


@functools.cache
def shrunk(
  name: str,
  size: tuple[int, int] = (64, 64),
  *,
  dtype: Any = jnp.float32,
  **kwargs: Any,
) -> models.Model:
  """Returns a network with its published weights, as `models.load` does.

  Args:
    name: see `models.load`; so are `dtype` and `kwargs`.
    size: the images' height and width.
  """
  module, spec = registry.build(name, **kwargs)
  model = models.from_nnx(module, spec._replace(input_shape=(*size, 3)))
  return model._replace(params=wrap.cast(model.params, dtype))
