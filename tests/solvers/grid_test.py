"""Tests for `grid.py`."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from saliency_jax.solvers import grid

_SHAPES = ((5, 7), (8, 3), (1, 6), (6, 1), (1, 1))


def _random(shape, seed=0):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


def _flat(edges):
  return np.concatenate([np.ravel(a) for a in edges])


def _edges(flat, h, w):
  cut = (h - 1) * w
  return (
    jnp.asarray(flat[:cut].reshape(h - 1, w)),
    jnp.asarray(flat[cut:].reshape(h, w - 1)),
  )


def _matrix(h, w):
  """`D` written out: one row an edge."""
  rows = []
  cell = lambda i, j: np.eye(h * w)[i * w + j]
  for i in range(h - 1):
    rows += [cell(i + 1, j) - cell(i, j) for j in range(w)]
  for i in range(h):
    rows += [cell(i, j + 1) - cell(i, j) for j in range(w - 1)]
  return np.reshape(rows, (-1, h * w))


class GridTest(parameterized.TestCase):
  @parameterized.parameters(*_SHAPES)
  def test_matches_matrices(self, h, w):
    d = _matrix(h, w)
    u, x = _random((h, w)), np.ravel(_random((h, w)))
    a = np.asarray(_random(d.shape[0], seed=1))
    inverse = np.linalg.pinv(d) if d.size else np.zeros((1, 0))
    close = lambda got, want: np.testing.assert_allclose(got, want, atol=1e-5)
    close(_flat(grid.difference(u)), d @ x)
    close(np.ravel(grid.adjoint(_edges(a, h, w))), d.T @ a)
    close(np.ravel(grid.pinv(_edges(a, h, w))), inverse @ a)
    close(_flat(grid.pinv_adjoint(u)), inverse.T @ x)
    close(np.ravel(grid.poisson(u)), inverse @ inverse.T @ x)
    close(grid.total_variation(u), np.abs(d @ x).sum())
    close(
      grid.total_variation(u, _edges(np.abs(a), h, w)),
      np.abs(a) @ np.abs(d @ x),
    )
    close(grid.largest(_edges(a, h, w)), np.max(np.abs(a), initial=0))

  @parameterized.parameters(*_SHAPES, (224, 31))
  def test_transform_is_scipys(self, h, w):
    u = _random((h, w))
    want = scipy.fft.dctn(np.asarray(u, np.float64), norm='ortho')
    np.testing.assert_allclose(grid.dct(u), want, atol=5e-6)
    np.testing.assert_allclose(grid.idct(grid.dct(u)), u, atol=5e-6)

  @parameterized.parameters(*_SHAPES, (40, 28))
  def test_basis_diagonalises_laplacian(self, h, w):
    u = _random((h, w))
    laplacian = grid.adjoint(grid.difference(u))
    got = grid.filtered(u, grid.eigenvalues(h, w))
    np.testing.assert_allclose(got, laplacian, atol=2e-5)
    self.assertEqual(grid.eigenvalues(h, w)[0, 0], 0)
    self.assertTrue(np.all(np.ravel(grid.eigenvalues(h, w))[1:] > 0))

  @parameterized.parameters(*_SHAPES, (28, 28))
  def test_papers_covariance_whitens_to_differences(self, h, w):
    """`D^{+T} S = sigma^2 D` for `S = sigma^2 (D'D + 11'/p)`."""
    u, variance = _random((h, w)), np.float32(0.1)
    spectrum = variance * grid.eigenvalues(h, w).at[0, 0].set(1)
    got = grid.pinv_adjoint(grid.filtered(u, spectrum))
    want = variance * _flat(grid.difference(u))
    np.testing.assert_allclose(_flat(got), want, atol=2e-6)

  @parameterized.parameters(
    (1, 3), (4, 3), (6, 6), (2, 1), (1, 1), (1,), (7,), (2, 3, 4), (3, 1, 2)
  )
  def test_pinv_norm(self, *cells):
    columns = jnp.eye(math.prod(cells)).reshape(-1, *cells)
    d = np.array([_flat(grid.difference(u)) for u in columns]).T
    norm = np.abs(np.linalg.pinv(d)).sum(0).max(initial=0)
    np.testing.assert_allclose(grid.pinv_norm(*cells), norm, rtol=1e-6)

  @parameterized.parameters((9,), (1,), (3, 4, 5), (2, 1, 3), (2, 3, 2, 4))
  def test_any_number_of_axes(self, *cells):
    """Against `D` written out with Kronecker products, and its inverse."""
    d = []
    for axis in range(len(cells)):
      parts = [np.eye(n) for n in cells]
      parts[axis] = np.diff(parts[axis], axis=0)
      d.append(functools.reduce(np.kron, parts))
    shapes = [
      tuple(n - (k == axis) for k, n in enumerate(cells))
      for axis in range(len(cells))
    ]
    d = np.concatenate(d)
    inverse = np.linalg.pinv(d) if d.size else np.zeros((1, 0))
    u, x = _random(cells), np.ravel(_random(cells))
    a = _random(d.shape[0], seed=1)
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    edges = tuple(
      part.reshape(shape)
      for part, shape in zip(jnp.split(a, cuts), shapes, strict=True)
    )
    close = lambda got, want: np.testing.assert_allclose(got, want, atol=1e-5)
    self.assertEqual([e.shape for e in grid.difference(u)], shapes)
    close(_flat(grid.difference(u)), d @ x)
    close(np.ravel(grid.adjoint(edges)), d.T @ np.asarray(a))
    close(np.ravel(grid.pinv(edges)), inverse @ np.asarray(a))
    close(_flat(grid.pinv_adjoint(u)), inverse.T @ x)
    close(np.ravel(grid.poisson(u)), inverse @ inverse.T @ x)
    close(grid.total_variation(u), np.abs(d @ x).sum())
    close(grid.largest(edges), np.max(np.abs(a), initial=0))
    close(grid.count(edges), d.shape[0])
    transform = scipy.fft.dctn(np.asarray(u, np.float64), norm='ortho')
    close(grid.dct(u), transform)
    close(grid.idct(grid.dct(u)), u)
    close(_flat(grid.waves_difference(grid.dct(u))), d @ x)
    laplacian = grid.filtered(u, grid.eigenvalues(*cells))
    close(np.ravel(laplacian), d.T @ d @ x)

  def test_waves_difference(self):
    """Slow waves of the size of their differences, not of their own."""
    rng = np.random.default_rng(0)
    lam = grid.exact_eigenvalues(9, 56)
    c = rng.normal(size=lam.shape) / np.where(lam > 0, lam, 1)
    c[0, 0] = 1e3
    with jax.enable_x64(True):
      want = grid.difference(grid.idct(jnp.asarray(c)))
    got = grid.waves_difference(jnp.asarray(c, jnp.float32))
    for a, b in zip(got, want, strict=True):
      np.testing.assert_allclose(a, b, atol=2e-6 * np.abs(b).max())

  def test_vmap_matches_loop(self):
    us = _random((3, 5, 7))
    got = jax.vmap(grid.pinv_adjoint)(us)
    for i, u in enumerate(us):
      np.testing.assert_allclose(got[1][i], grid.pinv_adjoint(u)[1], atol=1e-6)

  def test_keeps_dtype(self):
    with jax.enable_x64(True):
      for dtype in (jnp.float32, jnp.float64):
        got = grid.pinv_adjoint(jnp.ones((3, 4), dtype))
        self.assertEqual(got[0].dtype, dtype)


if __name__ == '__main__':
  absltest.main()
