"""ResNets for ImageNet: batch normalisation, and a pool behind the stem.

The stride of a bottleneck is in its 3 x 3 convolution, as in torchvision's. For
images of CIFAR's size there is `resnet`.

References:
  He et al., Deep residual learning for image recognition, 2016.
  https://arxiv.org/abs/1512.03385
"""

from collections.abc import Callable, Sequence
import functools

from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.models import convolutions
from saliency_jax.models import imagenet
from saliency_jax.models import layers
from saliency_jax.models import published
from saliency_jax.models import types

SIZE = 224
_WIDTHS = (64, 128, 256, 512)
TORCHVISION = published.Names(
  'torchvision and timm',
  (
    (r'^stem\.conv', 'conv1'),
    (r'^stem\.norm', 'bn1'),
    (r'conv(\d)\.conv', r'conv\1'),
    (r'conv(\d)\.norm', r'bn\1'),
    (r'around\.conv', 'downsample.0'),
    (r'around\.norm', 'downsample.1'),
    (r'^classifier', 'fc'),
  ),
)
TRANSFORMERS = published.Names(
  'transformers',
  (
    (r'^stem', 'resnet.embedder.embedder'),
    (
      r'^layer(\d)\.(\d+)',
      lambda m: f'resnet.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}',
    ),
    (r'conv(\d)\.', lambda m: f'layer.{int(m[1]) - 1}.'),
    (r'around\.', 'shortcut.'),
    (r'\.conv$', '.convolution'),
    (r'\.norm$', '.normalization'),
    (r'^classifier', 'classifier.1'),
  ),
)


def conv_norm(
  in_features: int, out: int, window: int, stride: int = 1, **kwargs
) -> layers.ConvNorm:
  """Returns a convolution that pads as much before as after, and its norm."""
  pad = (window // 2, window // 2)
  return layers.ConvNorm(
    in_features,
    out,
    window,
    strides=(stride, stride),
    padding=(pad, pad),
    epsilon=1e-5,
    **kwargs,
  )


class Block(nnx.Module):
  """Two or three normalised convolutions and a way around them."""

  def __init__(
    self,
    in_features: int,
    convs: Sequence[tuple[int, int, int]],
    *,
    activation: layers.Activation,
    gate: Callable[[int], nnx.Module] | None = None,
    **kwargs,
  ):
    features, stride = in_features, 1
    for i, (out, window, step) in enumerate(convs, 1):
      conv = conv_norm(features, out, window, step, **kwargs)
      setattr(self, f'conv{i}', conv)
      features, stride = out, stride * step
    self.num_convs = len(convs)
    self.gate = nnx.data(None if gate is None else gate(features))
    self.around = nnx.data(None)
    if stride != 1 or in_features != features:
      self.around = conv_norm(in_features, features, 1, stride, **kwargs)
    self.activation = activation

  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n i j d']:
    """Maps a batch of feature maps."""
    y = self.conv1(x)
    for i in range(2, self.num_convs + 1):
      y = getattr(self, f'conv{i}')(self.activation(y))
    if self.gate is not None:
      y = self.gate(y)
    return self.activation(y + (x if self.around is None else self.around(x)))


def plain(width: int, stride: int) -> list[tuple[int, int, int]]:
  """Returns features, window and stride of a block of two convolutions."""
  return [(width, 3, stride), (width, 3, 1)]


def bottleneck(width: int, stride: int) -> list[tuple[int, int, int]]:
  """Returns those of a block that narrows, convolves and widens."""
  return [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]


class ResNet(nnx.Module):
  """A stem, a pool, four stages of blocks, a mean over places, a dense layer.

  The output of the stem is named 'stem', before its pool; the output of each
  stage 'layer1' to 'layer4', and the last one 'features', too.
  """

  def __init__(
    self,
    depths: Sequence[int],
    convs: Callable[[int, int], Sequence[tuple[int, int, int]]],
    *,
    pool_padding: tuple[int, int] = (1, 1),
    num_classes: int = 1000,
    activation: layers.Activation = jax.nn.relu,
    gate: Callable[[int], nnx.Module] | None = None,
    fast: bool = True,
    rngs: nnx.Rngs,
  ):
    self.stem = conv_norm(3, 64, 7, 2, fast=fast, rngs=rngs)
    features = 64
    for i, (depth, width) in enumerate(zip(depths, _WIDTHS, strict=True)):
      blocks = nnx.List([])
      for j in range(depth):
        shape = convs(width, 2 if i and not j else 1)
        block = Block(
          features,
          shape,
          activation=activation,
          gate=gate,
          fast=fast,
          rngs=rngs,
        )
        blocks.append(block)
        features = shape[-1][0]
      setattr(self, f'layer{i + 1}', blocks)
    self.classifier = nnx.Linear(features, num_classes, rngs=rngs)
    self.pool_padding = (pool_padding, pool_padding)
    self.activation = activation
    self.fast = fast

  def __call__(self, x: Float[Array, 'n h w 3']) -> Float[Array, 'n k']:
    """Maps a batch of images in [0, 1] to logits."""
    x = self.activation(self.stem(imagenet.standardise(x)))
    x = convolutions.max_pool(
      checkpoint_name(x, 'stem'),
      window=(3, 3),
      strides=(2, 2),
      padding=self.pool_padding,
      fast=self.fast,
    )
    for i in range(1, 5):
      for block in getattr(self, f'layer{i}'):
        x = block(x)
      x = checkpoint_name(x, f'layer{i}')
    x = checkpoint_name(x, 'features')
    return self.classifier(jnp.mean(x, (1, 2)))


NETS = {
  'resnet18': functools.partial(ResNet, (2, 2, 2, 2), plain),
  'resnet34': functools.partial(ResNet, (3, 4, 6, 3), plain),
  'resnet50': functools.partial(ResNet, (3, 4, 6, 3), bottleneck),
}
NAMES = dict.fromkeys(NETS, (TORCHVISION, TRANSFORMERS))


def spec(
  name: str, module: ResNet, class_names: tuple[str, ...] = ()
) -> types.Spec:
  """Returns the facts about a network of this file, as torchvision's are."""
  stages = [f'layer{i}' for i in range(1, 5)]
  return types.Spec(
    name=name,
    input_shape=(SIZE, SIZE, 3),
    crop=SIZE / 256,
    resample='bilinear',
    class_names=class_names,
    taps=('features', *reversed(stages), 'stem'),
    layers=(
      'stem',
      *(f'{s}/{i}' for s in stages for i in range(len(getattr(module, s)))),
      'classifier',
    ),
  )
