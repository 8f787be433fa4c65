"""ResNet-18 for images of CIFAR's size: a 3 x 3 stem, and no pool after it.

Batch normalisation is replaced by group normalisation, which is a function of
one example in training too, as are maps and the attacks on them; with
`batch_norm` it is there, see `batch_norm.py`. With ReLUs the network has no
curvature; `activation=jax.nn.softplus` gives it one.

References:
  He et al., Deep residual learning for image recognition, 2016.
  https://arxiv.org/abs/1512.03385
  Wu and He, Group normalization, 2018. https://arxiv.org/abs/1803.08494
"""

import math

from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.models import batch_norm as normalisation
from saliency_jax.models import layers
from saliency_jax.models import types

_SIZE = 32
# Of CIFAR-10's training pixels in [0, 1].
_MEAN = (0.4914, 0.4822, 0.4465)
_STD = (0.2470, 0.2435, 0.2616)
_STRIDES = (1, 2, 2, 2)
_BLOCKS = 2


class GroupNorm(nnx.Module):
  """Normalises groups of channels of one image, then scales and shifts."""

  def __init__(self, features: int, num_groups: int = 32):
    self.scale = nnx.Param(jnp.ones(features))
    self.bias = nnx.Param(jnp.zeros(features))
    self.num_groups = math.gcd(num_groups, features)

  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n h w c']:
    """Normalises a batch, each image apart."""
    groups = x.reshape(*x.shape[:3], self.num_groups, -1)
    mean = jnp.mean(groups, (1, 2, 4), keepdims=True)
    centred = groups - mean
    variance = jnp.mean(centred**2, (1, 2, 4), keepdims=True)
    x = (centred * jax.lax.rsqrt(variance + 1e-5)).reshape(x.shape)
    shape = (1, 1, 1, -1)
    return x * self.scale.reshape(shape) + self.bias.reshape(shape)


class Block(nnx.Module):
  """Two normalised 3 x 3 convolutions and a way around them."""

  def __init__(self, features, out, stride, *, norm, activation, fast, rngs):
    def conv(window, features, stride):
      return layers.Conv(
        features,
        out,
        (window, window),
        strides=(stride, stride),
        fast=fast,
        rngs=rngs,
      )

    self.first, self.second = conv(3, features, stride), conv(3, out, 1)
    self.first_norm, self.second_norm = norm(out), norm(out)
    self.around, self.around_norm = nnx.data(None), nnx.data(None)
    if stride != 1 or features != out:
      self.around, self.around_norm = conv(1, features, stride), norm(out)
    self.activation = activation

  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n i j d']:
    """Maps a batch of feature maps."""
    y = self.activation(self.first_norm(self.first(x)))
    y = self.second_norm(self.second(y))
    if self.around is not None:
      x = self.around_norm(self.around(x))
    return self.activation(x + y)


class ResNet18(nnx.Module):
  """A stem, eight blocks, a mean over places and a dense layer.

  The outputs of the blocks are named 'block0' to 'block7', and the last one
  'features', too.
  """

  def __init__(
    self,
    *,
    num_classes: int = 10,
    width: int = 64,
    activation: layers.Activation = jax.nn.relu,
    batch_norm: bool = False,
    fast: bool = True,
    rngs: nnx.Rngs,
  ):
    norm = normalisation.BatchNorm if batch_norm else GroupNorm
    self.stem = layers.Conv(3, width, (3, 3), fast=fast, rngs=rngs)
    self.stem_norm = norm(width)
    self.blocks = nnx.List([])
    features = width
    for stage, stride in enumerate(_STRIDES):
      for i in range(_BLOCKS):
        out = width * 2**stage
        self.blocks.append(
          Block(
            features,
            out,
            stride if i == 0 else 1,
            norm=norm,
            activation=activation,
            fast=fast,
            rngs=rngs,
          )
        )
        features = out
    self.dense = nnx.Linear(features, num_classes, rngs=rngs)
    self.activation = activation

  def __call__(self, x: Float[Array, 'n 32 32 3']) -> Float[Array, 'n k']:
    """Maps a batch of images in [0, 1] to logits."""
    shape = (1, 1, 1, -1)
    mean, std = (jnp.array(a, x.dtype).reshape(shape) for a in (_MEAN, _STD))
    x = self.activation(self.stem_norm(self.stem((x - mean) / std)))
    for i, block in enumerate(self.blocks):
      x = checkpoint_name(block(x), f'block{i}')
    x = checkpoint_name(x, 'features')
    return self.dense(jnp.mean(x, (1, 2)))


def spec(
  name: str, module: ResNet18, class_names: tuple[str, ...] = ()
) -> types.Spec:
  """Returns the facts about a network of this file."""
  blocks = range(len(module.blocks))
  return types.Spec(
    name=name,
    input_shape=(_SIZE, _SIZE, 3),
    class_names=class_names,
    taps=('features', *(f'block{i}' for i in reversed(blocks))),
    layers=(
      'stem',
      'stem_norm',
      *(f'blocks/{i}' for i in blocks),
      'dense',
    ),
  )
