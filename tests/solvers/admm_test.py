"""Tests for `admm.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from saliency_jax import solvers
from saliency_jax.solvers import flows
from saliency_jax.solvers import grid
from saliency_jax.solvers import total_variation


def _box_problem(g, radius):
  """Returns `prox`, `forward` and `pinv` of `total_variation.tv_box`."""
  middle = grid.difference(g)

  def prox(z, step):
    near = jax.tree.map(lambda a: total_variation.soft(a, step), z)
    clip = lambda a, d: jnp.clip(a, d - radius, d + radius)
    return jax.tree.map(clip, near, middle)

  return prox, grid.difference, grid.operator(*g.shape).pinv


class AdmmTest(parameterized.TestCase):
  @parameterized.parameters((5, 4), (6,), (2, 3, 2))
  def test_solves_leg_tv(self, *cells):
    g = jax.random.normal(jax.random.key(0), cells)
    want = solvers.tv_box(g, 0.5, tolerance=1e-6)
    problem = _box_problem(g, 0.5)
    solve = jax.jit(lambda g: solvers.admm(*problem, g, num_steps=5000))
    u, info = solve(g)
    self.assertTrue(info.converged)
    total = flows.total(flows.magnitude(grid.difference(u)))
    np.testing.assert_allclose(total, want.info.objective, rtol=1e-4)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
      info.split,
      grid.difference(u),
    )

  def test_matches_a_linear_program(self):
    """`min |A u - b|_1` of a small matrix, by HiGHS."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(12, 4)), rng.normal(size=12)
    rows = np.block([[a, -np.eye(12)], [-a, -np.eye(12)]])
    cost = np.append(np.zeros(4), np.ones(12))
    free = [(None, None)] * 16
    lp = optimize.linprog(cost, rows, np.append(b, -b), bounds=free)
    with jax.enable_x64(True):
      inverse = np.linalg.pinv(a)
      u, info = solvers.admm(
        lambda z, step: b + total_variation.soft(z - b, step),
        lambda u: a @ u,
        lambda r: inverse @ r,
        jnp.zeros(4),
        num_steps=20000,
        tolerance=1e-10,
      )
    np.testing.assert_allclose(u, lp.x[:4], atol=1e-7)
    # The multiplier is a certificate: of size 1, and orthogonal to the range.
    dual = np.asarray(info.multiplier)
    self.assertLess(np.max(np.abs(dual)), 1 + 1e-7)
    np.testing.assert_allclose(a.T @ dual, 0, atol=1e-7)
    np.testing.assert_allclose(-b @ dual, lp.fun, rtol=1e-6)

  @parameterized.parameters(1.0, 1.6)
  def test_is_douglas_rachford(self, relaxation):
    """`z = A u + y` makes the steps that `douglas_rachford.py` states."""
    g = jax.random.normal(jax.random.key(1), (4, 5))
    prox, forward, pinv = _box_problem(g, 0.4)
    z = forward(g)
    for num_steps in range(1, 6):
      a = prox(z, 0.7)
      reflected = jax.tree.map(lambda a, z: 2 * a - z, a, z)
      near = forward(pinv(reflected))
      z = jax.tree.map(lambda z, p, a: z + relaxation * (p - a), z, near, a)
      u, info = solvers.admm(
        prox,
        forward,
        pinv,
        g,
        step=0.7,
        relaxation=relaxation,
        num_steps=num_steps,
        tolerance=0,
      )
      got = jax.tree.map(lambda v, y: v + 0.7 * y, forward(u), info.multiplier)
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, z
      )

  @parameterized.parameters(
    ({'step': 0}, r'step must be in \(0, inf\), got 0'),
    ({'relaxation': 2}, r'relaxation must be in \(0, 2\), got 2'),
    ({'num_steps': 0}, 'num_steps must be a whole number'),
    ({'tolerance': -1}, 'tolerance must be in'),
  )
  def test_errors(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      solvers.admm(
        lambda z, s: z, lambda u: u, lambda r: r, jnp.ones(2), **settings
      )


if __name__ == '__main__':
  absltest.main()
