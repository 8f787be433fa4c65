"""Tests for `quadrature.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saliency_jax.gradients import quadrature

RULES = (
  quadrature.midpoint,
  quadrature.right_riemann,
  quadrature.trapezoid,
  quadrature.gauss_legendre,
)


class QuadratureTest(parameterized.TestCase):
  @parameterized.product(rule=RULES, num_steps=(2, 3, 10, 65))
  def test_is_a_rule_on_the_unit_interval(self, rule, num_steps):
    nodes, weights = rule(num_steps)
    self.assertEqual((nodes.shape, weights.shape), ((num_steps,),) * 2)
    self.assertTrue(np.all((0 <= nodes) & (nodes <= 1)))
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-14)

  @parameterized.parameters(
    (quadrature.midpoint, 5, 1),
    (quadrature.trapezoid, 5, 1),
    (quadrature.gauss_legendre, 5, 9),
  )
  def test_exact_degree(self, rule, num_steps, degree):
    nodes, weights = rule(num_steps)
    for power in range(degree + 1):
      np.testing.assert_allclose(weights @ nodes**power, 1 / (power + 1))
    power = degree + 1
    self.assertGreater(abs(weights @ nodes**power - 1 / (power + 1)), 1e-7)

  @parameterized.parameters(
    (quadrature.right_riemann, 1),
    (quadrature.midpoint, 2),
    (quadrature.trapezoid, 2),
  )
  def test_order_of_convergence(self, rule, order):
    errors = []
    for num_intervals in (64, 128):
      steps = num_intervals + (rule is quadrature.trapezoid)
      nodes, weights = rule(steps)
      errors.append(abs(weights @ np.exp(nodes) - np.expm1(1)))
    self.assertAlmostEqual(np.log2(errors[0] / errors[1]), order, places=1)

  def test_right_riemann_is_the_papers_sum(self):
    nodes, weights = quadrature.right_riemann(4)
    np.testing.assert_allclose(nodes, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(weights, 0.25)

  @parameterized.product(rule=RULES, num_steps=(0, -3))
  def test_bad_arguments(self, rule, num_steps):
    with self.assertRaisesRegex(
      ValueError,
      rf'num_steps must be a whole number of at least [12], got {num_steps}',
    ):
      rule(num_steps)


if __name__ == '__main__':
  absltest.main()
