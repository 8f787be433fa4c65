"""Vision transformers for ImageNet: patches of 16 x 16 and a class's token.

The logits are those of one token more, which reads the patches and stands for
none. For small grey images there is `vit`.

References:
  Dosovitskiy et al., An image is worth 16x16 words: transformers for image
  recognition at scale, 2021. https://arxiv.org/abs/2010.11929
  Touvron et al., Training data-efficient image transformers and distillation
  through attention, 2021. https://arxiv.org/abs/2012.12877
"""

import functools

from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.models import imagenet
from saliency_jax.models import layers
from saliency_jax.models import published
from saliency_jax.models import types
from saliency_jax.models import vit

_PATCH = 16
_HALF = (0.5, 0.5, 0.5)
_gelu = functools.partial(jax.nn.gelu, approximate=False)


class Vit(nnx.Module):
  """Patches, a class's token before them, blocks, and a dense layer of it.

  What each block makes of the patches is named 'block0', 'block1', ... but for
  the last block: nothing reads its patches. The last that is read is named
  'features', too, and what goes into the first block, 'patches'. All of them
  are grids `[n, size / 16, size / 16, width]`.
  """

  def __init__(
    self,
    *,
    width: int,
    num_heads: int,
    num_blocks: int = 12,
    size: int = 224,
    mean: tuple[float, ...] = imagenet.MEAN,
    std: tuple[float, ...] = imagenet.STD,
    num_classes: int = 1000,
    activation: layers.Activation = _gelu,
    fast: bool = True,
    rngs: nnx.Rngs,
  ):
    self.grid = size // _PATCH
    self.patches = layers.Conv(
      3,
      width,
      (_PATCH, _PATCH),
      strides=(_PATCH, _PATCH),
      padding='VALID',
      use_bias=True,
      fast=fast,
      rngs=rngs,
    )
    table = functools.partial(
      nnx.Embed,
      features=width,
      embedding_init=nnx.initializers.normal(0.02),
      rngs=rngs,
    )
    self.start, self.places = table(1), table(1 + self.grid**2)
    self.blocks = nnx.List(
      vit.Block(width, num_heads, 4 * width, activation=activation, rngs=rngs)
      for _ in range(num_blocks)
    )
    self.norm = layers.LayerNorm(width, epsilon=1e-6)
    self.classifier = nnx.Linear(width, num_classes, rngs=rngs)
    self.scale = (mean, std)

  def __call__(self, x: Float[Array, 'n h w 3']) -> Float[Array, 'n k']:
    """Maps a batch of images in [0, 1] to logits."""
    x = self.patches(imagenet.standardise(x, *self.scale))
    start = self.start.embedding[...][None]
    start = jnp.broadcast_to(start, (x.shape[0], *start.shape[1:]))
    h = jnp.concatenate([start, x.reshape(x.shape[0], -1, x.shape[-1])], 1)
    h = self._name(h + self.places.embedding[...][None], 'patches')
    last = len(self.blocks) - 1
    for i, block in enumerate(self.blocks):
      h = block(h)
      if i < last:
        h = self._name(h, f'block{i}', *['features'] * (i == last - 1))
    return self.classifier(self.norm(h[:, 0]))

  def _name(self, h, *names):
    """Gives names to the grid of patches within the tokens."""
    patches = h[:, 1:].reshape(-1, self.grid, self.grid, h.shape[-1])
    for name in names:
      patches = checkpoint_name(patches, name)
    return jnp.concatenate([h[:, :1], patches.reshape(h[:, 1:].shape)], 1)


NETS = {
  'vit_b_16': functools.partial(Vit, width=768, num_heads=12),
  'vit_s_16': functools.partial(
    Vit, width=384, num_heads=6, mean=_HALF, std=_HALF
  ),
  'deit_s': functools.partial(Vit, width=384, num_heads=6),
}
_TORCHVISION = published.Names(
  'torchvision',
  (
    ('^start$', 'class_token'),
    ('^places$', 'encoder.pos_embedding'),
    ('^patches$', 'conv_proj'),
    ('^norm$', 'encoder.ln'),
    (r'^blocks\.(\d+)\.', r'encoder.layers.encoder_layer_\1.'),
    (r'\.attention_norm', '.ln_1'),
    (r'\.norm', '.ln_2'),
    (r'attention\.query', 'self_attention.in_proj_#0'),
    (r'attention\.key', 'self_attention.in_proj_#1'),
    (r'attention\.value', 'self_attention.in_proj_#2'),
    (r'\.attention\.out', '.self_attention.out_proj'),
    (r'\.up', '.mlp.0'),
    (r'\.down', '.mlp.3'),
    ('^classifier$', 'heads.head'),
  ),
)
_TORCHVISION_OLD = published.Names(
  'torchvision, as first published',
  (
    *_TORCHVISION.patterns,
    (r'mlp\.0', 'mlp.linear_1'),
    (r'mlp\.3', 'mlp.linear_2'),
  ),
)
_TIMM = published.Names(
  'timm',
  (
    ('^start$', 'cls_token'),
    ('^places$', 'pos_embed'),
    ('^patches$', 'patch_embed.proj'),
    (r'\.attention_norm', '.norm1'),
    (r'(\d)\.norm$', r'\1.norm2'),
    (r'attention\.query', 'attn.qkv#0'),
    (r'attention\.key', 'attn.qkv#1'),
    (r'attention\.value', 'attn.qkv#2'),
    (r'attention\.out', 'attn.proj'),
    (r'\.up', '.mlp.fc1'),
    (r'\.down', '.mlp.fc2'),
    ('^classifier$', 'head'),
  ),
)
_TRANSFORMERS = published.Names(
  'transformers',
  (
    ('^start$', 'vit.embeddings.cls_token'),
    ('^places$', 'vit.embeddings.position_embeddings'),
    ('^patches$', 'vit.embeddings.patch_embeddings.projection'),
    ('^norm$', 'vit.layernorm'),
    (r'^blocks\.(\d+)\.', r'vit.encoder.layer.\1.'),
    (r'\.attention_norm', '.layernorm_before'),
    (r'\.norm', '.layernorm_after'),
    (r'attention\.(query|key|value)', r'attention.attention.\1'),
    (r'attention\.out', 'attention.output.dense'),
    (r'\.up', '.intermediate.dense'),
    (r'\.down', '.output.dense'),
  ),
)
# Files for other means and deviations have other names.
NAMES = {
  'vit_b_16': (_TORCHVISION, _TORCHVISION_OLD),
  'vit_s_16': (_TIMM, _TRANSFORMERS),
  'deit_s': (_TIMM, _TRANSFORMERS),
}


def spec(
  name: str, module: Vit, class_names: tuple[str, ...] = ()
) -> types.Spec:
  """Returns the facts about a network of this file."""
  num, size = len(module.blocks), module.grid * _PATCH
  return types.Spec(
    name=name,
    input_shape=(size, size, 3),
    # timm resizes the shorter side to 248 pixels, torchvision to 256.
    crop=size / (256 if name == 'vit_b_16' else 248),
    resample='bilinear' if name == 'vit_b_16' else 'bicubic',
    class_names=class_names,
    taps=(
      'features',
      *(f'block{i}' for i in reversed(range(num - 1))),
      'patches',
    ),
    layers=(
      'patches',
      'start',
      'places',
      *(f'blocks/{i}/{part}' for i in range(num) for part in vit.PARTS),
      'norm',
      'classifier',
    ),
  )
