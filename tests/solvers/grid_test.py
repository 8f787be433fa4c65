"""Tests for `grid.py`."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from saliency_jax.solvers import flows
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


@jax.jit
def _found(u, edges):
  """Returns what the functions of a grid make of a map and of its edges."""
  on = grid.operator(*u.shape)
  waves = on.waves(u)
  return {
    'difference': on.difference(u),
    'adjoint': on.adjoint(edges),
    'pinv': on.pinv(edges),
    'pinv_adjoint': on.pinv_adjoint(u),
    'poisson': on.poisson(u),
    'total_variation': on.total_variation(u),
    'weighted': on.total_variation(u, jax.tree.map(jnp.abs, edges)),
    'largest': flows.largest(edges),
    'dct': waves,
    'idct': on.from_waves(waves),
    'waves_difference': on.waves_difference(waves),
    'means': on.means(u),
    'laplacian': on.filtered(u, jnp.asarray(on.eigenvalues, u.dtype)),
  }


class GridTest(parameterized.TestCase):
  @parameterized.parameters(*_SHAPES)
  def test_matches_matrices(self, h, w):
    d = _matrix(h, w)
    u, x = _random((h, w)), np.ravel(_random((h, w)))
    a = np.asarray(_random(d.shape[0], seed=1))
    inverse = np.linalg.pinv(d) if d.size else np.zeros((1, 0))
    close = lambda got, want: np.testing.assert_allclose(got, want, atol=1e-5)
    got = _found(u, _edges(a, h, w))
    close(_flat(got['difference']), d @ x)
    close(np.ravel(got['adjoint']), d.T @ a)
    close(np.ravel(got['pinv']), inverse @ a)
    close(_flat(got['pinv_adjoint']), inverse.T @ x)
    close(np.ravel(got['poisson']), inverse @ inverse.T @ x)
    close(got['total_variation'], np.abs(d @ x).sum())
    close(got['weighted'], np.abs(a) @ np.abs(d @ x))
    close(got['largest'], np.max(np.abs(a), initial=0))
    # And the map's own waves.
    waves = scipy.fft.dctn(np.asarray(u, np.float64), norm='ortho')
    np.testing.assert_allclose(got['dct'], waves, atol=5e-6)
    np.testing.assert_allclose(got['idct'], u, atol=5e-6)
    np.testing.assert_allclose(
      np.ravel(got['laplacian']), d.T @ (d @ x), atol=2e-5
    )
    close(got['means'], np.full((h, w), np.mean(u)))
    spectrum = np.ravel(grid.exact_eigenvalues(h, w))
    self.assertEqual(spectrum[0], 0)
    self.assertTrue(np.all(spectrum[1:] > 0))

  def test_transform_is_scipys_at_size(self):
    u = _random((224, 31))
    want = scipy.fft.dctn(np.asarray(u, np.float64), norm='ortho')
    waves = jax.jit(grid.dct)(u)
    np.testing.assert_allclose(waves, want, atol=5e-6)
    np.testing.assert_allclose(jax.jit(grid.idct)(waves), u, atol=5e-6)

  def test_basis_diagonalises_laplacian_at_size(self):
    got = _found(_random((40, 28)), _edges(np.zeros(2172, np.float32), 40, 28))
    laplacian = jax.jit(grid.adjoint)(got['difference'])
    np.testing.assert_allclose(got['laplacian'], laplacian, atol=2e-5)

  @parameterized.parameters(*_SHAPES, (28, 28))
  def test_papers_covariance_whitens_to_differences(self, h, w):
    """`D^{+T} S = sigma^2 D` for `S = sigma^2 (D'D + 11'/p)`."""
    variance = np.float32(0.1)

    @jax.jit
    def both(u):
      on = grid.operator(h, w)
      spectrum = np.where(on.eigenvalues > 0, on.eigenvalues, 1)
      spectrum = jnp.asarray(variance * spectrum, u.dtype)
      whitened = on.pinv_adjoint(on.filtered(u, spectrum))
      return whitened, on.difference(u)

    got, want = both(_random((h, w)))
    np.testing.assert_allclose(_flat(got), variance * _flat(want), atol=2e-6)

  @parameterized.parameters(
    (1, 3), (4, 3), (6, 6), (2, 1), (1, 1), (1,), (7,), (2, 3, 4), (3, 1, 2)
  )
  def test_pinv_norm(self, *cells):
    columns = jnp.eye(math.prod(cells)).reshape(-1, *cells)
    edges = jax.jit(jax.vmap(grid.difference))(columns)
    d = np.array([_flat(e) for e in zip(*edges, strict=True)]).T
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
    a = np.asarray(_random(d.shape[0], seed=1))
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    edges = tuple(
      part.reshape(shape)
      for part, shape in zip(np.split(a, cuts), shapes, strict=True)
    )
    close = lambda got, want: np.testing.assert_allclose(got, want, atol=1e-5)
    got = _found(u, edges)
    self.assertEqual([e.shape for e in got['difference']], shapes)
    close(_flat(got['difference']), d @ x)
    close(np.ravel(got['adjoint']), d.T @ a)
    close(np.ravel(got['pinv']), inverse @ a)
    close(_flat(got['pinv_adjoint']), inverse.T @ x)
    close(np.ravel(got['poisson']), inverse @ inverse.T @ x)
    close(got['total_variation'], np.abs(d @ x).sum())
    close(got['largest'], np.max(np.abs(a), initial=0))
    close(flows.count(jax.tree.map(jnp.asarray, edges)), d.shape[0])
    close(got['dct'], scipy.fft.dctn(np.asarray(u, np.float64), norm='ortho'))
    close(got['idct'], u)
    close(_flat(got['waves_difference']), d @ x)
    close(np.ravel(got['laplacian']), d.T @ d @ x)

  def test_waves_difference(self):
    """Slow waves of the size of their differences, not of their own."""
    rng = np.random.default_rng(0)
    lam = grid.exact_eigenvalues(9, 56)
    c = rng.normal(size=lam.shape) / np.where(lam > 0, lam, 1)
    c[0, 0] = 1e3
    with jax.enable_x64(True):
      want = jax.jit(lambda c: grid.difference(grid.idct(c)))(c)
    got = grid.waves_difference(jnp.asarray(c, jnp.float32))
    for a, b in zip(got, want, strict=True):
      np.testing.assert_allclose(a, b, atol=2e-6 * np.abs(b).max())

  def test_vmap_matches_loop(self):
    us = _random((3, 5, 7))
    one = jax.jit(grid.operator(5, 7).pinv_adjoint)
    got = jax.jit(jax.vmap(grid.operator(5, 7).pinv_adjoint))(us)
    for i, u in enumerate(us):
      np.testing.assert_allclose(got[1][i], one(u)[1], atol=1e-6)

  def test_keeps_dtype(self):
    with jax.enable_x64(True):
      for dtype in (jnp.float32, jnp.float64):
        got = jax.eval_shape(
          grid.operator(3, 4).pinv_adjoint, jnp.ones((3, 4), dtype)
        )
        self.assertEqual(got[0].dtype, dtype)


if __name__ == '__main__':
  absltest.main()
