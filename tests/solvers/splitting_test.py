"""Tests for `splitting.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.solvers import splitting


def _median(c):
  """`argmin_u sum_i |u - c_i|`: `A` is a column of ones."""

  def prox(z, step):
    return c + jnp.sign(z - c) * jnp.maximum(jnp.abs(z - c) - step, 0)

  return splitting.Problem(
    prox, forward=lambda u: jnp.full_like(c, 1) * u, pinv=jnp.mean
  )


def _start(c):
  zero = jnp.zeros((), c.dtype)
  return splitting.State(zero, jnp.zeros_like(c), zero + 1)


def _look(seen, u, point, flow):
  return seen + 1, (u, point, flow)


class SplittingTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 2)
  def test_finds_median(self, seed):
    c = jnp.asarray(np.random.default_rng(seed).normal(size=31), jnp.float32)
    state, seen, (us, points, flows) = splitting.douglas_rachford(
      _median(c), _start(c), look=_look, seen=0, num_looks=30
    )
    self.assertEqual(seen, 30)
    self.assertEqual(us.shape, (30,))
    np.testing.assert_allclose(state.coordinates, jnp.median(c), atol=1e-5)
    np.testing.assert_allclose(points[-1], jnp.full_like(c, us[-1]))
    # The flow sums to zero, and its negative is a subgradient of each |a - c|.
    np.testing.assert_allclose(jnp.sum(flows[-1]), 0, atol=1e-4)
    sign = np.sign(np.median(c) - c)
    np.testing.assert_allclose(
      -flows[-1][sign != 0], sign[sign != 0], atol=1e-4
    )
    for residual in splitting.residuals(_median(c), state):
      self.assertLess(residual, 1e-5)

  def test_restart_from_solution_stays(self):
    c = jnp.asarray(np.random.default_rng(3).normal(size=31), jnp.float32)
    state, _, _ = splitting.douglas_rachford(
      _median(c), _start(c), look=_look, seen=0, num_looks=30
    )
    _, _, (us, _, _) = splitting.douglas_rachford(
      _median(c), state, look=_look, seen=0, num_looks=1
    )
    np.testing.assert_allclose(us[0], jnp.median(c), atol=1e-5)

  def test_residuals_see_a_wrong_point(self):
    c = jnp.arange(5.0)
    primal, dual = splitting.residuals(_median(c), _start(c))
    self.assertGreater(primal, 0.1)
    self.assertGreater(dual, 0.1)

  def test_vmap_matches_loop(self):
    cs = jnp.asarray(np.random.default_rng(4).normal(size=(3, 9)), jnp.float32)

    def solve(c):
      return splitting.douglas_rachford(
        _median(c), _start(c), look=_look, seen=0, num_looks=5
      )[0]

    got = jax.jit(jax.vmap(solve))(cs)
    for i, c in enumerate(cs):
      want = jax.jit(solve)(c)
      jax.tree.map(
        lambda g, w: np.testing.assert_allclose(g[i], w, rtol=1e-4, atol=1e-5),  # noqa: B023
        got,
        want,
      )


if __name__ == '__main__':
  absltest.main()
