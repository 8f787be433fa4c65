"""Tests for `baselines.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from saliency_jax.core import baselines

SETTINGS = {
  'black': baselines.black,
  'constant': baselines.constant,
  'mean': baselines.mean,
  'gaussian_blur': functools.partial(
    baselines.gaussian_blur, kernel_size=5, sigma=2
  ),
  'uniform': baselines.uniform,
}


def _image(shape=(7, 9, 3), dtype=jnp.float32):
  return jax.random.uniform(jax.random.key(0), shape, dtype)


class BaselinesTest(parameterized.TestCase):
  @parameterized.product(
    name=sorted(SETTINGS), dtype=(jnp.float32, jnp.float64)
  )
  def test_is_like_the_example(self, name, dtype):
    with jax.enable_x64(dtype == jnp.float64):
      x = _image(dtype=dtype)
      out = baselines.evaluate(SETTINGS[name], x, jax.random.key(1))
    self.assertEqual((out.shape, out.dtype), (x.shape, dtype))

  def test_closed_forms(self):
    x = _image()
    np.testing.assert_array_equal(baselines.black(x), np.zeros(x.shape))
    np.testing.assert_array_equal(
      baselines.constant(x, value=0.25), np.full(x.shape, 0.25)
    )
    np.testing.assert_allclose(
      baselines.mean(x),
      np.broadcast_to(np.mean(x, (0, 1)), x.shape),
      rtol=1e-6,
    )

  @parameterized.parameters(
    (0.25, 0.25),
    (np.float64(0.25), 0.25),
    (np.arange(3.0).reshape(1, 1, 3), np.arange(3.0)),
    (np.ones((7, 9, 3)), 1.0),
    (jnp.zeros((7, 9, 1)), 0.0),
    (lambda x, key: 0.5, 0.5),
  )
  def test_numbers_arrays_and_functions(self, baseline, want):
    out = baselines.evaluate(baseline, _image(), None)
    self.assertEqual((out.shape, out.dtype), ((7, 9, 3), jnp.float32))
    np.testing.assert_array_equal(out, np.broadcast_to(want, out.shape))

  def test_integers(self):
    x = jnp.asarray([[[0], [255]], [[10], [20]]], jnp.uint8)
    evaluate = lambda b: baselines.evaluate(b, x, jax.random.key(0))
    np.testing.assert_array_equal(evaluate(127), np.full(x.shape, 127))
    np.testing.assert_array_equal(
      evaluate(baselines.mean), np.full(x.shape, 71)
    )
    blur = functools.partial(baselines.gaussian_blur, kernel_size=3, sigma=50)
    want = ndimage.uniform_filter(
      np.asarray(x, float), (3, 3, 1), mode='mirror'
    )
    np.testing.assert_allclose(evaluate(blur), want, atol=0.6)
    draw = functools.partial(baselines.uniform, low=0, high=256)
    self.assertEqual(evaluate(draw).dtype, jnp.uint8)
    for bad in (0.5, baselines.constant, -1, 256):
      with self.assertRaisesRegex(
        ValueError, 'no value of uint8.*baseline=127'
      ):
        evaluate(bad)

  @parameterized.parameters(
    ((70, 64, 3), 51, 50.0),  # I-GOS's baseline image.
    ((224, 40, 1), 11, 5.0),  # RISE's insertion image.
    ((9, 12, 2), 51, 50.0),  # The kernel is larger than the image.
    ((1, 5, 1), 3, 1.0),
  )
  def test_gaussian_blur_matches_scipy(self, shape, kernel_size, sigma):
    with jax.enable_x64(True):
      x = _image(shape, jnp.float64)
      got = baselines.gaussian_blur(x, kernel_size=kernel_size, sigma=sigma)
    offsets = np.arange(kernel_size) - kernel_size // 2
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    want = np.asarray(x)
    for axis in (0, 1):
      # 'mirror' is OpenCV's reflect-101: d c b | a b c d | c b a.
      want = ndimage.correlate1d(want, kernel, axis=axis, mode='mirror')
    np.testing.assert_allclose(got, want, atol=1e-12)

  def test_gaussian_blur_keeps_a_constant(self):
    x = jnp.full((12, 10, 3), 0.3)
    np.testing.assert_allclose(baselines.gaussian_blur(x), x, rtol=1e-6)

  def test_gaussian_blur_multiplies_in_full_precision(self):
    jaxpr = jax.make_jaxpr(baselines.gaussian_blur)(_image()).jaxpr
    dots = [e for e in jaxpr.eqns if e.primitive.name == 'dot_general']
    dots += [
      e
      for eqn in jaxpr.eqns
      if 'jaxpr' in eqn.params
      for e in eqn.params['jaxpr'].jaxpr.eqns
      if e.primitive.name == 'dot_general'
    ]
    self.assertLen(dots, 2)
    for eqn in dots:
      self.assertEqual(
        eqn.params['precision'], (jax.lax.Precision.HIGHEST,) * 2
      )

  def test_uniform_draws_in_the_range(self):
    x = jnp.zeros((50, 50, 3))
    out = baselines.uniform(x, key=jax.random.key(0), low=-1, high=3)
    self.assertGreaterEqual(jnp.min(out), -1)
    self.assertLess(jnp.max(out), 3)
    # The mean of 7500 draws of variance 16 / 12: within 4.5 deviations.
    self.assertLess(
      abs(float(jnp.mean(out)) - 1), 4.5 * (16 / 12 / 7500) ** 0.5
    )

  def test_reference_is_drawn_from_all(self):
    references = {'a': np.arange(12.0).reshape(4, 3), 'b': np.arange(4.0)}
    x = jax.tree.map(lambda a: jnp.zeros(a.shape[1:]), references)
    draw = functools.partial(baselines.reference, references=references)
    drawn = jax.vmap(lambda key: baselines.evaluate(draw, x, key))(
      jax.random.split(jax.random.key(0), 100)
    )
    self.assertCountEqual(np.unique(drawn['b']), range(4))
    np.testing.assert_array_equal(drawn['a'][:, 0], 3 * drawn['b'])

  def test_pytrees(self):
    x = {'a': jnp.ones((2, 3)), 'b': (jnp.ones(4),)}
    for baseline in (baselines.black, baselines.constant, baselines.uniform):
      out = baselines.evaluate(baseline, x, jax.random.key(0))
      self.assertEqual(jax.tree.structure(out), jax.tree.structure(x))
    self.assertNotEqual(float(out['a'][0, 0]), float(out['b'][0][0]))

  @parameterized.parameters(
    (baselines.uniform, 'key=jax.random.key'),
    (
      functools.partial(baselines.gaussian_blur, kernel_size=4),
      'odd, got 4',
    ),
    (functools.partial(baselines.gaussian_blur, sigma=0), r'\(0, inf\), got 0'),
    (lambda x: np.zeros((2, 2, 3)), r'baseline has shape \(2, 2, 3\)'),
    (lambda x: np.zeros(3), r'baseline has shape \(3,\)'),
    (lambda x: {'a': 1.0}, 'the baseline is a tree'),
    (lambda x: 'grey', "'grey' is no number"),
    (
      functools.partial(baselines.uniform, key=None, low=1, high=0),
      r'high - low must be in \(0, inf\), got -1',
    ),
    (
      functools.partial(baselines.reference, references=np.ones((2, 7, 9, 3))),
      'key=jax.random.key',
    ),
  )
  def test_bad_arguments(self, baseline, message):
    with self.assertRaisesRegex(ValueError, message):
      baselines.evaluate(lambda x, key: baseline(x), jnp.ones((7, 9, 3)), None)

  @parameterized.parameters(baselines.mean, baselines.gaussian_blur)
  def test_images_only(self, baseline):
    # Past the annotations, as a user without a type checker comes.
    with self.assertRaisesRegex(ValueError, r'image \[H, W, C\].*\(5,\)'):
      baseline.__wrapped__(jnp.ones(5))


if __name__ == '__main__':
  absltest.main()
