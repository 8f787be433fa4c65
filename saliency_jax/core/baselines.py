"""Baselines: what an example is when a feature of it is missing.

A baseline is a function `(x, *, key=None) -> like x`, its settings bound by
`functools.partial`. Integrated gradients start their path at one; occlusion,
RISE, masks and deletion curves fill removed pixels with one.

References:
  Sturmfels, Lundberg, Lee, Visualizing the impact of feature attribution
  baselines, 2020. https://distill.pub/2020/attribution-baselines
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import types

# `(x, *, key=None) -> like x`.
Baseline = Callable[..., types.Example]

# A place in a method's key that none of its draws reaches.
_KEY_INDEX = 2**32 - 1


def evaluate(
  baseline: Baseline, x: types.Example, key: Key[Array, ''] | None
) -> types.Example:
  """Returns `baseline(x)`, drawn from a place of `key` that no draw uses.

  Raises:
    ValueError: if the baseline is not shaped and typed as `x`.
  """
  if key is not None:
    key = sampling.draw_key(key, _KEY_INDEX)
  value = baseline(x, key=key)
  checks.same_shape('baseline', value, x)
  return value


def black(x: types.Example, *, key: Key[Array, ''] | None = None):
  """Returns zeros."""
  del key  # Nothing is drawn.
  return jax.tree.map(jnp.zeros_like, x)


def constant(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  value: types.Scalar = 0.5,
) -> types.Example:
  """Returns `value` everywhere: by default the grey between black and white."""
  del key  # Nothing is drawn.
  return jax.tree.map(
    lambda a: jnp.full(a.shape, jnp.asarray(value, a.dtype)), x
  )


def fixed(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  value: types.Example,
) -> types.Example:
  """Returns `value`, an example of the user's own, whatever `x` is."""
  del x, key
  return value


def mean(
  x: Float[Array, 'H W C'], *, key: Key[Array, ''] | None = None
) -> Float[Array, 'H W C']:
  """Returns the mean colour of the image.

  Raises:
    ValueError: if `x` is not one image.
  """
  del key  # Nothing is drawn.
  checks.image(x)
  return jnp.broadcast_to(jnp.mean(x, (0, 1), keepdims=True), x.shape)


def gaussian_blur(
  x: Float[Array, 'H W C'],
  *,
  key: Key[Array, ''] | None = None,
  kernel_size: int = 51,
  sigma: float | int = 50.0,
) -> Float[Array, 'H W C']:
  """Blurs the image, as `cv2.GaussianBlur` does.

  The border is mirrored about its own pixels (reflect-101). The defaults are
  those of I-GOS for images of 224 x 224.

  Args:
    x: the image.
    key: not used.
    kernel_size: side of the square kernel in pixels, odd.
    sigma: standard deviation of the kernel in pixels, before its cut.

  Raises:
    ValueError: for an even kernel, `sigma <= 0`, or `x` that is not one image.
  """
  del key  # Nothing is drawn.
  checks.image(x)
  checks.positive('sigma', sigma)
  if kernel_size < 1 or kernel_size % 2 == 0:
    raise ValueError(f'kernel_size must be odd and positive, got {kernel_size}')
  rows, cols = (
    jnp.asarray(_blur_matrix(n, kernel_size, sigma), x.dtype)
    for n in x.shape[:2]
  )
  return jnp.einsum(
    'hi,wj,ijc->hwc', rows, cols, x, precision=jax.lax.Precision.HIGHEST
  )


def uniform(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  low: types.Scalar = 0.0,
  high: types.Scalar = 1.0,
) -> types.Example:
  """Draws each entry uniformly from `[low, high)`.

  Raises:
    ValueError: if there is no key, or `low` is not below `high`.
  """
  if not any(isinstance(v, jax.core.Tracer) for v in (low, high)):
    checks.positive('high - low', high - low)
  leaves, treedef = jax.tree.flatten(x)
  draws = []
  for i, leaf in enumerate(leaves):
    least, most = (jnp.asarray(v, leaf.dtype) for v in (low, high))
    leaf_key = sampling.draw_key(key, i)
    unit = sampling.uniform(leaf_key, leaf)
    draws.append(least + (most - least) * unit)
  return jax.tree.unflatten(treedef, draws)


def _blur_matrix(size, kernel_size, sigma):
  """Returns the `[size, size]` blur of one axis, borders included."""
  offsets = np.arange(kernel_size) - kernel_size // 2
  weights = np.exp(-0.5 * (offsets / sigma) ** 2)
  period = max(2 * (size - 1), 1)
  at = np.abs(np.arange(size)[:, None] + offsets) % period
  at = np.minimum(at, period - at)
  matrix = np.zeros((size, size))
  np.add.at(matrix, (np.arange(size)[:, None], at), weights / weights.sum())
  return matrix
