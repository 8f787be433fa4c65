"""EfficientNet-Lite: inverted residual blocks with ReLU6 and no attention.

References:
  Tan and Le, EfficientNet: rethinking model scaling for convolutional neural
  networks, 2019. https://arxiv.org/abs/1905.11946
  Liu, Higher accuracy on vision models with EfficientNet-Lite, 2020.
  https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html
"""

import functools
import math
from typing import NamedTuple

from flax import nnx
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.models import layers
from saliency_jax.models import published
from saliency_jax.models import types

# The weights were trained on pixels in [0, 255] mapped to (p - 127) / 128.
_SHIFT, _SCALE = 127 / 255, 255 / 128
_STEM, _HEAD = 32, 1280


class _Stage(NamedTuple):
  """Blocks of one resolution; the first of them strides and widens."""

  repeats: int
  window: int
  stride: int
  expand: int
  features: int


_STAGES = (
  _Stage(1, 3, 1, 1, 16),
  _Stage(2, 3, 2, 6, 24),
  _Stage(2, 5, 2, 6, 40),
  _Stage(3, 3, 2, 6, 80),
  _Stage(3, 5, 1, 6, 112),
  _Stage(4, 5, 2, 6, 192),
  _Stage(1, 3, 1, 6, 320),
)
# What the published files call the parts: see `published`.
_NAMES = published.Names(
  'efficientnet_lite_pytorch',
  (
    (r'stem\.conv', '_conv_stem'),
    (r'stem\.norm', '_bn0'),
    (r'head\.conv', '_conv_head'),
    (r'head\.norm', '_bn1'),
    (r'blocks\.(\d+)\.', r'_blocks.\1.'),
    (r'(expand|depthwise|project)\.conv', r'_\1_conv'),
    (r'expand\.norm', '_bn0'),
    (r'depthwise\.norm', '_bn1'),
    (r'project\.norm', '_bn2'),
    (r'classifier', '_fc'),
  ),
)
# Multipliers of width and depth, and the side of the input.
_VARIANTS = {
  'efficientnet_lite0': (1.0, 1.0, 224),
  'efficientnet_lite1': (1.0, 1.1, 240),
  'efficientnet_lite2': (1.1, 1.2, 260),
}
_conv_norm = functools.partial(layers.ConvNorm, epsilon=1e-3)


class Block(nnx.Module):
  """Widens, convolves each channel, narrows, and adds the input back."""

  def __init__(
    self,
    in_features: int,
    out_features: int,
    *,
    window: int,
    stride: int,
    expand: int,
    activation: layers.Activation,
    fast: bool,
    rngs: nnx.Rngs,
  ):
    wide = in_features * expand
    self.expand = nnx.data(None)
    if expand != 1:
      self.expand = _conv_norm(in_features, wide, 1, fast=fast, rngs=rngs)
    self.depthwise = _conv_norm(
      wide,
      wide,
      window,
      strides=(stride, stride),
      depthwise=True,
      fast=fast,
      rngs=rngs,
    )
    self.project = _conv_norm(wide, out_features, 1, fast=fast, rngs=rngs)
    self.residual = stride == 1 and in_features == out_features
    self.activation = activation

  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n i j d']:
    """Maps a batch of feature maps."""
    y = x if self.expand is None else self.activation(self.expand(x))
    y = self.project(self.activation(self.depthwise(y)))
    return x + y if self.residual else y


class EfficientNet(nnx.Module):
  """EfficientNet-Lite of any width and depth.

  Every stage's output is named 'stage0', 'stage1', ... and the last feature
  map, after the head's convolution, 'features'.
  """

  def __init__(
    self,
    width: float = 1.0,
    depth: float = 1.0,
    *,
    num_classes: int = 1000,
    activation: layers.Activation = layers.relu6,
    fast: bool = True,
    rngs: nnx.Rngs,
  ):
    self.stem = _conv_norm(3, _STEM, 3, strides=(2, 2), fast=fast, rngs=rngs)
    features, ends = _STEM, []
    self.blocks = nnx.List([])
    for i, stage in enumerate(_STAGES):
      # Lite variants leave the depth of the first and last stage alone.
      scaled = 0 < i < len(_STAGES) - 1
      repeats = math.ceil(depth * stage.repeats) if scaled else stage.repeats
      for j in range(repeats):
        out = _round_features(stage.features * width)
        self.blocks.append(
          Block(
            features,
            out,
            window=stage.window,
            stride=stage.stride if j == 0 else 1,
            expand=stage.expand,
            activation=activation,
            fast=fast,
            rngs=rngs,
          )
        )
        features = out
      ends.append(len(self.blocks) - 1)
    self.stage_ends = tuple(ends)
    self.head = _conv_norm(features, _HEAD, 1, fast=fast, rngs=rngs)
    self.classifier = nnx.Linear(_HEAD, num_classes, rngs=rngs)
    self.activation = activation

  def __call__(self, x: Float[Array, 'n h w 3']) -> Float[Array, 'n k']:
    """Maps a batch of images in [0, 1] to logits."""
    x = (x - _SHIFT) * _SCALE
    x = self.activation(self.stem(x))
    for i, block in enumerate(self.blocks):
      x = block(x)
      if i in self.stage_ends:
        x = checkpoint_name(x, f'stage{self.stage_ends.index(i)}')
    x = checkpoint_name(self.activation(self.head(x)), 'features')
    return self.classifier(jnp.mean(x, axis=(1, 2)))


NETS = {
  name: functools.partial(EfficientNet, width, depth)
  for name, (width, depth, _) in _VARIANTS.items()
}

NAMES = dict.fromkeys(NETS, (_NAMES,))


def spec(
  name: str, module: EfficientNet, class_names: tuple[str, ...] = ()
) -> types.Spec:
  """Returns the facts about one of the variants with published weights."""
  size = _VARIANTS[name][2]
  blocks = [
    f'blocks/{i}/{part}'
    for i, block in enumerate(module.blocks)
    for part in ('expand', 'depthwise', 'project')
    if getattr(block, part) is not None
  ]
  return types.Spec(
    name=name,
    input_shape=(size, size, 3),
    crop=size / (size + 32),
    class_names=class_names,
    taps=('features', *(f'stage{i}' for i in reversed(range(len(_STAGES))))),
    layers=('stem', *blocks, 'head', 'classifier'),
  )


def _round_features(features):
  """Rounds to a multiple of 8, never down by more than a tenth."""
  rounded = max(8, int(features + 4) // 8 * 8)
  return rounded if rounded >= 0.9 * features else rounded + 8
