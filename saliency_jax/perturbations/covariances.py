"""Covariances of LEG's noise: spectra in the cosine basis of a grid.

Each maps the sizes of a grid to the positive eigenvalues of the covariance of
noise of unit scale, laid out as `grid.dct` lays out its coefficients.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import types
from saliency_jax.solvers import grid

# `(*cells)` to a spectrum of the shape `cells`.
Covariance = Callable[..., Float[Array | np.ndarray, '*cells']]


def paper(*cells: int) -> Float[np.ndarray, '*cells']:
  """Returns the spectrum of `D'D + 11'/p`: cells vary by 2 sigma, at odds."""
  spectrum = grid.exact_eigenvalues(*cells)
  spectrum.flat[0] = 1
  return spectrum


def white(*cells: int) -> Float[np.ndarray, '*cells']:
  """Returns the spectrum of independent cells."""
  return np.ones(cells)


def smooth(*cells: int) -> Float[np.ndarray, '*cells']:
  """Returns the spectrum of `(D'D)^+`, scaled to a mean variance of 1.

  Neighbours are alike; the mean of the grid varies as its slowest wave does.
  """
  laplacian = grid.exact_eigenvalues(*cells)
  if laplacian.size == 1:
    return np.ones(cells)
  laplacian.flat[0] = np.min(laplacian.ravel()[1:])
  return (1 / laplacian) / np.mean(1 / laplacian)


def scaled(
  covariance: Covariance, cells: tuple[int, ...], sigma: types.Scalar, dtype
) -> Float[Array, '*cells']:
  """Returns the spectrum of noise of scale `sigma`.

  Raises:
    ValueError: if the spectrum has a wrong shape or is not positive.
  """
  checks.within('sigma', sigma, '(0, inf)')
  spectrum = covariance(*cells)
  if jnp.shape(spectrum) != cells:
    raise ValueError(
      f'covariance must return the shape {cells}, got {jnp.shape(spectrum)}'
    )
  if not isinstance(spectrum, jax.core.Tracer):
    checks.within('the least eigenvalue', np.min(spectrum), '(0, inf)')
  return jnp.asarray(spectrum, dtype) * jnp.asarray(sigma, dtype) ** 2
