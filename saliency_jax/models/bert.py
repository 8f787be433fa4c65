"""MiniLM: a small BERT that maps a sentence to a point of the unit sphere.

The embedding of a sentence is the mean over its tokens of the last block's
outputs, divided by its length. The cosine of two sentences is the product of
their embeddings: see `heads` for it, and for classes.

References:
  Devlin et al., BERT: pre-training of deep bidirectional transformers for
  language understanding, 2019. https://arxiv.org/abs/1810.04805
  Wang et al., MiniLM: deep self-attention distillation for task-agnostic
  compression of pre-trained transformers, 2020.
  https://arxiv.org/abs/2002.10957
  Reimers and Gurevych, Sentence-BERT: sentence embeddings using Siamese
  BERT-networks, 2019. https://arxiv.org/abs/1908.10084
"""

from collections.abc import Iterator, Mapping
import functools

from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

from saliency_jax.models import layers
from saliency_jax.models import types

PADDING = 0  # The token that is not read.
MAX_LENGTH = 512

_norm = functools.partial(layers.LayerNorm, epsilon=1e-12)
_gelu = functools.partial(jax.nn.gelu, approximate=False)
# Parts of a block, and what the published file calls them.
_PARTS = {
  'attention/query': 'attention.self.query',
  'attention/key': 'attention.self.key',
  'attention/value': 'attention.self.value',
  'attention/out': 'attention.output.dense',
  'attention_norm': 'attention.output.LayerNorm',
  'up': 'intermediate.dense',
  'down': 'output.dense',
  'norm': 'output.LayerNorm',
}
_TABLES = {
  'words': 'word_embeddings',
  'positions': 'position_embeddings',
  'kinds': 'token_type_embeddings',
}


class Block(nnx.Module):
  """Attention, then two dense layers of each token; a norm after either."""

  def __init__(
    self,
    width: int,
    num_heads: int,
    hidden: int,
    *,
    activation: layers.Activation,
    rngs: nnx.Rngs,
  ):
    self.attention = layers.Attention(width, num_heads, rngs=rngs)
    self.attention_norm = _norm(width)
    self.up = nnx.Linear(width, hidden, rngs=rngs)
    self.down = nnx.Linear(hidden, width, rngs=rngs)
    self.norm = _norm(width)
    self.activation = activation

  def __call__(self, h, read):
    """Maps tokens `[t, d]`, of which `read` `[t]` are read."""
    h = self.attention_norm(h + self.attention(h, read))
    return self.norm(h + self.down(self.activation(self.up(h))))


class Bert(nnx.Module):
  """BERT, its mean over tokens, and that divided by its length.

  What the table of words holds of each token is named 'embeddings', before the
  token's position is added; the output of each block 'block0', 'block1', ...
  and the last of them 'features', too. Tokens that are `PADDING` are not read.
  """

  def __init__(
    self,
    *,
    num_words: int = 30522,
    width: int = 384,
    num_blocks: int = 6,
    num_heads: int = 12,
    hidden: int = 1536,
    activation: layers.Activation = _gelu,
    rngs: nnx.Rngs,
  ):
    self.words = nnx.Embed(num_words, width, rngs=rngs)
    self.positions = nnx.Embed(MAX_LENGTH, width, rngs=rngs)
    self.kinds = nnx.Embed(2, width, rngs=rngs)
    self.norm = _norm(width)
    self.blocks = nnx.List(
      Block(width, num_heads, hidden, activation=activation, rngs=rngs)
      for _ in range(num_blocks)
    )

  def __call__(self, ids: Int[Array, 't']) -> Float[Array, 'd']:
    """Maps the tokens of a sentence to its embedding."""
    num = ids.shape[0]
    if num > MAX_LENGTH:
      raise ValueError(f'expected at most {MAX_LENGTH} tokens, got {num}')
    read = ids != PADDING
    # Not by nnx's own call, which makes float32 of any other dtype.
    h = checkpoint_name(self.words.embedding[...][ids], 'embeddings')
    places = self.positions.embedding[...][:num] + self.kinds.embedding[...][:1]
    h = self.norm(h + places)
    for i, block in enumerate(self.blocks):
      h = checkpoint_name(block(h, read), f'block{i}')
    h = checkpoint_name(h, 'features')
    weights = read.astype(h.dtype)
    mean = (weights / jnp.sum(weights)) @ h
    return mean / jnp.sqrt(mean @ mean)


def spec(num_blocks: int = 6) -> types.Spec:
  """Returns the facts about the network with the published weights."""
  blocks = [f'block{i}' for i in range(num_blocks)]
  return types.Spec(
    name='minilm',
    input_shape=(None,),
    taps=('features', *reversed(blocks), 'embeddings'),
    layers=(
      *_TABLES,
      'norm',
      *(f'blocks/{i}/{part}' for i in range(num_blocks) for part in _PARTS),
    ),
    input_dtype='int32',
  )


def abstract(**kwargs) -> Bert:
  """Returns a network whose arrays are shapes only, to be filled in."""
  return nnx.eval_shape(lambda: Bert(**kwargs, rngs=nnx.Rngs(0)))


def fill(module: Bert, arrays: Mapping[str, np.ndarray]) -> None:
  """Puts arrays named and laid out as in the published file into a module.

  Args:
    module: changed in place.
    arrays: by the names of transformers' `BertModel`; what is none of the
      network's, such as the pooler, is passed over.

  Raises:
    ValueError: if an array is missing or has another shape.
  """
  for name, theirs in _TABLES.items():
    table = getattr(module, name).embedding
    layers.fill(table, arrays, f'embeddings.{theirs}.weight')
  for part, theirs in _parts(module):
    if isinstance(part, layers.LayerNorm):
      layers.fill(part.scale, arrays, f'{theirs}.weight')
    else:
      layers.fill(part.kernel, arrays, f'{theirs}.weight', (1, 0))
    layers.fill(part.bias, arrays, f'{theirs}.bias')


def _parts(module: Bert) -> Iterator[tuple[nnx.Module, str]]:
  """Yields norms and dense layers, each with its name in the published file."""
  yield module.norm, 'embeddings.LayerNorm'
  for i, block in enumerate(module.blocks):
    for path, theirs in _PARTS.items():
      part = functools.reduce(getattr, path.split('/'), block)
      yield part, f'encoder.layer.{i}.{theirs}'
