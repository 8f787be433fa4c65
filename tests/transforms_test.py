"""Tests for `transforms.py`."""

import functools
import inspect

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from saliency_jax import taps
from saliency_jax import transforms
from saliency_jax.core import baselines
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.gradients import gradient
from saliency_jax.gradients import integrated
from saliency_jax.gradients import quadrature
from saliency_jax.gradients import smoothgrad
from saliency_jax.propagation import deeplift
from saliency_jax.propagation import lrp
from tests import equivalence
from tests import until


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

  @parameterized.parameters((0.0, 6), (0.5, 3), (0.75, 1), (1.0, 0))
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

  def test_smooth_until_it_is_good(self):
    def explain(fn, num, **settings):
      method = transforms.smooth(
        integrated.integrated_gradients, num_samples=num, **settings
      )
      return method(fn, _X, key=jax.random.key(2), num_steps=2)

    until.check(self, explain, _cube, few=5, many=12, most=4000, tolerance=0.2)
    with self.assertRaisesRegex(ValueError, 'start must be .* SmoothInfo'):
      explain(_cube, 5, start=gradient.gradient(_cube, _X))

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

  def test_a_layer_is_summed_and_stretched(self):
    x = jnp.zeros((4, 6, 3))
    layer = lambda fn, x, *, key=None: types.Attribution(_X[None])
    summed = jnp.sum(_X, -1)[..., None]
    want = jax.image.resize(summed, (4, 6, 1), 'bilinear')
    got = transforms.to_image(layer)(_cube, x).scores
    np.testing.assert_allclose(got, want)
    first = transforms.to_image(layer, layout=taps.channels_first)
    want = jax.image.resize(_X[0], (4, 6), 'bilinear')[..., None]
    np.testing.assert_allclose(first(_cube, x).scores, want)
    with self.assertRaisesRegex(ValueError, r'\[H, W, C\], got shape \(3,\)'):
      transforms.to_image(layer)(_cube, jnp.ones(3))

  def test_keeps_the_name(self):
    self.assertEqual(transforms.absolute(_gradient).__name__, '_gradient')


# The tail is linear in what is named: the scores are known for any trunk.
_SLOPE = jnp.linspace(-1.0, 2.0, 4)


def _trunk(x):
  return jnp.tanh(jnp.sum(x, (0, 2)) @ jnp.linspace(-1, 1, 8).reshape(2, 4))


def _linear_tail(x):
  return _SLOPE @ checkpoint_name(_trunk(x), 'h') + 1


class AtTapTest(parameterized.TestCase):
  @parameterized.parameters(
    gradient.gradient,
    smoothgrad.smooth_grad,
    deeplift.deeplift,
    lrp.lrp,
    functools.partial(integrated.integrated_gradients, baseline=0.3),
    functools.partial(
      integrated.integrated_gradients, baseline=baselines.uniform
    ),
    functools.partial(
      deeplift.deeplift, baseline=baselines.uniform, num_baselines=3
    ),
  )
  def test_at_the_input_it_is_the_method(self, method):
    name = lambda x: checkpoint_name(x, 'input')
    fn = lambda x: jnp.sum(jnp.sin(name(x) ** 2) * jnp.arange(3.0)[None, None])
    key = jax.random.key(1)
    got = transforms.at_tap(method, 'input')(fn, _X, key=key)
    want = method(fn, _X, key=key)
    jax.tree.map(
      functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5),
      got,
      want,
    )

  @parameterized.parameters(
    integrated.integrated_gradients, deeplift.deeplift, lrp.lrp
  )
  def test_linear_tail(self, method):
    method = transforms.at_tap(method, 'h')
    settings = {}
    start = jnp.zeros(4)
    if 'baseline' in inspect.signature(method).parameters:
      # Black is what the trunk makes of it, and so is any baseline.
      b = jnp.full_like(_X, 0.2)
      settings, start = {'baseline': 0.2}, _trunk(b)
    out = method(_linear_tail, _X, **settings)
    want = _SLOPE * (_trunk(_X) - start)
    np.testing.assert_allclose(out.scores, want, rtol=1e-5, atol=1e-6)

  def test_integrated_gradients_are_complete(self):
    fn = lambda x: jnp.sin(2 * _linear_tail(x))
    method = functools.partial(
      integrated.integrated_gradients, quadrature_fn=quadrature.gauss_legendre
    )
    out = transforms.at_tap(method, 'h')(fn, _X)
    self.assertEqual(out.scores.shape, (4,))
    want = fn(_X) - fn(jnp.zeros_like(_X))
    np.testing.assert_allclose(jnp.sum(out.scores), want, rtol=1e-4)
    np.testing.assert_allclose(out.info.baseline_score, fn(0 * _X), rtol=1e-5)

  def test_is_the_tap_of_deeplift(self):
    fn = lambda x: jnp.sin(2 * _linear_tail(x))
    got = transforms.at_tap(deeplift.deeplift, 'h')(fn, _X).scores
    want = deeplift.deeplift(fn, _X, at='h').scores
    np.testing.assert_allclose(got, want, rtol=1e-5)

  def test_tokens_enter_by_their_embeddings(self):
    table = jax.random.normal(jax.random.key(0), (9, 3))
    embed = lambda ids: checkpoint_name(table[ids], 'embeddings')

    def fn(ids):
      h = embed(ids)
      return jnp.sum(jnp.tanh(h[:, 0]) * h[:, 2])

    ids = jnp.array([4, 1, 7])
    # Every token against the one that stands for none.
    method = transforms.at_tap(deeplift.deeplift, 'embeddings')
    out = jax.jit(functools.partial(method, fn, baseline=8))(ids)
    self.assertEqual(out.scores.shape, (3, 3))
    want = jax.vmap(lambda i: fn(i[None]))
    np.testing.assert_allclose(
      jnp.sum(out.scores, -1), want(ids) - want(0 * ids + 8), rtol=1e-5
    )

  def test_ways_around_stay_as_they_are(self):
    fn = lambda x: jnp.sum(checkpoint_name(2 * x, 'h') * x)
    out = transforms.at_tap(deeplift.deeplift, 'h')(fn, _X)
    np.testing.assert_allclose(out.scores, 2 * _X * _X)

  def test_settings_and_names(self):
    method = transforms.at_tap(integrated.integrated_gradients, 'h')
    self.assertEqual(method.__name__, 'integrated_gradients')
    with self.assertRaisesRegex(ValueError, 'num_steps .* got 0'):
      method(_linear_tail, _X, num_steps=0)
    with self.assertRaisesRegex(ValueError, r"'g', found 0; .*\['h'\]"):
      transforms.at_tap(gradient.gradient, 'g')(_linear_tail, _X)
    with self.assertRaisesRegex(ValueError, 'baseline has shape'):
      method(_linear_tail, _X, baseline=jnp.ones(4))

  def test_equivalence(self):
    def enlarged(scores, x):
      del x  # `[4, 3, 5]` of an image `[8, 6, 3]`.
      return jnp.sum(scores, -1, keepdims=True).repeat(2, 0).repeat(2, 1)

    method = functools.partial(
      integrated.integrated_gradients, num_steps=7, baseline=baselines.uniform
    )
    method = transforms.map_scores(
      transforms.at_tap(method, 'features'), enlarged
    )
    equivalence.check(self, method, draws=True)


if __name__ == '__main__':
  absltest.main()
