"""Covariances of LEG's noise: spectra in the waves of a graph.

Each maps the eigenvalues of the graph's Laplacian `D'D` to the positive
eigenvalues of the covariance of noise of unit scale. Both are laid out as the
waves are (`solvers/operators.py`): the cosines of a grid, by frequencies. Zero
eigenvalues are of the mean, one for each connected piece.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float
import numpy as np
from typing_extensions import TypeAliasType

from saliency_jax.core import checks
from saliency_jax.core import types

# The eigenvalues of a Laplacian to a spectrum of their shape.
Covariance = TypeAliasType(
  'Covariance',
  Callable[[Float[np.ndarray, '*cells']], Float[Array | np.ndarray, '*cells']],
)


def paper(
  eigenvalues: Float[np.ndarray, '*cells'],
) -> Float[np.ndarray, '*cells']:
  """Returns the spectrum of `D'D + 11'/p`: cells vary by 2 sigma, at odds."""
  return np.where(eigenvalues > 0, eigenvalues, 1)


def white(
  eigenvalues: Float[np.ndarray, '*cells'],
) -> Float[np.ndarray, '*cells']:
  """Returns the spectrum of independent cells."""
  return np.ones_like(eigenvalues)


def smooth(
  eigenvalues: Float[np.ndarray, '*cells'],
) -> Float[np.ndarray, '*cells']:
  """Returns the spectrum of `(D'D)^+`, scaled to a mean variance of 1.

  Neighbours are alike; the mean of the map varies as its slowest wave does.
  """
  seen = eigenvalues > 0
  if not seen.any():
    return np.ones_like(eigenvalues)
  inverse = 1 / np.where(seen, eigenvalues, np.min(eigenvalues[seen]))
  return inverse / np.mean(inverse)


def scaled(
  covariance: Covariance,
  eigenvalues: Float[np.ndarray, '*cells'],
  sigma: types.Scalar,
  dtype: DTypeLike,
) -> Float[Array, '*cells']:
  """Returns the spectrum of noise of scale `sigma`.

  Raises:
    ValueError: if the spectrum has a wrong shape or is not positive.
  """
  checks.within('sigma', sigma, '(0, inf)')
  spectrum = covariance(eigenvalues)
  if jnp.shape(spectrum) != eigenvalues.shape:
    raise ValueError(
      f'covariance must return the shape {eigenvalues.shape}, got '
      f'{jnp.shape(spectrum)}'
    )
  if not isinstance(spectrum, jax.core.Tracer):
    checks.within('the least eigenvalue', np.min(spectrum), '(0, inf)')
  return jnp.asarray(spectrum, dtype) * jnp.asarray(sigma, dtype) ** 2
