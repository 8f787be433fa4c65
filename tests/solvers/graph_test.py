"""Tests for `graph.py`: against matrices, and against the same grid."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import graphs
from saliency_jax.solvers import graph
from saliency_jax.solvers import grid

# A tree with a cycle, a pair, and a node alone.
_PIECES = [(0, 1), (1, 2), (2, 3), (1, 4), (4, 5), (3, 5), (7, 6)]
_GRAPHS = {
  'chain': (graphs.chain(7), 7),
  'pieces': (_PIECES, 9),
  'complete': (graphs.complete(6), 6),
  'alone': (np.zeros((0, 2), int), 3),
}


def _matrix(edges, num):
  """`D`, one edge a row."""
  d = np.zeros((len(edges), num))
  for row, (a, b) in enumerate(graphs.known(edges, num)):
    d[row, [a, b]] = -1, 1
  return d


class GraphTest(parameterized.TestCase):
  @parameterized.parameters(*_GRAPHS)
  def test_matches_matrices(self, name):
    edges, num = _GRAPHS[name]
    d = _matrix(edges, num)
    inverse = np.linalg.pinv(d) if d.size else np.zeros((num, 0))
    rng = np.random.default_rng(0)
    x, a = rng.normal(size=num), rng.normal(size=len(d))
    on = graph.operator(edges, num)

    @jax.jit
    def found(u, flow):
      waves = on.waves(u)
      return {
        'difference': on.difference(u)[0],
        'adjoint': on.adjoint((flow,)),
        'pinv': on.pinv((flow,)),
        'pinv_adjoint': on.pinv_adjoint(u)[0],
        'poisson': on.poisson(u),
        'total_variation': on.total_variation(u),
        'from_waves': on.from_waves(waves),
        'waves_difference': on.waves_difference(waves)[0],
        'means': on.means(u),
        'laplacian': on.filtered(u, jnp.asarray(on.eigenvalues, u.dtype)),
      }

    got = found(jnp.asarray(x, jnp.float32), jnp.asarray(a, jnp.float32))
    want = {
      'difference': d @ x,
      'adjoint': d.T @ a,
      'pinv': inverse @ a,
      'pinv_adjoint': inverse.T @ x,
      'poisson': inverse @ inverse.T @ x,
      'total_variation': np.abs(d @ x).sum(),
      'from_waves': x,
      'waves_difference': d @ x,
      # What no difference sees.
      'means': x - inverse @ d @ x,
      'laplacian': d.T @ d @ x,
    }
    for key, value in want.items():
      np.testing.assert_allclose(got[key], value, atol=1e-5, err_msg=key)
    norm = np.abs(inverse).sum(0).max(initial=0)
    self.assertAlmostEqual(on.pinv_norm(), norm, places=9)
    pieces = num - np.linalg.matrix_rank(d) if d.size else num
    self.assertEqual(np.sum(on.eigenvalues == 0), pieces)

  def test_waves_of_a_chain_are_cosines(self):
    on = graph.operator(graphs.chain(9), 9)
    u = jnp.asarray(np.random.default_rng(1).normal(size=9), jnp.float32)
    np.testing.assert_allclose(on.waves(u), grid.dct(u), atol=1e-5)
    np.testing.assert_allclose(
      on.eigenvalues, grid.exact_eigenvalues(9), atol=1e-12
    )

  def test_grid_by_its_edges(self):
    edges = graphs.grid((3, 4))
    on = graph.operator(edges, 12)
    np.testing.assert_allclose(
      on.eigenvalues, np.sort(grid.exact_eigenvalues(3, 4).ravel()), atol=1e-12
    )
    u = jnp.asarray(np.random.default_rng(2).normal(size=(3, 4)), jnp.float32)
    np.testing.assert_allclose(
      on.poisson(u.ravel()).reshape(3, 4),
      grid.operator(3, 4).poisson(u),
      atol=1e-5,
    )

  @parameterized.parameters(
    ([[0, 0]], 'joins two different players, got .0, 0.'),
    ([[0, 9]], 'joins two players'),
    ([0, 1], r'expected edges \[m, 2\]'),
  )
  def test_rejects(self, edges, message):
    with self.assertRaisesRegex(ValueError, message):
      graph.operator(edges, 9)

  def test_rejects_what_is_too_large(self):
    with self.assertRaisesRegex(ValueError, '9000 nodes and 1 edges is too'):
      graph.operator([[0, 1]], 9000)


if __name__ == '__main__':
  absltest.main()
