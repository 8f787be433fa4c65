"""Tests for `stretching.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from skimage import transform

from saliency_jax.core import stretching


class StretchingTest(parameterized.TestCase):
  @parameterized.parameters((7, 256), (4, 9), (1, 5), (5, 5), (2, 3))
  def test_bilinear_matches_skimage(self, size, new_size):
    grid = np.random.default_rng(0).uniform(size=(size, size))
    matrix = stretching.bilinear(size, new_size)
    want = transform.resize(
      grid,
      (new_size, new_size),
      order=1,
      mode='reflect',
      anti_aliasing=False,
    )
    np.testing.assert_allclose(matrix @ grid @ matrix.T, want, atol=1e-12)
    np.testing.assert_allclose(matrix.sum(1), 1)

  def test_apply_multiplies_in_full_precision(self):
    ones = jnp.ones((3, 3))
    text = str(jax.make_jaxpr(stretching.apply)(ones, [ones, ones]))
    self.assertEqual(text.count('dot_general'), text.count('HIGHEST') // 2)
    self.assertIn('dot_general', text)

  @parameterized.parameters(
    (10, 4, 3, [0, 3, 6]),
    (10, 4, 4, [0, 4, 8]),  # The last is cut.
    (5, 5, 1, [0]),
    (5, 1, 1, [0, 1, 2, 3, 4]),
  )
  def test_windows(self, size, window, stride, starts):
    matrix = stretching.windows(size, window, stride)
    want = np.zeros((size, len(starts)))
    for k, start in enumerate(starts):
      want[start : start + window, k] = 1
    np.testing.assert_array_equal(matrix, want)
    self.assertTrue(np.all(matrix.sum(1) > 0))

  @parameterized.parameters(
    (5, 6, 1, r'window must be a whole number in \[1, 5\], got 6'),
    (5, 0, 1, r'window must be a whole number in \[1, 5\], got 0'),
    (5, 2, 3, r'stride must be a whole number in \[1, 2\], got 3'),
    (5, 2, 0, r'stride must be a whole number in \[1, 2\], got 0'),
  )
  def test_bad_windows(self, size, window, stride, message):
    with self.assertRaisesRegex(ValueError, message):
      stretching.windows(size, window, stride)

  def test_apply_is_one_product_an_axis(self):
    rng = np.random.default_rng(0)
    u = rng.uniform(size=(2, 3, 4, 5)).astype(np.float32)
    a, b, c = (rng.uniform(size=(7, n)).astype(np.float32) for n in (2, 3, 4))
    want = np.einsum('Aa,Bb,Cc,abck->ABCk', a, b, c, u)
    got = stretching.apply(jnp.asarray(u), [a, b, c])
    np.testing.assert_allclose(got, want, rtol=1e-5)

  @parameterized.parameters((3, 7), (1, 4), (5, 5), (28, 224))
  def test_aligned_interpolates_between_the_ends(self, cells, pixels):
    matrix = stretching.aligned(cells, pixels)
    at = np.linspace(0, 1, pixels)
    values = np.random.default_rng(0).uniform(size=cells)
    want = np.interp(at, np.linspace(0, 1, cells), values)
    np.testing.assert_allclose(matrix @ values, want, atol=1e-12)

  def test_nearest(self):
    of = np.argmax(stretching.nearest(3, 7), 1)
    self.assertEqual([*of], [0, 0, 0, 1, 1, 2, 2])

  @parameterized.parameters(stretching.nearest, stretching.aligned)
  def test_more_cells_than_pixels(self, stretch):
    message = r'cells must be a whole number in \[1, 4\], got 5'
    with self.assertRaisesRegex(ValueError, message):
      stretch(5, 4)

  def test_per_axis(self):
    self.assertEqual(stretching.per_axis(3), (3, 3))
    self.assertEqual(stretching.per_axis((3, 4, 5), 3), (3, 4, 5))
    with self.assertRaisesRegex(ValueError, 'expected one number or 2, got'):
      stretching.per_axis((3, 4, 5))


if __name__ == '__main__':
  absltest.main()
