"""Small networks for 28 x 28 grey images: convolutions, if any, dense layers.

References:
  LeCun et al., Gradient-based learning applied to document recognition, 1998.
  https://doi.org/10.1109/5.726791
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
"""

from collections.abc import Sequence
from typing import NamedTuple

from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from saliency_jax.models import convolutions
from saliency_jax.models import layers
from saliency_jax.models import types

SIZE = 28
# Of MNIST's training pixels in [0, 1], as in Levine et al.
_MEAN, _STD = 0.1307, 0.3081


def standardise(x: Float[Array, '...']) -> Float[Array, '...']:
  """Shifts and scales pixels of [0, 1] to mean 0 and deviation 1 on MNIST."""
  return (x - _MEAN) / _STD


class ConvSpec(NamedTuple):
  """One convolution, which an activation and a 2 x 2 max-pool follow."""

  features: int
  window: int
  padding: str


class SmallNet(nnx.Module):
  """Convolutions, each pooled, then dense layers.

  The output of every convolution's activation is named 'conv0', 'conv1', ...
  and the last of them 'features', too.
  """

  def __init__(
    self,
    convs: Sequence[ConvSpec],
    dense: Sequence[int],
    *,
    activation: layers.Activation,
    fast: bool = True,
    rngs: nnx.Rngs,
  ):
    self.convs, self.dense = nnx.List([]), nnx.List([])
    size, features = SIZE, 1
    for conv in convs:
      self.convs.append(
        layers.Conv(
          features,
          conv.features,
          (conv.window, conv.window),
          padding=conv.padding,
          use_bias=True,
          fast=fast,
          rngs=rngs,
        )
      )
      size -= conv.window - 1 if conv.padding == 'VALID' else 0
      size, features = size // 2, conv.features
    features *= size**2
    for width in dense:
      self.dense.append(nnx.Linear(features, width, rngs=rngs))
      features = width
    self.activation = activation
    self.fast = fast

  def __call__(self, x: Float[Array, 'n 28 28 1']) -> Float[Array, 'n k']:
    """Maps a batch of images in [0, 1] to logits."""
    x = standardise(x)
    for i, conv in enumerate(self.convs):
      x = checkpoint_name(self.activation(conv(x)), f'conv{i}')
      if i == len(self.convs) - 1:
        x = checkpoint_name(x, 'features')
      x = convolutions.max_pool(
        x, window=(2, 2), strides=(2, 2), fast=self.fast
      )
    x = x.reshape(x.shape[0], -1)
    for layer in self.dense[:-1]:
      x = self.activation(layer(x))
    return self.dense[-1](x)


def lenet(
  *,
  activation: layers.Activation = jax.nn.relu,
  fast: bool = True,
  rngs: nnx.Rngs,
) -> SmallNet:
  """Returns LeNet-5 with max-pools and, unless asked otherwise, ReLUs."""
  convs = (ConvSpec(6, 5, 'SAME'), ConvSpec(16, 5, 'VALID'))
  return SmallNet(
    convs, (120, 84, 10), activation=activation, fast=fast, rngs=rngs
  )


def softplus_net(
  *,
  activation: layers.Activation = jax.nn.softplus,
  fast: bool = True,
  rngs: nnx.Rngs,
) -> SmallNet:
  """Returns the network of Levine et al., whose curvature is not zero."""
  convs = (ConvSpec(9, 3, 'VALID'), ConvSpec(15, 3, 'VALID'))
  return SmallNet(convs, (20, 10), activation=activation, fast=fast, rngs=rngs)


def one_hidden(
  *,
  activation: layers.Activation = jax.nn.relu,
  fast: bool = True,
  rngs: nnx.Rngs,
) -> SmallNet:
  """Returns a network of one hidden layer of 100 units."""
  return SmallNet((), (100, 10), activation=activation, fast=fast, rngs=rngs)


def two_hidden(
  *,
  activation: layers.Activation = jax.nn.relu,
  fast: bool = True,
  rngs: nnx.Rngs,
) -> SmallNet:
  """Returns a network of two hidden layers of 100 units each."""
  return SmallNet(
    (), (100, 100, 10), activation=activation, fast=fast, rngs=rngs
  )


NETS = {
  'lenet': lenet,
  'one_hidden': one_hidden,
  'softplus_net': softplus_net,
  'two_hidden': two_hidden,
}


def spec(
  name: str, module: SmallNet, class_names: tuple[str, ...] = ()
) -> types.Spec:
  """Returns the facts about a network of this file."""
  convs = tuple(f'conv{i}' for i in range(len(module.convs)))
  return types.Spec(
    name=name,
    input_shape=(SIZE, SIZE, 1),
    class_names=class_names,
    taps=('features', *reversed(convs)) if convs else (),
    layers=(
      *(f'convs/{i}' for i in range(len(module.convs))),
      *(f'dense/{i}' for i in range(len(module.dense))),
    ),
  )
