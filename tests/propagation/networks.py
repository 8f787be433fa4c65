"""Tiny networks of every kind, in plain JAX and flax: `(score, example)`.

Each has what its kind is known for, however a framework spells it, and nothing
more; none is trained.
"""

from collections.abc import Callable

from flax import nnx
import jax
import jax.numpy as jnp

from saliency_jax.models import convolutions


def draw(*shape: int, seed: int = 0) -> jax.Array:
  """Returns standard normals, in float64 where that is on."""
  return jax.random.normal(jax.random.key(seed), shape, float)


def _mlp():
  w, v, u = draw(9, 5), draw(8, 9, seed=1) / 3, draw(8, seed=2)
  return lambda x: u @ jax.nn.relu(v @ jax.nn.relu(w @ x)), draw(5, seed=3)


def _activations():
  """One of each, as their libraries write them."""
  kinds = (
    jnp.tanh,
    jax.nn.sigmoid,
    jax.nn.softplus,
    jax.nn.silu,
    jax.nn.gelu,
    lambda x: jax.nn.gelu(x, approximate=False),
    jax.nn.elu,
    jax.nn.leaky_relu,
    jax.nn.relu6,
    jax.nn.hard_swish,
    lambda x: jnp.where(x > 0, x, 0),
    lambda x: (x > 0).astype(x.dtype) * x,
    lambda x: jnp.clip(x, -0.3, 0.3),
    lambda x: jnp.sqrt(jnp.abs(x) + 1) / jnp.log(3 + x**2),
  )
  w = draw(len(kinds), 6, 5)
  u = draw(len(kinds), 6, seed=1)

  def fn(x):
    parts = [u_k @ f(w_k @ x) for f, w_k, u_k in zip(kinds, w, u, strict=True)]
    return jnp.sum(jnp.stack(parts))

  return fn, draw(5, seed=2)


def _cnn():
  """Overlapping max-pools by XLA's windows, then a mean."""
  first, second = draw(3, 3, 2, 4), draw(3, 3, 4, 5, seed=1) / 6
  u = draw(5, seed=2)

  def fn(x):
    h = jax.nn.relu(convolutions.conv(x[None], first, fast=False))
    h = convolutions.max_pool(h, window=(3, 3), strides=(2, 2), fast=False)
    h = jax.nn.relu(convolutions.conv(h, second))
    h = convolutions.max_pool(h, window=(2, 2), strides=(1, 1))
    return jnp.mean(h, (0, 1, 2)) @ u

  return fn, draw(9, 9, 2, seed=3)


def depthwise(fast: bool) -> Callable[[jax.Array], jax.Array]:
  """Returns a depthwise net with ReLU6 and squeeze-and-excitation."""
  first, second = draw(3, 3, 3, 4), draw(3, 3, 4, seed=1)
  gate, u = draw(4, 4, seed=2), draw(4, seed=3)

  def fn(x):
    h = convolutions.conv(x[None], first, strides=(2, 2), fast=fast)
    h = jax.nn.relu6(h)
    h = h + convolutions.depthwise_conv(h, second, fast=fast)
    h = h * jax.nn.sigmoid(jnp.mean(h, (1, 2), keepdims=True) @ gate)
    return jnp.mean(h, (0, 1, 2)) @ u

  return fn


def _resnet():
  """Two residual blocks with batch normalisation, in flax."""
  rngs = nnx.Rngs(0)
  make = lambda n, m: nnx.Conv(n, m, (3, 3), dtype=float, rngs=rngs)
  convs = [make(2, 4), make(4, 4), make(4, 4)]
  norms = [nnx.BatchNorm(4, use_running_average=True, rngs=rngs) for _ in convs]
  for i, norm in enumerate(norms):
    norm.mean[...] = draw(4, seed=i).astype(jnp.float32)
    norm.var[...] = jnp.exp(draw(4, seed=i + 3)).astype(jnp.float32)
    norm.scale[...] = draw(4, seed=i + 6).astype(jnp.float32)
  u = draw(4, seed=9)
  widen = lambda a: a.astype(float)
  for module in [*convs, *norms]:
    nnx.update(module, jax.tree.map(widen, nnx.state(module)))

  def fn(x):
    h = jax.nn.relu(norms[0](convs[0](x[None])))
    for conv, norm in zip(convs[1:], norms[1:], strict=True):
      h = jax.nn.relu(h + norm(conv(h)))
    return jnp.mean(h, (0, 1, 2)) @ u

  return fn, draw(6, 6, 2, seed=10)


def _layer_norm(h, scale):
  mean = jnp.mean(h, -1, keepdims=True)
  variance = jnp.mean((h - mean) ** 2, -1, keepdims=True)
  return (h - mean) * jax.lax.rsqrt(variance + 1e-5) * scale[None]


def _block(h, weights, mask):
  """Attention of one head and a feed-forward layer, each around a residual."""
  w = weights
  a = _layer_norm(h, w['scale'])
  q, k, v = (a @ w[name] for name in ('q', 'k', 'v'))
  logits = q @ k.T / k.shape[-1] ** 0.5
  logits = jnp.where(mask, logits, -jnp.inf)
  h = h + jax.nn.softmax(logits) @ v
  return h + jax.nn.gelu(_layer_norm(h, w['scale']) @ w['up']) @ w['down']


def _weights(width, seed):
  shapes = {
    'q': (width, width),
    'k': (width, width),
    'v': (width, width),
    'up': (width, 2 * width),
    'down': (2 * width, width),
    'scale': (width,),
  }
  return {
    name: draw(*shape, seed=seed + i) / shape[0] ** 0.5
    for i, (name, shape) in enumerate(shapes.items())
  }


def _vit():
  """Patches, a class token, learned positions, two blocks; a probability."""
  embed, token = draw(8, 6) / 3, draw(1, 6, seed=1)
  positions, head = draw(10, 6, seed=2), draw(6, 3, seed=3)
  blocks = [_weights(6, seed) for seed in (10, 20)]

  def fn(x):
    patches = x.reshape(3, 2, 3, 2, 2).swapaxes(1, 2).reshape(9, 8)
    h = jnp.concatenate([token, patches @ embed]) + positions
    for weights in blocks:
      h = _block(h, weights, jnp.ones((10, 10), bool))
    return jax.nn.softmax(h[0] @ head)[1]

  return fn, draw(6, 6, 2, seed=4)


def _tokens():
  """A causal classifier of embeddings, its positions rotated."""
  head, blocks = draw(6, 3), [_weights(6, seed) for seed in (30, 40)]
  angles = jnp.arange(5.0)[:, None] * jnp.array([[1.0, 0.1, 0.01]])
  angles = angles.astype(float)

  def rotate(h):
    a, b = jnp.split(h, 2, axis=-1)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

  def fn(x):
    h = rotate(x)
    for weights in blocks:
      h = _block(h, weights, jnp.tril(jnp.ones((5, 5), bool)))
    return jax.nn.log_softmax(h[-1] @ head)[2]

  return fn, draw(5, 6, seed=4)


def _lstm():
  """A long short-term memory, by scan."""
  w, u = draw(16, 7) / 2, draw(4, seed=1)

  def step(carry, x):
    h, c = carry
    i, f, o, g = jnp.split(w @ jnp.concatenate([h, x]), 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), None

  def fn(x):
    (h, _), _ = jax.lax.scan(step, (jnp.zeros(4, float),) * 2, x)
    return u @ h

  return fn, draw(3, 3, seed=2)


def _reductions():
  """Maxima, minima, norms and log-sum-exps."""
  w = draw(7, 5) / 2

  def fn(x):
    h = w @ x
    norm = jnp.linalg.norm(h) + jnp.std(h)
    return (
      jax.nn.logsumexp(h)
      + jnp.max(h) * jnp.min(h)
      + jnp.maximum(x[0], x[1]) ** jnp.exp(x[2] / 4)
      - jax.lax.cummax(h)[3] / norm
    )

  return fn, jnp.abs(draw(5, seed=1))


# Makers of `(score, example)`: what they hold has the dtype of their call.
NETWORKS = {
  'mlp': _mlp,
  'activations': _activations,
  'cnn': _cnn,
  'depthwise': lambda: (depthwise(True), draw(8, 8, 3, seed=4)),
  'resnet': _resnet,
  'vit': _vit,
  'tokens': _tokens,
  'lstm': _lstm,
  'reductions': _reductions,
}
