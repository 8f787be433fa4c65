"""A small vision transformer for 28 x 28 grey images.

The image is cut into patches of 7 x 7. Each is a token, to which its learned
place is added; the logits are those of the mean token behind the last norm.

References:
  Dosovitskiy et al., An image is worth 16x16 words: transformers for image
  recognition at scale, 2021. https://arxiv.org/abs/2010.11929
"""

import functools

from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.models import layers
from saliency_jax.models import small
from saliency_jax.models import types

_PATCH = 7
_GRID = small.SIZE // _PATCH
# Of a block, in the order in which a token passes through them.
PARTS = (
  'attention_norm',
  *(f'attention/{part}' for part in ('query', 'key', 'value', 'out')),
  'norm',
  'up',
  'down',
)
_norm = functools.partial(layers.LayerNorm, epsilon=1e-6)


class Block(nnx.Module):
  """Attention, then two dense layers of each token, each behind a norm."""

  def __init__(
    self,
    width: int,
    num_heads: int,
    hidden: int,
    *,
    activation: layers.Activation,
    rngs: nnx.Rngs,
  ):
    self.attention_norm = _norm(width)
    self.attention = layers.Attention(width, num_heads, rngs=rngs)
    self.norm = _norm(width)
    self.up = nnx.Linear(width, hidden, rngs=rngs)
    self.down = nnx.Linear(hidden, width, rngs=rngs)
    self.activation = activation

  def __call__(self, h: Float[Array, 'n t d']) -> Float[Array, 'n t d']:
    """Maps a batch of tokens."""
    h = h + self.attention(self.attention_norm(h))
    return h + self.down(self.activation(self.up(self.norm(h))))


class Vit(nnx.Module):
  """Patches, blocks, and a dense layer of the mean token.

  The embedded patches are named 'patches', the output of each block 'block0',
  'block1', ... and what the last norm makes of these 'features', all of them
  grids `[n, 4, 4, d]`.
  """

  def __init__(
    self,
    *,
    width: int,
    num_blocks: int,
    num_heads: int,
    activation: layers.Activation,
    rngs: nnx.Rngs,
  ):
    self.patches = nnx.Linear(_PATCH**2, width, rngs=rngs)
    self.places = nnx.Embed(
      _GRID**2,
      width,
      embedding_init=nnx.initializers.normal(0.02),
      rngs=rngs,
    )
    self.blocks = nnx.List(
      Block(width, num_heads, 2 * width, activation=activation, rngs=rngs)
      for _ in range(num_blocks)
    )
    self.norm = _norm(width)
    self.head = nnx.Linear(width, 10, rngs=rngs)

  def __call__(self, x: Float[Array, 'n 28 28 1']) -> Float[Array, 'n k']:
    """Maps a batch of images in [0, 1] to logits."""
    x = small.standardise(x).reshape(-1, _GRID, _PATCH, _GRID, _PATCH)
    x = x.swapaxes(2, 3).reshape(-1, _GRID, _GRID, _PATCH**2)
    h = _flat(checkpoint_name(self.patches(x), 'patches'))
    h = h + self.places.embedding[...][None]
    for i, block in enumerate(self.blocks):
      h = _flat(checkpoint_name(_grid(block(h)), f'block{i}'))
    h = checkpoint_name(_grid(self.norm(h)), 'features')
    return self.head(jnp.mean(h, (1, 2)))


def _grid(h):
  return h.reshape(-1, _GRID, _GRID, h.shape[-1])


def _flat(h):
  return h.reshape(-1, _GRID**2, h.shape[-1])


def vit_digits(
  *, activation: layers.Activation = jax.nn.gelu, rngs: nnx.Rngs
) -> Vit:
  """Returns a transformer of two blocks of four heads, 48 features wide.

  Fitted to 4000 digits in 24 epochs at a learning rate of 4e-3, which takes
  half a minute of a processor, it reads 94% of 1000 others.
  """
  return Vit(
    width=48, num_blocks=2, num_heads=4, activation=activation, rngs=rngs
  )


NETS = {'vit_digits': vit_digits}


def spec(
  name: str, module: Vit, class_names: tuple[str, ...] = ()
) -> types.Spec:
  """Returns the facts about a network of this file."""
  num_blocks = len(module.blocks)
  return types.Spec(
    name=name,
    input_shape=(small.SIZE, small.SIZE, 1),
    class_names=class_names,
    taps=(
      'features',
      *(f'block{i}' for i in reversed(range(num_blocks))),
      'patches',
    ),
    layers=(
      'patches',
      'places',
      *(f'blocks/{i}/{part}' for i in range(num_blocks) for part in PARTS),
      'norm',
      'head',
    ),
  )
