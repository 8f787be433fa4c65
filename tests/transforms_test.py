"""Tests for `transforms.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import transforms
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.gradients import gradient
from saliency_jax.gradients import smoothgrad


def _gradient(fn, x, *, key=None):
  del key
  return types.Attribution(jax.grad(fn)(x), info={'value': fn(x)})


def _cube(x):
  return jnp.sum(x**3)


_X = jnp.arange(-3.0, 3.0).reshape(1, 2, 3)


class TransformsTest(parameterized.TestCase):
  @parameterized.parameters(
    (transforms.absolute, 3 * _X**2),
    (transforms.squared, 9 * _X**4),
    (transforms.times_input, 3 * _X**3),
    (transforms.sum_channels, jnp.sum(3 * _X**2, -1, keepdims=True)),
    (transforms.max_channels, jnp.max(3 * _X**2, -1, keepdims=True)),
  )
  def test_scores_and_info(self, transform, want):
    scores, info = transform(_gradient)(_cube, _X)
    np.testing.assert_allclose(scores, want)
    self.assertEqual(info['value'], _cube(_X))

  @parameterized.parameters((0.0, 6), (0.5, 3), (0.75, 2), (1.0, 0))
  def test_sparsify(self, sparsity, kept):
    x = jnp.array([[[0.0, -5.0, 2.0], [1.0, -3.0, 4.0]]])
    method = lambda fn, x, *, key=None: types.Attribution(x, ())
    scores = transforms.sparsify(method, sparsity=sparsity)(_cube, x).scores
    # Zero is a score like another: nothing is kept of it but itself.
    order = np.argsort(-np.abs(x.ravel()))[:kept]
    want = np.zeros(6)
    want[order] = x.ravel()[order]
    np.testing.assert_array_equal(scores.ravel(), want)

  def test_sparsify_refuses(self):
    with self.assertRaisesRegex(ValueError, r'sparsity must be in \[0, 1\]'):
      transforms.sparsify(_gradient, sparsity=1.5)

  def test_nest(self):
    method = transforms.sum_channels(
      transforms.absolute(transforms.times_input(_gradient))
    )
    want = jnp.sum(jnp.abs(3 * _X**3), -1, keepdims=True)
    np.testing.assert_allclose(method(_cube, _X).scores, want)

  @parameterized.parameters(
    transforms.absolute, functools.partial(transforms.smooth, num_samples=2)
  )
  def test_settings_reach_the_method(self, transform):
    def scaled(fn, x, *, key=None, factor=1.0):
      del fn, key
      return types.Attribution(factor * jnp.ones_like(x), ())

    method = transform(scaled)
    key = jax.random.key(0)
    got = method(_cube, _X, key=key, factor=3.0).scores
    np.testing.assert_allclose(got, 3 * jnp.ones_like(_X), rtol=1e-6)
    with self.assertRaisesRegex(TypeError, 'no_such'):
      method(_cube, _X, key=key, no_such=1)

  def test_times_input_from_a_baseline(self):
    method = transforms.times_input(_gradient, baseline=jnp.ones_like(_X))
    np.testing.assert_allclose(
      method(_cube, _X).scores, 3 * _X**2 * (_X - 1), atol=1e-6
    )
    with self.assertRaisesRegex(ValueError, r'baseline has shape \(5,\)'):
      transforms.times_input(_gradient, baseline=jnp.ones(5))(_cube, _X)

  @parameterized.parameters(None, 1, 7, 30)
  def test_smooth_matches_a_loop(self, batch_size):
    def noisy(fn, x, *, key):
      return types.Attribution(jax.grad(fn)(x) + jax.random.normal(key))

    smoothed = transforms.smooth(
      noisy, sigma=0.3, num_samples=30, batch_size=batch_size
    )
    scores, info = smoothed(_cube, _X, key=jax.random.key(5))
    draws = []
    for i in range(30):
      key = jax.random.fold_in(jax.random.key(5), i)
      method_key = sampling.key_for(key, sampling.NEIGHBOUR)
      with jax.threefry_partitionable(False):
        z = jax.random.normal(key, _X.shape)
      draws.append(3 * (_X + 0.3 * z) ** 2 + jax.random.normal(method_key))
    np.testing.assert_allclose(scores, np.mean(draws, 0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
      info.stderr, np.std(draws, 0, ddof=1) / np.sqrt(30), rtol=1e-4
    )

  @parameterized.parameters(
    {'sigma': 0.3},
    {'sigma': functools.partial(smoothgrad.of_range, fraction=0.2)},
    {'sigma': 0.1, 'num_samples': 9, 'batch_size': None},
  )
  def test_smooth_of_the_gradient_is_smooth_grad(self, **settings):
    settings = {'num_samples': 11, 'batch_size': 4, **settings}
    fn = lambda x: jnp.sum(jnp.sin(x['a'])) * jnp.mean(jax.nn.relu(x['b']))
    x = {'a': _X, 'b': jnp.linspace(-1.0, 2.0, 7)}
    got = transforms.smooth(gradient.gradient, **settings)(
      fn, x, key=jax.random.key(3)
    )
    want = smoothgrad.smooth_grad(fn, x, key=jax.random.key(3), **settings)
    for name in x:
      np.testing.assert_allclose(
        got.scores[name], want.scores[name], rtol=1e-6, atol=1e-6
      )
      np.testing.assert_allclose(
        got.info.stderr[name], want.info.stderr[name], rtol=1e-6, atol=1e-6
      )

  def test_smooth_covers_the_expectation(self):
    """`E 3 (x + z)^2 = 3 (x^2 + sigma^2)`: every |z-score| below 4.5."""
    smoothed = transforms.smooth(
      _gradient, sigma=0.3, num_samples=4000, batch_size=100
    )
    scores, info = smoothed(_cube, _X, key=jax.random.key(0))
    z = (scores - 3 * (_X**2 + 0.09)) / info.stderr
    self.assertLess(float(jnp.max(jnp.abs(z))), 4.5)
    np.testing.assert_allclose(
      info.inner['value'], jnp.sum(_X**3 + 3 * _X * 0.09), atol=1
    )

  @parameterized.parameters(
    ({'sigma': -1.0}, r'sigma must be in \(0, inf\), got -1.0'),
    (
      {'num_samples': 0},
      r'num_samples must be a whole number of at least 1, got 0',
    ),
  )
  def test_smooth_rejects(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      transforms.smooth(_gradient, **settings)(_cube, _X, key=jax.random.key(0))

  def test_channels_need_an_image(self):
    with self.assertRaisesRegex(ValueError, r'\[H, W, C\], got shape \(3,\)'):
      transforms.sum_channels(_gradient)(_cube, jnp.ones(3))

  def test_keeps_the_name(self):
    self.assertEqual(transforms.absolute(_gradient).__name__, '_gradient')


if __name__ == '__main__':
  absltest.main()
