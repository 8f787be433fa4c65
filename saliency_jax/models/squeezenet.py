"""SqueezeNet 1.1: plain ReLUs and max-pools, exactly piecewise linear.

References:
  Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters
  and <0.5MB model size, 2016. https://arxiv.org/abs/1602.07360
"""

from collections.abc import Mapping
import functools

from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.models import convolutions
from saliency_jax.models import layers
from saliency_jax.models import types

# Blue, green and red means of the pixels in [0, 255] it was trained on.
_MEAN = (104.006, 116.669, 122.679)
_SIZE = 227
_FIRES = tuple(range(2, 10))
_SQUEEZED = (16, 16, 32, 32, 48, 48, 64, 64)
_POOLED = (3, 5)  # The fires whose outputs are pooled; the stem's is, too.


class Fire(nnx.Module):
  """Squeezes the channels, then expands them by 1x1 and by 3x3 windows."""

  def __init__(
    self,
    in_features: int,
    squeezed: int,
    *,
    activation: layers.Activation,
    fast: bool,
    rngs: nnx.Rngs,
  ):
    conv = functools.partial(layers.Conv, use_bias=True, fast=fast, rngs=rngs)
    self.squeeze1x1 = conv(in_features, squeezed, (1, 1))
    self.expand1x1 = conv(squeezed, 4 * squeezed, (1, 1))
    self.expand3x3 = conv(squeezed, 4 * squeezed, (3, 3))
    self.activation = activation

  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n h w d']:
    """Maps a batch of feature maps."""
    x = self.activation(self.squeeze1x1(x))
    expanded = [self.expand1x1(x), self.expand3x3(x)]
    return self.activation(jnp.concatenate(expanded, axis=-1))


class SqueezeNet(nnx.Module):
  """SqueezeNet 1.1.

  Every fire's output is named 'fire2', 'fire3', ... 'fire9' as in the paper;
  the last is also the last feature map, and named 'features' after that.
  """

  def __init__(
    self,
    *,
    num_classes: int = 1000,
    activation: layers.Activation = jax.nn.relu,
    fast: bool = True,
    rngs: nnx.Rngs,
  ):
    self.conv1 = layers.Conv(
      3,
      64,
      (3, 3),
      strides=(2, 2),
      padding='VALID',
      use_bias=True,
      fast=fast,
      rngs=rngs,
    )
    features = 64
    for i, squeezed in zip(_FIRES, _SQUEEZED, strict=True):
      fire = Fire(
        features, squeezed, activation=activation, fast=fast, rngs=rngs
      )
      setattr(self, f'fire{i}', fire)
      features = 8 * squeezed
    self.conv10 = layers.Conv(
      features, num_classes, (1, 1), use_bias=True, fast=fast, rngs=rngs
    )
    self.activation = activation
    self.fast = fast

  def __call__(self, x: Float[Array, 'n h w 3']) -> Float[Array, 'n k']:
    """Maps a batch of images in [0, 1] to logits."""
    pool = functools.partial(
      convolutions.max_pool, window=(3, 3), strides=(2, 2), fast=self.fast
    )
    x = 255 * x[..., ::-1] - jnp.asarray(_MEAN, x.dtype)[None, None, None]
    x = pool(self.activation(self.conv1(x)))
    for i in _FIRES:
      x = checkpoint_name(getattr(self, f'fire{i}')(x), f'fire{i}')
      if i in _POOLED:
        x = pool(x)
    x = checkpoint_name(x, 'features')
    # The paper has one more ReLU here. The package that ships these weights has
    # none, and classes then have gradients where their logits are negative.
    return jnp.mean(self.conv10(x), axis=(1, 2))


def spec(class_names: tuple[str, ...] = ()) -> types.Spec:
  """Returns the facts about the network with the published weights."""
  fires = [f'fire{i}' for i in _FIRES]
  parts = ('squeeze1x1', 'expand1x1', 'expand3x3')
  return types.Spec(
    name='squeezenet',
    input_shape=(_SIZE, _SIZE, 3),
    crop=_SIZE / 256,
    class_names=class_names,
    taps=('features', *reversed(fires)),
    layers=('conv1', *(f'{f}/{p}' for f in fires for p in parts), 'conv10'),
  )


def abstract(
  *, activation: layers.Activation = jax.nn.relu, fast: bool = True
) -> SqueezeNet:
  """Returns a network whose arrays are shapes only, to be filled in."""
  return nnx.eval_shape(
    lambda: SqueezeNet(activation=activation, fast=fast, rngs=nnx.Rngs(0))
  )


def fill(module: SqueezeNet, arrays: Mapping[str, list[np.ndarray]]) -> None:
  """Puts arrays named and laid out as in the published file into a module.

  Args:
    module: changed in place.
    arrays: kernel and bias by the name of the layer.

  Raises:
    ValueError: if an array is missing or has another shape.
  """
  flat = {
    f'{name}/{part}': array
    for name, pair in arrays.items()
    for part, array in zip(('kernel', 'bias'), pair, strict=True)
  }
  for path in spec().layers:
    part = functools.reduce(getattr, path.split('/'), module)
    layers.fill(part.kernel, flat, f'{path}/kernel')
    layers.fill(part.bias, flat, f'{path}/bias')
