"""Tests for `primal_dual.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from saliency_jax.core import jaxprs
from saliency_jax.solvers import primal_dual


def _invariant(seed, m=9, n=40):
  """A program of `linear_invariant`, with slack, of badly scaled columns."""
  r = np.random.default_rng(seed)
  h = r.normal(size=(m, n)) * np.exp(r.normal(size=n))
  a = np.concatenate([np.maximum(-h, 0), np.maximum(h, 0), -np.ones((m, 1))], 1)
  c = np.full(2 * n + 1, -1.0)
  c[-1] = (0.5, 1e-4)[seed % 2] * 2 * n
  b = r.uniform(size=m)
  upper = np.full(2 * n + 1, 0.1)
  upper[-1] = max(0, (a[:, :-1] @ upper[:-1] - b).max())
  return c, a, b, np.zeros(2 * n + 1), upper


def _general(seed, m=9, n=81):
  r = np.random.default_rng(seed)
  a, c, b = r.normal(size=(m, n)), r.normal(size=n), np.abs(r.normal(size=m))
  return c, a, b / 2, -r.uniform(size=n), r.uniform(size=n)


@jax.jit
def _solve(c, a, b, lower, upper):
  return primal_dual.pdhg(c, a, b, lower=lower, upper=upper)


def _program(make, seed):
  return [jnp.asarray(p, jnp.float32) for p in make(seed)]


class PrimalDualTest(parameterized.TestCase):
  @parameterized.product(make=(_invariant, _general), seed=[*range(10)])
  def test_matches_highs(self, make, seed):
    c, a, b, lower, upper = make(seed)
    want = optimize.linprog(
      c, A_ub=a, b_ub=b, bounds=np.stack([lower, upper], 1), method='highs'
    )
    x, info = _solve(*_program(make, seed))
    tolerance = 1e-4 * abs(want.fun)
    self.assertAlmostEqual(info.objective, want.fun, delta=tolerance)
    self.assertAlmostEqual(info.bound, want.fun, delta=tolerance)
    self.assertLess(info.violation, 1e-4)
    self.assertTrue(np.all((x >= lower - 1e-7) & (x <= upper + 1e-7)))
    self.assertLess(info.trace[-1], info.trace[0])

  def test_bound_holds_after_few_steps(self):
    program = c, a, b, lower, upper = _program(_general, 0)
    few = jax.jit(
      lambda: primal_dual.pdhg(c, a, b, lower=lower, upper=upper, num_steps=1)
    )
    info = few().info
    best = _solve(*program).info.objective
    self.assertLess(info.bound, best - 1e-3)
    self.assertTrue(np.all(info.multipliers >= 0))

  def test_operator_is_its_matrix(self):
    c, a, b, lower, upper = _program(_general, 3)
    x, info = jax.jit(
      lambda a: primal_dual.pdhg(
        c,
        primal_dual.Operator(lambda x: a @ x, lambda y: a.T @ y),
        b,
        lower=lower,
        upper=upper,
      )
    )(a)
    want = _solve(c, a, b, lower, upper).info
    np.testing.assert_allclose(info.objective, want.objective, rtol=1e-5)
    np.testing.assert_allclose(info.bound, want.bound, rtol=1e-5)
    np.testing.assert_allclose(x @ c, info.objective, rtol=1e-5)

  def test_without_a_constraint_that_binds(self):
    c, a, b, lower, upper = _program(_general, 3)
    x, info = _solve(c, 0 * a, b, lower, upper)
    np.testing.assert_array_equal(x, jnp.where(c > 0, lower, upper))
    self.assertEqual(info.violation, 0)
    np.testing.assert_allclose(info.bound, info.objective, rtol=1e-6)

  def test_precision(self):
    closed = jax.make_jaxpr(_solve)(*_program(_general, 0))
    dots = [
      eqn.params['precision']
      for eqn in jaxprs.equations(closed.jaxpr)
      if eqn.primitive.name == 'dot_general'
    ]
    self.assertNotEmpty(dots)
    highest = jax.lax.Precision.HIGHEST
    self.assertEqual(set(dots), {(highest, highest)})

  def test_bad_arguments(self):
    c, a, b, lower, upper = _program(_general, 0)
    with self.assertRaisesRegex(
      ValueError, r'num_steps must be a whole number of at least 1'
    ):
      primal_dual.pdhg(c, a, b, lower=lower, upper=upper, num_steps=0)


if __name__ == '__main__':
  absltest.main()
