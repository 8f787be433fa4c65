"""Tests for `integrated.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import data
from saliency_jax import explainer
from saliency_jax.core import baselines
from saliency_jax.gradients import integrated
from saliency_jax.gradients import quadrature
from tests import equivalence
from tests import networks


def _cubic(x):
  return jnp.sum(jnp.arange(1.0, x.size + 1).reshape(x.shape) * x**3)


def _product(x):
  return jnp.prod(x)


class IntegratedGradientsTest(parameterized.TestCase):
  @parameterized.parameters(
    # Of a cubic from b = 1/2: a (x^3 - b^3), exactly at degree 3 and above.
    (quadrature.gauss_legendre, 2, 1e-6),
    (quadrature.midpoint, 64, 1e-4),
    (quadrature.trapezoid, 65, 1e-4),
    (quadrature.right_riemann, 64, 2e-2),
  )
  def test_cubic(self, rule, num_steps, tolerance):
    x = jnp.array([[0.0, 1.0, 2.0], [0.2, 0.7, 1.5]])
    out = integrated.integrated_gradients(
      _cubic,
      x,
      baseline=baselines.constant,
      num_steps=num_steps,
      quadrature_fn=rule,
    )
    a = np.arange(1.0, 7).reshape(2, 3)
    want = a * (np.asarray(x) ** 3 - 0.125)
    np.testing.assert_allclose(
      out.scores, want, atol=tolerance * np.abs(want).max()
    )
    self.assertLess(out.info.relative_error, tolerance)

  def test_loop(self):
    x = jax.random.uniform(jax.random.key(0), (4, 3))
    b = jnp.full_like(x, 0.25)
    fn = lambda x: jnp.sum(jnp.sin(x[0] * x[1]) + x[2] ** 2 * x[3])
    out = integrated.integrated_gradients(
      fn,
      x,
      baseline=b,
      num_steps=10,
      quadrature_fn=quadrature.right_riemann,
      batch_size=3,
    )
    # Equation 3 of the paper.
    want = np.zeros(x.shape)
    for k in range(1, 11):
      want += (x - b) * jax.grad(fn)(b + k / 10 * (x - b)) / 10
    np.testing.assert_allclose(out.scores, want, atol=1e-6)
    error = abs(want.sum() - (fn(x) - fn(b)))
    self.assertAlmostEqual(out.info.completeness_error, error, places=5)
    self.assertAlmostEqual(
      out.info.relative_error, error / abs(fn(x) - fn(b)), places=5
    )
    np.testing.assert_allclose(out.info.score, fn(x), rtol=1e-6)
    np.testing.assert_allclose(out.info.baseline_score, fn(b), rtol=1e-6)

  @parameterized.parameters(True, False)
  def test_equivalence(self, drawn):
    # Noise darker than the image: at equal scores of both the relative error
    # would magnify rounding.
    baseline = functools.partial(baselines.uniform, high=0.2)
    method = functools.partial(
      integrated.integrated_gradients,
      baseline=baseline if drawn else baselines.black,
      num_steps=7,
    )
    dtypes = equivalence.ALL_DTYPES[: 2 if drawn else 3]
    equivalence.check(self, method, draws=drawn, dtypes=dtypes)

  def test_batch_size_bounds_memory(self):
    equivalence.check_memory(
      self,
      functools.partial(integrated.integrated_gradients, num_steps=128),
    )

  def test_sensitivity_and_symmetry(self):
    # The one feature that matters and differs gets all; equals get the same.
    x = jnp.array([2.0, 2.0, 5.0])
    out = integrated.integrated_gradients(
      lambda x: 1 - jax.nn.relu(1 - x[0] * x[1]), x, num_steps=1000
    )
    np.testing.assert_allclose(out.scores, [0.5, 0.5, 0], atol=2e-3)

  def test_linearity(self):
    x = jax.random.normal(jax.random.key(0), (4,))
    ig = lambda fn: integrated.integrated_gradients(fn, x, num_steps=9).scores
    both = ig(lambda x: 2 * _product(x) - 3 * _cubic(x))
    np.testing.assert_allclose(
      both, 2 * ig(_product) - 3 * ig(_cubic), atol=1e-5
    )

  def test_implementation_invariance(self):
    x = jnp.linspace(-2, 2, 9)
    a = integrated.integrated_gradients(lambda x: jnp.sum(jnp.tanh(x)), x)
    b = integrated.integrated_gradients(
      lambda x: jnp.sum(2 * jax.nn.sigmoid(2 * x) - 1), x
    )
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)

  def test_constant_function_is_complete(self):
    out = integrated.integrated_gradients(lambda x: 0 * jnp.sum(x), jnp.ones(3))
    self.assertEqual(out.info.relative_error, 0)

  def test_pytree(self):
    x = {'a': jnp.arange(1.0, 4), 'b': (jnp.ones(2),)}
    out = integrated.integrated_gradients(
      lambda x: jnp.sum(x['a'] ** 2) * jnp.sum(x['b'][0]), x
    )
    self.assertEqual(jax.tree.structure(out.scores), jax.tree.structure(x))
    self.assertLess(out.info.relative_error, 1e-3)

  @parameterized.parameters(
    (
      {'num_steps': 0},
      r'num_steps must be a whole number of at least 1, got 0',
    ),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
    (
      {'baseline': lambda x, key: x[0]},
      r'baseline has shape \(3,\), expected .* \(2, 3\)',
    ),
    ({'baseline': baselines.uniform}, 'key=jax.random.key'),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(integrated.integrated_gradients)(
        _cubic, jnp.ones((2, 3)), **settings
      )


class AdaptiveIntegratedGradientsTest(parameterized.TestCase):
  @parameterized.parameters(1, 3, 8, None)
  def test_is_the_trapezoid_rule_at_the_steps_it_took(self, batch_size):
    x = jax.random.uniform(jax.random.key(0), (6,)) + 0.5
    fn = lambda x: jnp.sum(jax.nn.relu(jnp.sin(9 * x)))
    out = jax.jit(
      lambda x: integrated.adaptive_integrated_gradients(
        fn, x, tolerance=0.01, min_steps=8, batch_size=batch_size
      )
    )(x)
    self.assertTrue(out.info.converged)
    self.assertLessEqual(out.info.relative_error, 0.01)
    intervals = int(out.info.num_steps) - 1
    self.assertEqual(intervals & (intervals - 1), 0)

    def rule(num_steps):
      return integrated.integrated_gradients(
        fn, x, num_steps=num_steps, quadrature_fn=quadrature.trapezoid
      )

    want = rule(intervals + 1)
    np.testing.assert_allclose(out.scores, want.scores, atol=1e-5)
    np.testing.assert_allclose(
      out.info.relative_error, want.info.relative_error, atol=1e-5
    )
    # It stopped no later than it had to.
    self.assertGreater(intervals, 8)
    before = rule(intervals // 2 + 1)
    self.assertGreater(before.info.relative_error, 0.01)
    change = np.abs(want.scores - before.scores).sum()
    change /= np.abs(want.scores).sum()
    np.testing.assert_allclose(out.info.change, change, rtol=1e-3)

  def test_gives_up_and_says_so(self):
    out = integrated.adaptive_integrated_gradients(
      lambda x: jnp.sum(jnp.sin(60 * x)),
      jnp.array([0.9, 0.4]),
      tolerance=1e-9,
      min_steps=4,
      max_steps=16,
    )
    self.assertFalse(out.info.converged)
    self.assertEqual(out.info.num_steps, 17)
    self.assertGreater(out.info.relative_error, 1e-9)

  def test_examples_stop_apart_under_vmap(self):
    fn = lambda x: jnp.sin(9 * x) + 0.1 * x
    method = functools.partial(
      integrated.adaptive_integrated_gradients,
      fn,
      min_steps=2,
      tolerance=1e-3,
      batch_size=2,
    )
    xs = jnp.array([0.01, 1.4])
    out = jax.jit(jax.vmap(method))(xs)
    alone = [method(x) for x in xs]
    for i in range(2):
      np.testing.assert_array_equal(
        out.info.num_steps[i], alone[i].info.num_steps
      )
      np.testing.assert_allclose(out.scores[i], alone[i].scores, rtol=1e-5)
    self.assertLess(out.info.num_steps[0], out.info.num_steps[1])

  def test_equivalence(self):
    equivalence.check(
      self,
      functools.partial(
        integrated.adaptive_integrated_gradients,
        min_steps=4,
        max_steps=16,
        tolerance=1e-9,
      ),
    )

  def test_batch_size_bounds_memory(self):
    equivalence.check_memory(self, integrated.adaptive_integrated_gradients)

  @parameterized.parameters(
    ({'tolerance': 0}, r'tolerance must be in \(0, inf\), got 0'),
    ({'max_steps': 100}, 'max_steps must be a power of two, got 100'),
    (
      {'min_steps': 0},
      r'min_steps must be a whole number of at least 1, got 0',
    ),
    ({'min_steps': 64, 'max_steps': 32}, r'in \[1, 32\], got 64'),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
    ({'baseline': lambda x, key: x[0]}, 'baseline has shape'),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(integrated.adaptive_integrated_gradients)(
        _cubic, jnp.ones((2, 3)), **settings
      )


class RealNetworkTest(parameterized.TestCase):
  @parameterized.parameters('efficientnet_lite0', 'squeezenet')
  def test_adaptive_steps_complete_to_one_percent(self, name):
    model = networks.shrunk(name)
    photo = data.load('photos')[0]
    size = model.spec.input_shape[:2]
    x = jnp.asarray(data.prepare(photo['image'], size=size))
    # Hundreds of gradients: to optimise the program pays, as it does not for
    # the other tests' (see `conftest.py`).
    explain = jax.jit(
      explainer.build(integrated.adaptive_integrated_gradients, model.apply),
      compiler_options={'xla_backend_optimization_level': 1},
    )
    out = explain(model.params, x[None], jnp.array([photo['label']]))
    # The sum in float64, against two plain calls of the network.
    ends = jax.jit(jax.vmap(model.apply, (None, 0)))(
      model.params, jnp.stack([x, jnp.zeros_like(x)])
    )
    difference = np.subtract(*np.asarray(ends, np.float64)[:, photo['label']])
    total = np.sum(np.asarray(out.scores, np.float64))
    self.assertLessEqual(abs(total - difference), 0.0101 * abs(difference))
    self.assertTrue(out.info.converged[0])
    self.assertBetween(int(out.info.num_steps[0]), 33, 2048)


if __name__ == '__main__':
  absltest.main()
