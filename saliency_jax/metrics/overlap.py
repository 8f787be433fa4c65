"""How alike two maps are: their best features, and their order.

`top_k_overlap(a, b) = |top_k(a) & top_k(b)| / k`; `rank_correlation` is
Spearman's, `corr(rank a, rank b)` with equal values at their mean rank, and
`linear_correlation` is Pearson's, `corr(a, b)`.

References:
  Ghorbani, Abid and Zou, Interpretation of neural networks is fragile, 2017.
  https://arxiv.org/abs/1710.10547
  Wang, Bovik, Sheikh and Simoncelli, Image quality assessment: from error
  visibility to structural similarity, 2004.
  https://doi.org/10.1109/TIP.2003.819861
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from saliency_jax.core import checks
from saliency_jax.core import types
from saliency_jax.metrics import maps


def top_k_overlap(
  a: Float[Array, '*x'], b: Float[Array, '*x'], k: int
) -> Float[Array, '']:
  """Returns the part of the `k` best features that two maps share, in [0, 1].

  Equal scores are taken by place: compare `|scores|`, or maps without ties.

  Raises:
    ValueError: if the maps are of two shapes, or `k` exceeds their size.
  """
  checks.same_shape('the second map', b, a)
  checks.count('k', k, 1, a.size)

  def best(scores):
    _, index = jax.lax.top_k(scores.ravel(), k)
    return jnp.zeros(scores.size, bool).at[index].set(True)

  shared = jnp.sum((best(a) & best(b)).astype(a.dtype)) / k
  return maps.if_finite(shared, a, b)


def rank_correlation(
  a: Float[Array, '*x'],
  b: Float[Array, '*x'],
  *,
  where: Bool[Array, '*x'] | None = None,
) -> Float[Array, '']:
  """Returns Spearman's rank correlation of two maps, in [-1, 1].

  NaN where a map is constant, and so has no order.

  Args:
    a: one map.
    b: the other.
    where: the scores that are ranked; `None` ranks all.

  Raises:
    ValueError: if the maps, or `where`, are of two shapes.

  Examples:
    >>> import jax.numpy as jnp
    >>> from saliency_jax import metrics
    >>> a, b = jnp.array([1.0, 2.0, 3.0]), jnp.array([0.1, 0.5, 0.2])
    >>> f'{metrics.rank_correlation(a, b):.2f}'
    '0.50'
  """
  checks.same_shape('the second map', b, a)
  every = jnp.ones(a.shape, bool)
  where = every if where is None else where
  checks.same_shape('where', where, every)
  num = jnp.sum(where).astype(a.dtype)

  def centred(scores):
    # What is left out ranks behind all others.
    ranks = jax.scipy.stats.rankdata(jnp.where(where, scores, jnp.inf))
    # The mean rank is known: (n + 1) / 2. Scaled, squares stay in range.
    centred = (ranks.astype(scores.dtype) - (num + 1) / 2) / num
    return jnp.where(where.ravel(), centred, 0)

  return maps.if_finite(_cosine(centred(a), centred(b)), a, b)


def linear_correlation(
  a: Float[Array, '*x'], b: Float[Array, '*x']
) -> Float[Array, '']:
  """Returns Pearson's correlation of two maps, in [-1, 1].

  NaN where a map is constant.

  Raises:
    ValueError: if the maps are of two shapes.
  """
  checks.same_shape('the second map', b, a)

  def centred(scores):
    away = scores - jnp.mean(scores)
    largest = jnp.max(jnp.abs(away))
    # The mean of a constant is known up to rounding, and it has no direction.
    varies = jnp.max(scores) > jnp.min(scores)
    return jnp.where(varies, away / jnp.where(largest > 0, largest, 1), 0)

  return maps.if_finite(_cosine(centred(a), centred(b)), a, b)


def structural_similarity(
  a: Float[Array, 'H W'],
  b: Float[Array, 'H W'],
  *,
  data_range: types.Scalar = 1.0,
  window: int = 7,
) -> Float[Array, '']:
  """Returns the mean structural similarity (SSIM) of two images, at most 1.

  The form of Wang et al. (2004) with square windows, as scikit-image's default.

  Args:
    a: one image.
    b: the other.
    data_range: distance between the least and the largest possible value.
    window: side of the windows, in pixels.

  Raises:
    ValueError: if the images are of two shapes, or smaller than a window.
  """
  checks.same_shape('the second map', b, a)
  checks.count('window', window, 2, min(a.shape))
  n = window**2

  def mean(image):
    # Rows, then columns: 2 w additions a pixel and not w^2.
    for shape in ((window, 1), (1, window)):
      image = jax.lax.reduce_window(
        image, jnp.zeros((), a.dtype), jax.lax.add, shape, (1, 1), 'VALID'
      )
    return image / n

  mean_a, mean_b = mean(a), mean(b)
  sample = n / (n - 1)
  var_a = sample * (mean(a * a) - mean_a**2)
  var_b = sample * (mean(b * b) - mean_b**2)
  cov = sample * (mean(a * b) - mean_a * mean_b)
  c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
  luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
  similar = luminance * (2 * cov + c2) / (var_a + var_b + c2)
  return maps.if_finite(jnp.mean(similar), a, b)


def _cosine(u, v):
  return jnp.sum(u * v) / jnp.sqrt(jnp.sum(u**2) * jnp.sum(v**2))
