"""SE-ResNet-50: a residual network whose blocks weigh their channels.

It is the network of the authors' Caffe model, as it was carried over to torch:
strides are in a bottleneck's first convolution, and the pool behind the stem
reaches over the last row and column only.

References:
  Hu, Shen and Sun, Squeeze-and-excitation networks, 2018.
  https://arxiv.org/abs/1709.01507
"""

import functools

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.models import layers
from saliency_jax.models import published
from saliency_jax.models import resnet_imagenet

_REDUCTION = 16


class Gate(nnx.Module):
  """Weighs each channel by what all channels are on average."""

  def __init__(
    self, features: int, *, activation: layers.Activation, rngs: nnx.Rngs
  ):
    narrow = features // _REDUCTION
    self.squeeze = nnx.Linear(features, narrow, rngs=rngs)
    self.excite = nnx.Linear(narrow, features, rngs=rngs)
    self.activation = activation

  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n h w c']:
    """Maps a batch of feature maps."""
    mean = jnp.mean(x, (1, 2))
    weights = jax.nn.sigmoid(self.excite(self.activation(self.squeeze(mean))))
    return x * weights[:, None, None]


def _convs(width, stride):
  return [(width, 1, stride), (width, 3, 1), (4 * width, 1, 1)]


def se_resnet50(
  *,
  activation: layers.Activation = jax.nn.relu,
  rngs: nnx.Rngs,
  **kwargs,
) -> resnet_imagenet.ResNet:
  """Returns the network; see `resnet_imagenet.ResNet`."""
  return resnet_imagenet.ResNet(
    (3, 4, 6, 3),
    _convs,
    pool_padding=(0, 1),
    activation=activation,
    gate=functools.partial(Gate, activation=activation, rngs=rngs),
    rngs=rngs,
    **kwargs,
  )


NETS = {'se_resnet50': se_resnet50}
NAMES = {
  'se_resnet50': (
    published.Names(
      "timm's legacy_seresnet50",
      (
        (r'^stem', 'layer0.conv1'),
        (r'gate\.squeeze', 'se_module.fc1'),
        (r'gate\.excite', 'se_module.fc2'),
        (r'^classifier', 'last_linear'),
        (r'conv(\d)\.conv', r'conv\1'),
        (r'conv(\d)\.norm', r'bn\1'),
        *resnet_imagenet.TORCHVISION.patterns,
      ),
    ),
  )
}
spec = resnet_imagenet.spec
