"""Tests for `viz/drawings.py`."""

import sys

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import matplotlib
import numpy as np

from saliency_jax import viz


def _scores(shape=(6, 5, 3), seed=0):
  return np.random.default_rng(seed).normal(size=shape)


def _gray(image, percentile=99):
  """PAIR's `VisualizeImageGrayscale`, as its code says it."""
  image_2d = np.sum(np.abs(image), axis=2)
  vmax, vmin = np.percentile(image_2d, percentile), np.min(image_2d)
  return np.clip((image_2d - vmin) / (vmax - vmin), 0, 1)


class NormalisationTest(parameterized.TestCase):
  @parameterized.parameters(99, 90, 50, 100)
  def test_grayscale_is_pairs(self, percentile):
    found = viz.grayscale(_scores(), percentile=percentile)
    np.testing.assert_allclose(found, _gray(_scores(), percentile), atol=1e-12)

  @parameterized.parameters(99, 80, 100)
  def test_diverging_keeps_zero_and_signs(self, percentile):
    scores = _scores()
    scores[2, 3] = [1.0, -3.0, 2.0]
    total = scores.sum(-1)
    span = np.percentile(np.abs(total), percentile)
    found = viz.diverging(scores, percentile=percentile)
    np.testing.assert_allclose(found, np.clip(total / span, -1, 1), atol=1e-12)
    self.assertEqual(found[2, 3], 0)
    np.testing.assert_array_equal(
      viz.diverging(-scores, percentile=percentile), -found
    )

  def test_diverging_of_negative_scores_alone(self):
    scores = -np.arange(1.0, 5.0).reshape(2, 2, 1)
    found = viz.diverging(scores, percentile=100)
    np.testing.assert_allclose(found, [[-0.25, -0.5], [-0.75, -1]])

  def test_unit_spans_lowest_to_highest(self):
    scores = np.array([[-3.0, -1.0], [1.0, 5.0]])[..., None]
    np.testing.assert_allclose(viz.unit(scores), [[0, 0.25], [0.5, 1]])

  def test_a_few_points_are_scaled_by_the_greatest(self):
    # Fewer points than the percentile leaves out: it is zero.
    scores = np.zeros((20, 20, 1))
    scores[3, 4], scores[5, 6] = 8, -2
    found = viz.diverging(scores)
    self.assertEqual((found[3, 4], found[5, 6]), (1, -0.25))
    self.assertEqual(np.count_nonzero(found), 2)

  def test_percentile_clips(self):
    scores = np.arange(101.0).reshape(1, 101, 1)
    found = viz.grayscale(scores, percentile=50)
    np.testing.assert_allclose(found[0], np.minimum(np.arange(101) / 50, 1))

  @parameterized.parameters(
    (viz.grayscale, 0), (viz.unit, 0), (viz.diverging, 1)
  )
  def test_constant(self, normalise, value):
    scores = np.full((3, 4, 1), 2.5)
    np.testing.assert_array_equal(normalise(scores), np.full((3, 4), value))
    np.testing.assert_array_equal(normalise(scores * 0), np.zeros((3, 4)))

  @parameterized.parameters(viz.grayscale, viz.unit, viz.diverging)
  def test_single_point_is_seen(self, normalise):
    scores = np.zeros((20, 20, 1))
    scores[4, 7] = 3.0
    found = normalise(scores, percentile=99)
    self.assertEqual(found[4, 7], 1)
    self.assertEqual(np.count_nonzero(found), 1)

  @parameterized.parameters(viz.grayscale, viz.unit, viz.diverging)
  def test_scale_does_not_count(self, normalise):
    np.testing.assert_allclose(
      normalise(_scores() * 1e-6), normalise(_scores()), atol=1e-9
    )

  @parameterized.product(
    normalise=(viz.grayscale, viz.unit, viz.diverging),
    dtype=('float32', 'bfloat16', 'float16'),
  )
  def test_takes_jax_arrays(self, normalise, dtype):
    scores = jnp.asarray(_scores(), dtype)
    found = normalise(scores)
    self.assertIsInstance(found, np.ndarray)
    np.testing.assert_array_equal(
      found, normalise(np.asarray(scores, np.float64))
    )

  @parameterized.parameters(viz.grayscale, viz.unit, viz.diverging)
  def test_refuses(self, normalise):
    for bad in (0, -1, 100.5, float('nan')):
      with self.assertRaisesRegex(
        ValueError, rf'percentile is {bad}, expected one in \(0, 100\]'
      ):
        normalise(_scores(), percentile=bad)
    scores = _scores()
    scores[0, 0, :2] = [np.nan, np.inf]
    with self.assertRaisesRegex(
      ValueError, '2 of 90 values are NaN or infinite'
    ):
      normalise(scores)
    with self.assertRaisesRegex(
      ValueError, r'an image \[h, w, c\], got the shape \(0, 5, 3\)'
    ):
      normalise(_scores((0, 5, 3)))


class OverlayTest(parameterized.TestCase):
  def test_blends_by_hand(self):
    image = np.random.default_rng(1).uniform(size=(4, 5, 3))
    values = np.random.default_rng(2).uniform(-1, 1, size=(4, 5))
    found = viz.overlay(
      image, values, colors='RdBu_r', low=-1, opacity=0.3, blur=0
    )
    for i in range(4):
      for j in range(5):
        r, g, b = image[i, j]
        back = 0.15 + 0.85 * (0.299 * r + 0.587 * g + 0.114 * b)
        color = matplotlib.colormaps['RdBu_r']((values[i, j] + 1) / 2)[:3]
        expected = 0.7 * back + 0.3 * np.array(color)
        np.testing.assert_allclose(found[i, j], expected, atol=1e-9)

  def test_opacity_one_hides_the_photo(self):
    image = np.random.default_rng(1).uniform(size=(4, 5, 3))
    values = np.linspace(0, 1, 20).reshape(4, 5)
    found = viz.overlay(image, values, opacity=1)
    np.testing.assert_allclose(
      found, matplotlib.colormaps['turbo'](values)[..., :3]
    )

  def test_grey_photo_is_that_of_equal_channels(self):
    image = np.random.default_rng(1).uniform(size=(4, 5, 1))
    values = np.zeros((4, 5))
    np.testing.assert_allclose(
      viz.overlay(image, values),
      viz.overlay(np.repeat(image, 3, -1), values),
      atol=1e-12,
    )

  def test_blur_keeps_constants_and_smooths(self):
    values = np.zeros((6, 7))
    flat = np.full((6, 7, 1), 0.4)
    np.testing.assert_allclose(
      viz.overlay(flat, values, opacity=0, blur=2), 0.15 + 0.85 * 0.4
    )
    noisy = np.random.default_rng(0).uniform(size=(6, 7, 1))
    sharp, soft = (
      viz.overlay(noisy, values, opacity=0, blur=b).std() for b in (0, 1)
    )
    self.assertLess(soft, 0.6 * sharp)

  def test_stays_in_range(self):
    image = np.random.default_rng(1).integers(0, 2, (8, 8, 3)) * 1.0
    found = viz.overlay(image, viz.unit(_scores((8, 8, 1))))
    self.assertGreaterEqual(found.min(), 0)
    self.assertLessEqual(found.max(), 1)

  @parameterized.parameters(
    ({'opacity': 1.5}, r'opacity 1.5 and blur 1.0, expected opacity in \[0, 1'),
    ({'opacity': -0.5}, 'opacity -0.5'),
    ({'opacity': float('nan')}, 'opacity nan'),
    ({'blur': -1.0}, 'blur -1.0, expected .* blur >= 0'),
    ({'blur': float('nan')}, 'blur nan'),
  )
  def test_refuses_settings(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      viz.overlay(np.zeros((2, 2, 3)), np.zeros((2, 2)), **settings)

  def test_refuses_images(self):
    values = np.zeros((2, 3))
    with self.assertRaisesRegex(
      ValueError, r'the map is \(2, 3\), the image \(3, 2\): expected the same'
    ):
      viz.overlay(np.zeros((3, 2, 3)), values)
    for pixel, span in ((2.0, r'\[0.0, 2.0\]'), (-1.0, r'\[-1.0, 0.0\]')):
      image = np.zeros((2, 3, 3))
      image[0, 0, 0] = pixel
      with self.assertRaisesRegex(
        ValueError, rf'image spans {span}, expected \[0, 1\]'
      ):
        viz.overlay(image, values)
    with self.assertRaisesRegex(ValueError, '18 of 18 values are NaN'):
      viz.overlay(np.full((2, 3, 3), np.nan), values)


class PaintTest(parameterized.TestCase):
  # In tuples of one: a drawing is a tuple itself.
  @parameterized.parameters((viz.MAGNITUDE,), (viz.SIGNED,), (viz.HEAT,))
  def test_alone(self, drawing):
    values = drawing.normalise(_scores())
    where = (values - drawing.low) / (1 - drawing.low)
    expected = matplotlib.colormaps[drawing.colors](where)[..., :3]
    np.testing.assert_array_equal(viz.paint(drawing, _scores()), expected)

  def test_photo_shows_through_heat_only(self):
    image = np.random.default_rng(1).uniform(size=(6, 5, 3))
    expected = viz.overlay(image, viz.unit(_scores()), opacity=0.55)
    np.testing.assert_array_equal(
      viz.paint(viz.HEAT, _scores(), image), expected
    )
    for drawing in (viz.MAGNITUDE, viz.SIGNED):
      np.testing.assert_array_equal(
        viz.paint(drawing, _scores(), image), viz.paint(drawing, _scores())
      )

  def test_without_matplotlib(self):
    name = 'saliency_jax.viz.drawings'
    old = {k: sys.modules.pop(k) for k in (name, 'matplotlib')}
    sys.modules['matplotlib'] = None
    try:
      with self.assertRaisesRegex(
        ImportError, r"pip install 'saliency-jax\[viz\]'"
      ):
        __import__(name)
    finally:
      sys.modules.pop(name, None)
      sys.modules.update(old)


if __name__ == '__main__':
  absltest.main()
