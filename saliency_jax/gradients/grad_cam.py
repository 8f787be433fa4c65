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
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from typing_extensions import TypeAliasType

from saliency_jax import taps
from saliency_jax.core import checks
from saliency_jax.core import types

# Brings a layer to `[h, w, K]`, and its gradient too.
Layout = TypeAliasType(
  'Layout', Callable[[Float[Array, '...']], Float[Array, 'h w K']]
)


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
  layout: Layout | None = None,
  activation: Callable[[Array], Array] = jax.nn.relu,
) -> types.Attribution:
  """Weighs a layer's channels by their mean gradient.

  The map is stretched by bilinear interpolation between pixel centres (half
  pixels, the corners not aligned). The map of the layer itself is `info.raw`.

  Args:
    fn: score of one example.
    x: the image.
    key: not used.
    name: the layer's `checkpoint_name`.
    layout: maps its value to `[h, w, K]`, such as `taps.channels_first`, or
      `functools.partial(taps.grid, shape=(14, 14), skip=1)` for tokens; `None`
      is `taps.channels_last`, unless the shape could be another layout.
    activation: of the map; the identity keeps evidence against the class.

  Returns:
    Scores `[H, W, 1]`.

  Raises:
    ValueError: for `x` that is not one image, a name that is not in `fn`, or a
      layer whose layout is in doubt.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> from jax.ad_checkpoint import checkpoint_name
    >>> layer = lambda x: checkpoint_name(jax.nn.relu(x[::2, ::2]), 'features')
    >>> fn = lambda x: layer(x).mean()
    >>> maps, info = saliency_jax.grad_cam(fn, jnp.ones((8, 8, 3)))
    >>> maps.shape, info.raw.shape
    ((8, 8, 1), (4, 4))
  """
  del key  # Nothing is drawn.
  return _cam(lambda a, g: jnp.mean(g, (0, 1)), fn, x, name, layout, activation)


def grad_cam_pp(
  fn: types.ScoreFn,
  x: Float[Array, 'H W C'],
  *,
  key: Key[Array, ''] | None = None,
  name: str = 'features',
  layout: Layout | None = None,
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
    name: the layer's `checkpoint_name`.
    layout: maps its value to `[h, w, K]`, such as `taps.channels_first`, or
      `functools.partial(taps.grid, shape=(14, 14), skip=1)` for tokens; `None`
      is `taps.channels_last`, unless the shape could be another layout.
    activation: of the map; the identity keeps evidence against the class.

  Returns:
    Scores `[H, W, 1]`, stretched as `grad_cam`'s.

  Raises:
    ValueError: as `grad_cam`.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> from jax.ad_checkpoint import checkpoint_name
    >>> layer = lambda x: checkpoint_name(jax.nn.relu(x[::2, ::2]), 'features')
    >>> fn = lambda x: layer(x).mean()
    >>> maps, info = saliency_jax.grad_cam_pp(fn, jnp.ones((8, 8, 3)))
    >>> maps.shape, info.raw.shape
    ((8, 8, 1), (4, 4))
  """
  del key  # Nothing is drawn.

  def weights(a, g):
    # The paper's quotient g^2 / (2 g^2 + g^3 sum A), with g^2 cancelled.
    below = 2 + g * jnp.sum(a, (0, 1), keepdims=True)
    usable = (g != 0) & (below != 0)
    alpha = jnp.where(usable, 1 / jnp.where(usable, below, 1), 0)
    return jnp.sum(alpha * jax.nn.relu(g), (0, 1))

  return _cam(weights, fn, x, name, layout, activation)


def _cam(weights_fn, fn, x, name, layout, activation):
  checks.image(x)
  trunk, head = taps.split(fn, x, name)
  layer, rest = trunk(x)
  if layout is None:
    _check_channels_last(name, layer.shape, x.shape)
    layout = taps.channels_last
  score, grad = jax.value_and_grad(lambda a: head(a, rest))(layer)
  layer, grad = layout(layer), layout(grad)
  if layer.ndim != 3:
    raise ValueError(
      f'layout makes {layer.shape} of {name!r}, expected [h, w, K]'
    )
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


def _check_channels_last(name, shape, image):
  """Refuses a layer that may be something else than `[h, w, K]`."""
  axes = shape
  while len(axes) > 2 and axes[0] == 1:
    axes = axes[1:]
  if len(axes) == 2 and _misfit((1, axes[0]), image) > math.log(2):
    raise ValueError(
      f'the layer {name!r} is {shape}, which reads as tokens [N, K]: pass '
      f'layout=functools.partial(taps.grid, {_patches(axes[0], image)}), the '
      'rows and columns of the patches, and the tokens before them'
    )
  axes = shape[-3:]
  if len(axes) == 3 and _misfit(axes[1:], image) <= _misfit(axes[:2], image):
    raise ValueError(
      f'the layer {name!r} is {shape}, which may be [K, h, w]: pass '
      'layout=taps.channels_first, or taps.channels_last if it is [h, w, K]'
    )
  if not (len(shape) == 3 or (len(shape) == 4 and shape[0] == 1)):
    raise ValueError(
      f'expected the layer {name!r} to be [h, w, K], got {shape}: pass a '
      'layout that makes it so, such as taps.channels_first or taps.grid'
    )


def _misfit(grid, image):
  """Returns how far the shape of a grid is from the shape of the image."""
  return abs(math.log(grid[0] * image[1] / (grid[1] * image[0])))


def _patches(num, image):
  """Returns the grid, of the image's shape, that some tokens would fill."""
  for skip in (0, 1):
    rows = round(math.sqrt((num - skip) * image[0] / image[1]))
    columns = (num - skip) // max(rows, 1)
    fits = rows * columns == num - skip and rows > 0
    if fits and rows * image[1] == columns * image[0]:
      return f'shape=({rows}, {columns}), skip={skip}'
  return 'shape=(rows, columns), skip=...'
