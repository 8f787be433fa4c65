"""Tests for `experiments/tables/contenders.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments.configs import common
from experiments.core import superpixels
from experiments.tables import contenders
from experiments.tables import methods
from saliency_jax import viz
from saliency_jax.core import baselines
from saliency_jax.models import types
from saliency_jax.optimization import igos

_SPEC = types.Spec('toy', (8, 8, 3), taps=('last',))


class ContendersTest(parameterized.TestCase):
  def test_settings_of_a_config(self):
    found = contenders.choose(
      {
        'a': common.use('igos', resolution=7, baseline='black', **igos.PAPER),
        'b': common.use('igos', sigma=0.0, place_noise='noisy_composite'),
        'c': common.use('random'),
      },
      _SPEC,
    )
    self.assertEqual(list(found), ['a', 'b', 'c'])
    self.assertEqual(found['a'].settings['resolution'], 7)
    self.assertIs(found['a'].settings['baseline'], baselines.black)
    self.assertEqual(found['a'].settings['weight_path'], (1.0,))
    self.assertTrue(found['a'].settings['forced'])
    self.assertEqual(found['b'].settings['resolution'], 28)
    self.assertEqual(found['b'].method.keywords['sigma'], 0.0)

  @parameterized.parameters(
    ({}, 'empty'),
    (
      {'a': common.use('magic')},
      "a: name is 'magic', .*random, .*rise",
    ),
    ({'a': common.use('rise', masks=1)}, 'methods.a: .*rise has num_masks'),
    ({'a': common.use('rise', num_masks='many')}, 'expected int'),
    # A config has values, and only a flag has text.
    (
      {'a': common.use('rise', num_masks='30')},
      "is '30', expected int",
    ),
    ({'a': common.use('rise', cells=(3, 'x'))}, r"cells is \(3, 'x'\), exp"),
    ({'a': common.use('igos', weight_path=(1.0, None))}, 'expected tuple'),
    ({'a': common.use('random', cells=3)}, "'cells', random has none"),
  )
  def test_refuses(self, config, message):
    with self.assertRaisesRegex(ValueError, message):
      contenders.choose(config, _SPEC)

  def test_on_segments(self):
    config = {
      'a': common.use('lime', cells=7, num_samples=99),
      'b': common.use('kernel_shap', segments=3),
      'c': common.use('c_shapley', cells=7),
      'd': common.use('random'),
    }
    found = contenders.on_segments(config, 50)
    self.assertEqual(
      found,
      {
        **config,
        'a': common.use('lime', num_samples=99, segments=50),
        'b': common.use('kernel_shap', segments=50),
        'c': common.use('c_shapley', segments=50),
      },
    )
    self.assertEqual(list(found), list(config))
    with self.assertRaisesRegex(
      ValueError, '--segments=9: expected a config with one of .*lime, kernel'
    ):
      contenders.on_segments({'d': config['d']}, 9)

  def test_on_image(self):
    config = {
      'any': common.use('lime', segments=4),
      'cells': common.use('c_shapley', cells=2),
      'own': common.use('c_shapley', segments=4),
    }
    chosen = contenders.choose(config, _SPEC)
    image = np.random.default_rng(0).uniform(size=_SPEC.input_shape)
    for label in ('any', 'cells'):
      self.assertIsNone(contenders.on_image(chosen[label], image))
    found = contenders.on_image(chosen['own'], image)
    labels = found.method.keywords['segments']
    np.testing.assert_array_equal(labels, superpixels.find(image, 4))

  def test_random_map_is_uniform_and_the_keys_alone(self):
    x = jnp.zeros((40, 50, 3))
    run = lambda seed: (
      contenders.random_map(jnp.sum, x, key=jax.random.key(seed)).scores
    )
    found = run(0)
    self.assertEqual(found.shape, (40, 50, 1))
    self.assertBetween(float(found.min()), 0, 0.01)
    self.assertBetween(float(found.max()), 0.99, 1)
    # z = 4 about the mean of 2000 uniform numbers.
    self.assertAlmostEqual(float(found.mean()), 0.5, delta=4 * 0.289 / 44)
    np.testing.assert_array_equal(found, run(0))
    self.assertGreater(float(jnp.max(jnp.abs(found - run(1)))), 0.5)

  @parameterized.parameters(
    ('gradient', [3.0, 1.0]),  # The size of -1 and 2, and of 0 and 1.
    ('leg', [3.0, 1.0]),
    ('integrated_gradients', [1.0, 1.0]),
    ('random', [1.0, 1.0]),
  )
  def test_importance(self, name, want):
    (found,) = contenders.choose({'a': common.use(name)}, _SPEC).values()
    scores = jnp.array([[[[-1.0, 2.0]], [[0.0, 1.0]]]])
    out = contenders.importance(found, scores, 0 * scores)
    np.testing.assert_array_equal(out, np.reshape(want, (1, 2, 1, 1)))

  def test_importance_of_scores_shared_by_pixels(self):
    (found,) = contenders.choose({'a': common.use('rise')}, _SPEC).values()
    xs = jnp.zeros((2, 4, 5, 3))
    out = contenders.importance(found, jnp.ones((2, 1, 1, 3)), xs)
    np.testing.assert_array_equal(out, 3 * np.ones((2, 4, 5, 1)))

  @parameterized.parameters(
    ('gradient', {}, lambda w, x: w),
    ('leg', {}, lambda w, x: w),
    ('gradient_x_input', {}, lambda w, x: x * w),
    ('integrated_gradients', {}, lambda w, x: x * w),
    ('integrated_gradients', {'baseline': 'grey'}, lambda w, x: (x - 0.5) * w),
    # No units: presence, over the way to black.
    ('rise', {}, lambda w, x: x * w),
  )
  def test_slopes_of_exact_maps_of_a_linear_score(self, name, settings, exact):
    rng = np.random.default_rng(0)
    w, xs = rng.normal(size=(2, 2, 4, 5, 3))
    xs[0, 0] = 0.5
    config = {'a': common.use(name, **settings)}
    (found,) = contenders.choose(config, _SPEC).values()
    w, xs = jnp.asarray(w, jnp.float32), jnp.asarray(xs, jnp.float32)
    out = contenders.slopes(found, exact(w, xs), xs)
    at_baseline = (xs == 0.5) if settings else (xs == 0)
    np.testing.assert_allclose(out, np.where(at_baseline, 0, w), rtol=1e-4)

  def test_drawing(self):
    self.assertEqual(contenders.drawing('random'), viz.HEAT)
    self.assertEqual(
      contenders.drawing('gradient'), methods.METHODS['gradient'].drawing
    )


if __name__ == '__main__':
  absltest.main()
