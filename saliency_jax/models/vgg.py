"""VGG: stages of 3 x 3 convolutions, each pooled, then three dense layers.

References:
  Simonyan and Zisserman, Very deep convolutional networks for large-scale image
  recognition, 2015. https://arxiv.org/abs/1409.1556
"""

from collections.abc import Sequence
import functools

from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.models import convolutions
from saliency_jax.models import imagenet
from saliency_jax.models import layers
from saliency_jax.models import published
from saliency_jax.models import types

_SIZE = 224
_GRID = 7  # Places, down and across, that the dense layers see.
_WIDTHS = (64, 128, 256, 512, 512)


class Vgg(nnx.Module):
  """VGG, with or without batch normalisation.

  The output of each stage is named 'stage0' to 'stage4', before its pool, and
  the last one 'features', too.
  """

  def __init__(
    self,
    depths: Sequence[int],
    *,
    norm: bool = False,
    hidden: int = 4096,
    num_classes: int = 1000,
    activation: layers.Activation = jax.nn.relu,
    fast: bool = True,
    rngs: nnx.Rngs,
  ):
    make = functools.partial(
      layers.ConvNorm if norm else _conv,
      use_bias=True,
      padding=((1, 1), (1, 1)),
      fast=fast,
      rngs=rngs,
      **({'epsilon': 1e-5} if norm else {}),
    )
    self.stages, features = nnx.List([]), 3
    for depth, width in zip(depths, _WIDTHS, strict=True):
      widths = [features, *[width] * depth]
      pairs = zip(widths[:-1], widths[1:], strict=True)
      self.stages.append(nnx.List(make(a, b, 3) for a, b in pairs))
      features = width
    # As a window over all places, whose order is then the image's.
    self.dense1 = layers.Conv(
      features,
      hidden,
      (_GRID, _GRID),
      padding='VALID',
      use_bias=True,
      fast=fast,
      rngs=rngs,
    )
    self.dense2 = nnx.Linear(hidden, hidden, rngs=rngs)
    self.classifier = nnx.Linear(hidden, num_classes, rngs=rngs)
    self.activation = activation
    self.fast = fast

  def __call__(self, x: Float[Array, 'n h w 3']) -> Float[Array, 'n k']:
    """Maps a batch of images in [0, 1] to logits."""
    x = imagenet.standardise(x)
    for i, stage in enumerate(self.stages):
      for conv in stage:
        x = self.activation(conv(x))
      x = checkpoint_name(x, f'stage{i}')
      if i == len(self.stages) - 1:
        x = checkpoint_name(x, 'features')
      x = convolutions.max_pool(
        x, window=(2, 2), strides=(2, 2), fast=self.fast
      )
    x = self.activation(self.dense1(_to_grid(x))[:, 0, 0])
    return self.classifier(self.activation(self.dense2(x)))


def _conv(in_features, out, window, **kwargs):
  return layers.Conv(in_features, out, (window, window), **kwargs)


def _to_grid(x):
  """Averages over the places of each cell of the grid, as torch cuts it."""
  for axis in (1, 2):
    size = x.shape[axis]
    if size != _GRID:
      mean = np.zeros((_GRID, size))
      for i in range(_GRID):
        cell = slice(i * size // _GRID, -(-(i + 1) * size // _GRID))
        mean[i, cell] = 1 / (cell.stop - cell.start)
      mean = jnp.asarray(mean, x.dtype)
      x = jnp.moveaxis(jnp.tensordot(mean, x, (1, axis)), 0, axis)
  return x


_DEPTHS = {'vgg16': (2, 2, 3, 3, 3), 'vgg19': (2, 2, 4, 4, 4)}
NETS = {
  f'{name}{"_bn" * norm}': functools.partial(Vgg, depths, norm=norm)
  for name, depths in _DEPTHS.items()
  for norm in (False, True)
}


def _names(name):
  """Returns the names of files, which number what a stage is made of."""
  norm = name.endswith('_bn')
  numbers, number = [], 0
  for stage, depth in enumerate(_DEPTHS[name.removesuffix('_bn')]):
    for conv in range(depth):
      path = rf'^stages\.{stage}\.{conv}'
      if norm:
        numbers.append((rf'{path}\.conv$', f'features.{number}'))
        numbers.append((rf'{path}\.norm$', f'features.{number + 1}'))
      else:
        numbers.append((rf'{path}$', f'features.{number}'))
      number += 2 + norm
    number += 1  # The pool.
  origins = {
    'torchvision': ('classifier.0', 'classifier.3', 'classifier.6'),
    'timm': ('pre_logits.fc1', 'pre_logits.fc2', 'head.fc'),
  }
  return [
    published.Names(
      origin,
      (
        *numbers,
        ('^classifier$', last),
        ('^dense1$', first),
        ('^dense2$', second),
      ),
    )
    for origin, (first, second, last) in origins.items()
  ]


NAMES = {name: _names(name) for name in NETS}


def spec(
  name: str, module: Vgg, class_names: tuple[str, ...] = ()
) -> types.Spec:
  """Returns the facts about a network of this file, as torchvision's are."""
  stages = range(len(module.stages))
  return types.Spec(
    name=name,
    input_shape=(_SIZE, _SIZE, 3),
    crop=_SIZE / 256,
    resample='bilinear',
    class_names=class_names,
    taps=('features', *(f'stage{i}' for i in reversed(stages))),
    layers=(
      *(
        f'stages/{i}/{j}' for i in stages for j in range(len(module.stages[i]))
      ),
      'dense1',
      'dense2',
      'classifier',
    ),
  )
