"""Masks over images: how they act, what they cost, what they are to change.

A mask `M` in [0, 1]^(s x s) keeps a pixel where it is 1 and gives it to a
baseline image where it is 0: `Phi(x, b, M) = x * up(M) + b * (1 - up(M))`. Its
price is `l1 mean|1 - M| + l2 TV(M)`, and its purpose is an `Objective`.

References:
  Fong and Vedaldi, Interpretable explanations of black boxes by meaningful
  perturbation, 2017. https://arxiv.org/abs/1704.03296
  Khorram, Lawson and Li, iGOS++: integrated gradient optimized saliency by
  bilateral perturbations, 2020. https://arxiv.org/abs/2012.15783
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import types

# `Phi`: an image, a baseline and a mask of the image's size in, an image out.
Compose = Callable[
  [Float[Array, 'H W C'], Float[Array, 'H W C'], Float[Array, 'H W']],
  Float[Array, 'H W C'],
]

# What a mask is to make small, apart from its price: the score to explain, an
# image, a baseline, a mask of the image's size and a `Compose` in, one number
# out.
Objective = Callable[..., Float[Array, '']]


def check(
  x: Float[Array, 'H W C'], resolution: int, l1: types.Scalar, tv: types.Scalar
) -> None:
  """Raises `ValueError` for a mask finer than its image, or a bad price."""
  checks.count('resolution', resolution, 1, min(x.shape[:2]))
  checks.within('l1', l1, '[0, inf)')
  checks.within('tv', tv, '[0, inf)')


def composite(
  x: Float[Array, 'H W C'],
  baseline: Float[Array, 'H W C'],
  mask: Float[Array, 'H W'],
) -> Float[Array, 'H W C']:
  """Returns `Phi`: the image where the mask is 1, the baseline where 0."""
  mask = mask[..., None]
  return x * mask + baseline * (1 - mask)


def deletion(
  fn: types.ScoreFn,
  x: Float[Array, 'H W C'],
  baseline: Float[Array, 'H W C'],
  mask: Float[Array, 'H W'],
  compose: Compose = composite,
) -> Float[Array, '']:
  """Returns the score of what the mask keeps: small without the evidence."""
  return fn(compose(x, baseline, mask))


def insertion(
  fn: types.ScoreFn,
  x: Float[Array, 'H W C'],
  baseline: Float[Array, 'H W C'],
  mask: Float[Array, 'H W'],
  compose: Compose = composite,
) -> Float[Array, '']:
  """Returns minus the score of what the mask removes, on the baseline.

  It is small where the removed part is evidence enough. Beyond I-GOS's paper;
  the second half of I-GOS++.
  """
  return -fn(compose(x, baseline, 1 - mask))


def upsample(
  mask: Float[Array, 's t'], size: tuple[int, int]
) -> Float[Array, 'H W']:
  """Interpolates a mask bilinearly, its corners at the image's corners.

  Two small matrices: `jax.image.resize` puts the corners half a cell outside.
  """
  if mask.shape == size:
    return mask
  rows, columns = (
    jnp.asarray(interpolation_matrix(n, s), mask.dtype)
    for n, s in zip(size, mask.shape, strict=True)
  )
  return jnp.einsum(
    'is,jt,st->ij', rows, columns, mask, precision=jax.lax.Precision.HIGHEST
  )


def interpolation_matrix(n: int, s: int) -> Float[np.ndarray, 'n s']:
  """Returns the weights of `s` nodes in `n` points, with corners aligned.

  Raises:
    ValueError: unless `1 <= s <= n`.
  """
  checks.count('the resolution of a mask', s, 1, n)
  if s == 1:
    return np.ones((n, 1))
  at = np.arange(n) * ((s - 1) / (n - 1))
  return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(s)[None]))


def sparsity(mask: Float[Array, 's t']) -> Float[Array, '']:
  """Returns `mean|1 - M|`: the part of the image that the mask removes.

  Its slope is that inside the box, at `M = 1` too: what `abs` has at zero is a
  convention (none in torch, and so in the authors' code; one in JAX).
  """
  return jnp.mean(1 - mask)


def total_variation(mask: Float[Array, 's t']) -> Float[Array, '']:
  """Returns the mean squared difference of neighbours, both directions added.

  The powers of two of I-GOS's code; the text of both papers leaves the norm
  open.
  """
  return sum(_mean(d**2) for d in _differences(mask))


def bilateral_total_variation(
  mask: Float[Array, 's t'],
  x: Float[Array, 'H W C'],
  variance: types.Scalar = 5e-4,
) -> Float[Array, '']:
  """Returns I-GOS++'s variation, cheap where the image itself has an edge.

  `(TV(M) + mean(exp(-dx^2 / variance) dup(M)^2)) / 2`, `dx` a difference of
  neighbouring pixels averaged over channels. The paper writes only the second
  term; its authors' code takes the mean of both, the first at the resolution
  of the mask, and averages `dx` over channels before squaring in one direction
  and after it in the other: here it is before, in both.

  Args:
    mask: the mask.
    x: the image.
    variance: squared difference, in the units of `x`, that counts as an edge.
      The authors' .01 is in units of a deviation of about .22 of [0, 1].
  """
  edges = _differences(jnp.mean(x, -1))
  slopes = _differences(upsample(mask, x.shape[:2]))
  bilateral = sum(
    _mean(jnp.exp(-(e**2) / variance) * d**2)
    for e, d in zip(edges, slopes, strict=True)
  )
  return (total_variation(mask) + bilateral) / 2


def _differences(a):
  return a[1:] - a[:-1], a[:, 1:] - a[:, :-1]


def _mean(a):
  """Averages; nothing averages to zero (a mask of one cell)."""
  return jnp.mean(a) if a.size else jnp.zeros((), a.dtype)
