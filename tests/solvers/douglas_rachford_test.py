"""Tests for `douglas_rachford.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.solvers import douglas_rachford


def _median(c):
  """`argmin_u sum_i |u - c_i|`: `A` is a column of ones."""

  def prox(z, step, _):
    return c + jnp.sign(z - c) * jnp.maximum(jnp.abs(z - c) - step, 0)

  return douglas_rachford.Problem(
    prox,
    forward=lambda u: jnp.full_like(c, 1) * u,
    pinv=lambda r, step: jnp.mean(r),
  )


def _start(c):
  zero = jnp.zeros((), c.dtype)
  return douglas_rachford.State(zero, jnp.zeros_like(c), zero + 1)


def _look(seen, u, point, flow):
  count, _ = seen
  return (count + 1, (u, point, flow)), 1 / (count + 1), ()


def _run(c, state=None, *, num_looks, tolerance=0):
  zero = jnp.zeros((), c.dtype)
  return douglas_rachford.solve(
    _median(c),
    _start(c) if state is None else state,
    look=_look,
    seen=(zero, (zero, c, c)),
    num_looks=num_looks,
    tolerance=tolerance,
  )


class DouglasRachfordTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 2)
  def test_finds_median(self, seed):
    c = jnp.asarray(np.random.default_rng(seed).normal(size=31), jnp.float32)
    run = _run(c, num_looks=30)
    count, (u, point, flow) = run.seen
    self.assertEqual(count, 30)
    self.assertEqual(run.steps, 30 * douglas_rachford.CHECK_EVERY)
    np.testing.assert_allclose(run.trace, 1 / np.arange(1, 31), rtol=1e-6)
    np.testing.assert_allclose(run.state.coordinates, jnp.median(c), atol=1e-5)
    np.testing.assert_allclose(point, jnp.full_like(c, u))
    # The flow sums to zero, and its negative is a subgradient of each |a - c|.
    np.testing.assert_allclose(jnp.sum(flow), 0, atol=1e-4)
    sign = np.sign(np.median(c) - c)
    np.testing.assert_allclose(-flow[sign != 0], sign[sign != 0], atol=1e-4)

  def test_restart_from_solution_stays(self):
    c = jnp.asarray(np.random.default_rng(3).normal(size=31), jnp.float32)
    state = _run(c, num_looks=30).state
    u = _run(c, state, num_looks=1).state.coordinates
    np.testing.assert_allclose(u, jnp.median(c), atol=1e-5)

  def test_stops_at_its_tolerance(self):
    c = jnp.asarray(np.random.default_rng(4).normal(size=(3, 9)), jnp.float32)
    solve = lambda c, tolerance: _run(c, num_looks=8, tolerance=tolerance)
    tolerances = jnp.asarray([0.3, 1e-9, 1.0])
    runs = jax.jit(jax.vmap(solve))(c, tolerances)
    # At 1 / 4, at the most, and at once.
    np.testing.assert_array_equal(runs.steps, [32, 64, 8])
    np.testing.assert_allclose(runs.trace[0, 2:], [1 / 3] + 5 * [0.25])
    one = jax.jit(solve)
    for i in range(3):
      want = one(c[i], tolerances[i]).state
      jax.tree.map(
        lambda g, w: np.testing.assert_allclose(g[i], w, rtol=1e-4, atol=1e-5),  # noqa: B023
        runs.state,
        want,
      )

  def test_a_penalty_for_each_block(self):
    """`argmin_u |u - c| + 1e4 |1e-4 u - d|_1`, of blocks in unlike units."""
    c, d = jnp.asarray([1.0, 2.0, 4.0]), jnp.asarray([5e-4, 7e-4])
    pull = lambda z, c, t: (
      c + jnp.sign(z - c) * jnp.maximum(jnp.abs(z - c) - t, 0)
    )
    weight = lambda step: 3 / step[0] + 2e-8 / step[1]
    problem = douglas_rachford.Problem(
      lambda z, step, _: (pull(z[0], c, step[0]), pull(z[1], d, 1e4 * step[1])),
      lambda u: (jnp.full_like(c, 1) * u, jnp.full_like(d, 1e-4) * u),
      lambda r, step: (
        (jnp.sum(r[0]) / step[0] + 1e-4 * jnp.sum(r[1]) / step[1])
        / weight(step)
      ),
    )
    zero, one = jnp.zeros(()), jnp.ones(())
    none = jnp.zeros_like(c), jnp.zeros_like(d)
    run = douglas_rachford.solve(
      problem,
      douglas_rachford.State(zero, none, (one, one)),
      look=lambda seen, u, point, flow: (seen, one, ()),
      seen=(),
      num_looks=40,
    )
    # The median of 1, 2, 4, 5, 7.
    np.testing.assert_allclose(run.state.coordinates, 4, atol=1e-3)
    first, second = run.state.step
    self.assertGreater(first / second, 1e3)


if __name__ == '__main__':
  absltest.main()
