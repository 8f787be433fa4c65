"""Tests for `fidelity.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import metrics
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.gradients import gradient
from saliency_jax.metrics import fidelity
from tests import equivalence


class InfidelityTest(parameterized.TestCase):
  @parameterized.parameters(fidelity.gaussian, fidelity.square)
  def test_gradient_of_a_linear_score_is_faithful(self, perturbation):
    a = jax.random.normal(jax.random.key(0), (12, 12, 2))
    x = jax.random.uniform(jax.random.key(1), a.shape)
    fn = lambda x: jnp.sum(a * x)
    measure = functools.partial(
      fidelity.infidelity,
      fn,
      x,
      key=jax.random.key(2),
      perturbation=perturbation,
    )
    self.assertLess(measure(a).infidelity, 1e-8)
    # Twice the map promises twice the change.
    double = measure(2 * a)
    change = measure(0 * a).infidelity
    np.testing.assert_allclose(double.infidelity, change, rtol=1e-4)
    rescaled = measure(2 * a, rescale=True)
    np.testing.assert_allclose(rescaled.beta, 0.5, rtol=1e-5)
    self.assertLess(rescaled.infidelity, 1e-8)

  def test_expectation_under_gaussian_noise(self):
    # f = <a, x>, zero map: E <I, a>^2 = sigma^2 |a|^2.
    a = jnp.array([1.0, -2.0, 3.0])
    got = fidelity.infidelity(
      lambda x: jnp.sum(a * x),
      jnp.ones(3),
      jnp.zeros(3),
      key=jax.random.key(0),
      perturbation=functools.partial(fidelity.gaussian, sigma=0.5),
      num_samples=4000,
      batch_size=500,
    )
    z = (got.infidelity - 0.25 * 14) / got.stderr
    self.assertLess(abs(z), 4)

  def test_matches_loop_at_any_batch_size(self):
    fn = equivalence.score_fn()
    (x,) = equivalence.examples(1)
    m = gradient.gradient(fn, x).scores
    key = jax.random.key(4)
    errors = []
    for i in range(7):
      change = fidelity.square(sampling.draw_key(key, i), x, size=3)
      errors.append((jnp.sum(change * m) - (fn(x) - fn(x - change))) ** 2)
    for batch_size in (None, 1, 3):
      got = fidelity.infidelity(
        fn,
        x,
        m,
        key=key,
        num_samples=7,
        perturbation=functools.partial(fidelity.square, size=3),
        batch_size=batch_size,
      )
      np.testing.assert_allclose(got.infidelity, np.mean(errors), rtol=1e-4)

  def test_square_is_inside(self):
    x = jnp.ones((6, 9, 2))
    keys = jax.random.split(jax.random.key(0), 300)
    draws = jax.vmap(lambda k: fidelity.square(k, x, size=4))(keys)
    np.testing.assert_array_equal(jnp.sum(draws, (1, 2, 3)), 4 * 4 * 2)
    # Every pixel is reached.
    self.assertGreater(np.min(np.sum(draws, 0)), 0)

  def test_max_sensitivity_of_a_quadratic(self):
    # The map is x itself, and so moves as far as the example does.
    fn = lambda x: jnp.sum(x**2) / 2
    x = jnp.full((5, 4), 2.0)
    got = metrics.max_sensitivity(
      fn,
      x,
      x,
      method=gradient.gradient,
      key=jax.random.key(0),
      radius=0.1,
      num_samples=200,
      batch_size=50,
    )
    bound = 0.1 / 2  # All entries at the side of the box.
    self.assertLess(got.max_sensitivity, bound)
    # E|u|^2 = r^2 / 3 an entry.
    np.testing.assert_allclose(
      got.mean_sensitivity, bound / np.sqrt(3), rtol=0.05
    )
    self.assertGreater(got.max_sensitivity, got.mean_sensitivity)

  def test_constant_map_is_insensitive(self):
    fn = lambda x: jnp.sum(3 * x)
    x = jnp.ones((5, 4))
    got = metrics.max_sensitivity(
      fn, x, 3 * x, method=gradient.gradient, key=jax.random.key(0)
    )
    self.assertEqual(got.max_sensitivity, 0)

  def test_zero_maps(self):
    # 0 / 0 is no change, as others have it; a zero map that changes has no
    # finite relative change.
    fn, x = lambda x: jnp.sum(x**2), jnp.ones((5, 4))
    still = lambda fn, x, key: types.Attribution(0 * x)
    for method, want in ((still, 0), (gradient.gradient, np.inf)):
      got = metrics.max_sensitivity(
        fn, x, 0 * x, method=method, key=jax.random.key(0)
      )
      self.assertEqual(got.max_sensitivity, want)

  @parameterized.parameters(fidelity.gaussian, fidelity.square)
  def test_both_units_of_a_linear_score(self, perturbation):
    # Integrated gradients of <a, x> are (x - b) a, and the gradient a: both are
    # exact, at x = b too, where the pixel is black and no square takes it out.
    a = jax.random.normal(jax.random.key(0), (12, 12, 2))
    x = jax.random.uniform(jax.random.key(1), a.shape)
    measure = functools.partial(
      fidelity.infidelity,
      lambda x: jnp.sum(a * x),
      key=jax.random.key(2),
      perturbation=perturbation,
    )
    for b in (0, -0.3):
      exact = measure(x, (x - b) * a, baseline=b)
      self.assertLess(exact.infidelity, 1e-8)
    zero = measure(x, 0 * a, baseline=0).infidelity
    # The same map, told to be a gradient, promises something else.
    self.assertGreater(measure(x, x * a).infidelity, zero / 100)
    if perturbation is fidelity.square:
      dark = x.at[:5].set(0)
      self.assertLess(measure(dark, dark * a, baseline=0).infidelity, 1e-8)

  def test_bad_arguments(self):
    fn, x, key = lambda x: jnp.sum(x), jnp.ones((4, 4, 1)), jax.random.key(0)
    with self.assertRaisesRegex(
      ValueError, r'num_samples must be a whole number of at least 1'
    ):
      fidelity.infidelity(fn, x, x, key=key, num_samples=0)
    with self.assertRaisesRegex(ValueError, 'size must be .* got 10'):
      fidelity.infidelity(fn, x, x, key=key, perturbation=fidelity.square)
    with self.assertRaisesRegex(ValueError, 'do not broadcast'):
      fidelity.infidelity(fn, x, x[:2], key=key)
    with self.assertRaisesRegex(
      ValueError, r'radius must be in \(0, inf\), got 0'
    ):
      metrics.max_sensitivity(
        fn, x, x, method=gradient.gradient, key=key, radius=0
      )


if __name__ == '__main__':
  absltest.main()
