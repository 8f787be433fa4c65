"""Grad-CAM: a layer's channels, weighted by the gradient of the score.

With the channels `A_k` `[h, w]` of a layer and `g = d f / d A`, the scores are
`relu(sum_k alpha_k A_k)` stretched to the image, where `alpha_k` is

  `grad_cam`     `mean_ij g_k(i, j)`,
  `grad_cam_pp`  `sum_ij g^2 / (2 g^2 + g^3 sum A_k) relu(g)`.

References:
  Selvaraju et al., Grad-CAM: visual explanations from deep networks via
  gradient-based localization, 2017. https://arxiv.org/abs/1610.02391
  Chattopadhay et al., Grad-CAM++: improved visual explanations for deep
  convolutional networks, 2018. https://arxiv.org/abs/1710.11063
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax import taps
from saliency_jax.core import checks
from saliency_jax.core import types


class GradCamInfo(NamedTuple):
  """The map before it was stretched, and what was left out of it.

  Attributes:
    raw: the weighted sum of the channels, before activation and stretching.
    discarded: share of the L1 norm of `raw` that the activation removed.
    score: `f(x)`.
  """

  raw: Float[Array, 'h w']
  discarded: Float[Array, '']
  score: Float[Array, '']


def grad_cam(
  fn: types.ScoreFn,
  x: Float[Array, 'H W C'],
  *,
  key: Key[Array, ''] | None = None,
  name: str = 'features',
  activation: Callable[[Array], Array] = jax.nn.relu,
) -> types.Attribution:
  """Weighs a layer's channels by their mean gradient.

  The map is stretched by bilinear interpolation between pixel centres (half
  pixels, the corners not aligned). The map of the layer itself is `info.raw`.

  Args:
    fn: score of one example.
    x: the image.
    key: not used.
    name: the layer's `checkpoint_name`; its value is `[h, w, K]`, or a
      batch of one of these.
    activation: of the map; the identity keeps evidence against the class.

  Returns:
    Scores `[H, W, 1]`.

  Raises:
    ValueError: for `x` that is not one image, a name that is not in `fn`, or a
      layer that is not `[h, w, K]`.
  """
  del key  # Nothing is drawn.
  return _cam(lambda a, g: jnp.mean(g, (0, 1)), fn, x, name, activation)


def grad_cam_pp(
  fn: types.ScoreFn,
  x: Float[Array, 'H W C'],
  *,
  key: Key[Array, ''] | None = None,
  name: str = 'features',
  activation: Callable[[Array], Array] = jax.nn.relu,
) -> types.Attribution:
  """Weighs a layer's channels by Grad-CAM++'s pixel-wise weighted gradient.

  The paper explains `exp(f)`, `f` a logit, which makes the higher derivatives
  powers of the first; its factor `exp(f)`, the same for all scores, is left
  out.

  Args:
    fn: score of one example, a logit.
    x: the image.
    key: not used.
    name: the layer's `checkpoint_name`; its value is `[h, w, K]`, or a
      batch of one of these.
    activation: of the map; the identity keeps evidence against the class.

  Returns:
    Scores `[H, W, 1]`, stretched as `grad_cam`'s.

  Raises:
    ValueError: as `grad_cam`.
  """
  del key  # Nothing is drawn.

  def weights(a, g):
    # The paper's quotient g^2 / (2 g^2 + g^3 sum A), with g^2 cancelled.
    below = 2 + g * jnp.sum(a, (0, 1), keepdims=True)
    usable = (g != 0) & (below != 0)
    alpha = jnp.where(usable, 1 / jnp.where(usable, below, 1), 0)
    return jnp.sum(alpha * jax.nn.relu(g), (0, 1))

  return _cam(weights, fn, x, name, activation)


def _cam(weights_fn, fn, x, name, activation):
  checks.image(x)
  trunk, head = taps.split(fn, x, name)
  layer, rest = trunk(x)
  if layer.ndim not in (3, 4) or (layer.ndim == 4 and layer.shape[0] != 1):
    raise ValueError(f'expected {name!r} to be [h, w, K], got {layer.shape}')
  score, grad = jax.value_and_grad(lambda a: head(a, rest))(layer)
  # Networks written for batches hold one of one inside.
  layer, grad = (a.reshape(a.shape[-3:]) for a in (layer, grad))
  raw = jnp.einsum(
    'hwk,k->hw',
    layer,
    weights_fn(layer, grad),
    precision=jax.lax.Precision.HIGHEST,
  )
  kept = activation(raw)
  mass = jnp.sum(jnp.abs(raw))
  lost = jnp.sum(jnp.abs(raw - kept))
  discarded = jnp.where(mass == 0, 0, lost / jnp.where(mass == 0, 1, mass))
  stretched = jax.image.resize(kept, x.shape[:2], 'bilinear')
  return types.Attribution(
    stretched[..., None].astype(x.dtype), GradCamInfo(raw, discarded, score)
  )
