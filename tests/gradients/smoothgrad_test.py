"""Tests for `smoothgrad.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.gradients import smoothgrad
from tests import equivalence
from tests import until

METHODS = (
  smoothgrad.smooth_grad,
  smoothgrad.smooth_grad_squared,
  smoothgrad.var_grad,
)


def _quadratic(x):
  return 0.5 * jnp.sum(jnp.arange(1.0, x.size + 1).reshape(x.shape) * x**2)


def _gradients_loop(fn, x, key, sigma, num_samples):
  """The draws as the papers write them: one Python loop, no batching."""
  grads = []
  for i in range(num_samples):
    noise = sampling.normal(jax.random.fold_in(key, i), x)
    grads.append(jax.grad(fn)(x + sigma * noise))
  return np.array(grads, np.float64)


class SmoothGradTest(parameterized.TestCase):
  @parameterized.product(method=METHODS, batch_size=(None, 1, 5))
  def test_matches_loop(self, method, batch_size):
    x = jax.random.normal(jax.random.key(0), (3, 4))
    out = method(
      _quadratic,
      x,
      key=jax.random.key(1),
      sigma=0.3,
      num_samples=16,
      batch_size=batch_size,
    )
    grads = _gradients_loop(_quadratic, x, jax.random.key(1), 0.3, 16)
    want, terms = {
      'smooth_grad': (grads.mean(0), grads),
      'smooth_grad_squared': ((grads**2).mean(0), grads**2),
      'var_grad': (grads.var(0, ddof=1), (grads - grads.mean(0)) ** 2),
    }[method.__name__]
    stderr = terms.std(0, ddof=1) / np.sqrt(16)
    np.testing.assert_allclose(out.scores, want, rtol=1e-4)
    np.testing.assert_allclose(out.info.stderr, stderr, rtol=1e-3)

  @parameterized.parameters(*zip(METHODS, (0.3, 12.0, 1.5), strict=True))
  def test_until_it_is_good_and_on(self, method, tolerance):
    # Cubes: their gradients are far from normal.
    def explain(fn, num, **settings):
      x = jnp.linspace(0.5, 1.5, 12).reshape(3, 4)
      return method(
        fn,
        x,
        key=jax.random.key(1),
        sigma=0.3,
        batch_size=5,
        num_samples=num,
        **settings,
      )

    until.check(
      self,
      explain,
      lambda x: _quadratic(x) + jnp.sum(x**3),
      few=30,
      many=60,
      most=2000,
      tolerance=tolerance,
    )

  @parameterized.parameters(*METHODS)
  def test_covers_the_expectation(self, method):
    x = jnp.ones((3, 4))
    out = method(
      _quadratic,
      x,
      key=jax.random.key(1),
      sigma=0.2,
      num_samples=4000,
      batch_size=100,
    )
    # grad = a (x + z): its moments are known.
    a = np.arange(1.0, 13).reshape(3, 4)
    mean, variance = a * np.asarray(x), (0.2 * a) ** 2
    truth = {
      'smooth_grad': mean,
      'smooth_grad_squared': mean**2 + variance,
      'var_grad': variance,
    }[method.__name__]
    z = (out.scores - truth) / out.info.stderr
    self.assertLess(np.max(np.abs(z)), 4.5)
    # The stated error is that of the known distribution, within 15%.
    terms = {
      'smooth_grad': variance,
      'smooth_grad_squared': 4 * mean**2 * variance + 2 * variance**2,
      'var_grad': 2 * variance**2,
    }[method.__name__]
    np.testing.assert_allclose(
      out.info.stderr, np.sqrt(terms / 4000), rtol=0.15
    )

  @parameterized.parameters(*METHODS)
  def test_equivalence(self, method):
    equivalence.check(
      self, functools.partial(method, num_samples=7, sigma=0.3), draws=True
    )

  @parameterized.parameters(*METHODS)
  def test_batch_size_bounds_memory(self, method):
    equivalence.check_memory(self, functools.partial(method, num_samples=128))

  def test_smooths_a_kink(self):
    # E[relu'(x + z)] = Phi(x / sigma), where the gradient is 0 or 1.
    x = jnp.array([-0.2, 0.0, 0.1])
    out = smoothgrad.smooth_grad(
      lambda x: jnp.sum(jax.nn.relu(x)),
      x,
      key=jax.random.key(0),
      sigma=0.1,
      num_samples=4000,
    )
    truth = jax.scipy.stats.norm.cdf(x / 0.1)
    self.assertLess(jnp.max(jnp.abs(out.scores - truth) / out.info.stderr), 4.5)

  def test_variance_of_a_linear_function_is_zero(self):
    out = smoothgrad.var_grad(
      lambda x: 1e3 * jnp.sum(x), jnp.ones(5), key=jax.random.key(0)
    )
    np.testing.assert_array_equal(out.scores, 0)
    np.testing.assert_array_equal(out.info.stderr, 0)

  def test_one_draw_has_no_error_to_show(self):
    out = smoothgrad.smooth_grad(
      _quadratic, jnp.ones(3), key=jax.random.key(0), num_samples=1
    )
    self.assertTrue(np.all(np.isinf(out.info.stderr)))

  def test_start_is_of_the_same_statistic(self):
    explain = functools.partial(
      smoothgrad.var_grad, _quadratic, jnp.ones(3), key=jax.random.key(0)
    )
    mean = types.Attribution(jnp.ones(3), smoothgrad.SmoothGradInfo(1, 1, 1))
    with self.assertRaisesRegex(ValueError, 'VarGradInfo, .* got SmoothGrad'):
      explain(start=mean)

  def test_sigma_as_a_fraction_of_the_range(self):
    x = jnp.array([1.0, 5.0, 2.0])
    sigma = functools.partial(smoothgrad.of_range, fraction=0.25)
    self.assertEqual(sigma(x), 1.0)
    a, b = (
      smoothgrad.smooth_grad(
        _quadratic, x, key=jax.random.key(0), sigma=s, num_samples=5
      )
      for s in (sigma, 1.0)
    )
    np.testing.assert_allclose(a.scores, b.scores, rtol=1e-6)

  def test_sigma_may_be_swept(self):
    sweep = jax.vmap(
      lambda s: (
        smoothgrad.smooth_grad(
          _quadratic, jnp.ones(3), key=jax.random.key(0), sigma=s, num_samples=5
        ).scores
      )
    )(jnp.array([0.1, 0.2]))
    want = smoothgrad.smooth_grad(
      _quadratic, jnp.ones(3), key=jax.random.key(0), sigma=0.2, num_samples=5
    ).scores
    np.testing.assert_allclose(sweep[1], want, rtol=1e-6)

  def test_pytree(self):
    x = {'a': jnp.arange(3.0), 'b': (jnp.ones(2),)}
    w = {'a': jnp.arange(3.0), 'b': (jnp.array([4.0, 5.0]),)}
    fn = lambda x: sum(
      jnp.sum(p * q)
      for p, q in zip(jax.tree.leaves(x), jax.tree.leaves(w), strict=True)
    )
    for method in METHODS:
      out = method(fn, x, key=jax.random.key(0), sigma=smoothgrad.of_range)
      self.assertEqual(jax.tree.structure(out.scores), jax.tree.structure(x))
    out = smoothgrad.smooth_grad(fn, x, key=jax.random.key(0))
    jax.tree.map(
      functools.partial(np.testing.assert_allclose, rtol=1e-6), out.scores, w
    )

  @parameterized.parameters(
    ({'sigma': -1}, r'sigma must be in \(0, inf\), got -1'),
    ({'sigma': 0.0}, r'sigma must be in \(0, inf\), got 0.0'),
    (
      {'num_samples': 0},
      r'num_samples must be a whole number of at least [12], got 0',
    ),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
    ({'key': None}, 'key=jax.random.key'),
    ({'key': jax.random.key(0, impl='rbg')}, 'threefry'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0)} | settings
    for method in METHODS:
      with self.assertRaisesRegex(ValueError, message):
        equivalence.traced(method)(_quadratic, jnp.ones(3), **settings)

  def test_variance_needs_two_draws(self):
    with self.assertRaisesRegex(ValueError, 'at least 2, got 1'):
      smoothgrad.var_grad(
        _quadratic, jnp.ones(3), key=jax.random.key(0), num_samples=1
      )


if __name__ == '__main__':
  absltest.main()
