"""Tests for `covariances.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from saliency_jax.perturbations import covariances
from saliency_jax.solvers import grid

_SHAPES = ((5,), (3, 4), (2, 3, 2))


def _dense(spectrum):
  """Returns the matrix that is diagonal, with this spectrum, in cosines."""
  basis = np.eye(1)
  for n in spectrum.shape:
    basis = np.kron(basis, grid.exact_cosine_basis(n).T)
  return basis @ np.diag(spectrum.ravel()) @ basis.T


def _laplacian(shape):
  """Returns `D'D`, by the differences of every unit vector."""
  columns = []
  for unit in np.eye(int(np.prod(shape))):
    edges = [np.diff(unit.reshape(shape), axis=k) for k in range(len(shape))]
    columns.append(np.concatenate([e.ravel() for e in edges]))
  return np.array(columns) @ np.array(columns).T


class CovariancesTest(parameterized.TestCase):
  @parameterized.parameters(*_SHAPES)
  def test_against_dense_matrices(self, *shape):
    laplacian = _laplacian(shape)
    p = len(laplacian)
    eigenvalues = grid.exact_eigenvalues(*shape)
    got = _dense(covariances.paper(eigenvalues))
    np.testing.assert_allclose(got, laplacian + 1 / p, atol=1e-12)
    np.testing.assert_array_equal(
      covariances.white(eigenvalues), np.ones(shape)
    )
    smooth = _dense(covariances.smooth(eigenvalues))
    np.testing.assert_allclose(np.trace(smooth), p)
    # Off the mean it is the inverse of the Laplacian, but for a factor.
    off = np.eye(p) - 1 / p
    product = laplacian @ smooth
    np.testing.assert_allclose(
      product, product[0, 0] / off[0, 0] * off, atol=1e-9
    )

  def test_scaled(self):
    lam = grid.exact_eigenvalues(2, 3)
    got = covariances.scaled(covariances.white, lam, 0.5, jnp.float32)
    np.testing.assert_array_equal(got, np.full((2, 3), 0.25))
    for bad, message in (
      (lambda lam: np.ones(2), 'must return the shape'),
      (np.zeros_like, 'the least eigenvalue must be in'),
    ):
      with self.assertRaisesRegex(ValueError, message):
        covariances.scaled(bad, lam, 1.0, jnp.float32)
    with self.assertRaisesRegex(ValueError, 'sigma must be in'):
      covariances.scaled(covariances.white, lam, 0, jnp.float32)


if __name__ == '__main__':
  absltest.main()
