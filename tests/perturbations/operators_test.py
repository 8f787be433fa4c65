"""Tests for `operators.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from skimage import transform

from saliency_jax.perturbations import operators


class OperatorsTest(parameterized.TestCase):
  def test_blend(self):
    x = jax.random.uniform(jax.random.key(0), (4, 5, 3))
    fill = jax.random.uniform(jax.random.key(1), (4, 5, 3))
    mask = jax.random.uniform(jax.random.key(2), (4, 5))
    want = x * mask[..., None] + fill * (1 - mask[..., None])
    np.testing.assert_allclose(operators.blend(x, fill, mask), want, atol=1e-6)
    for value, image in ((0.0, fill), (1.0, x)):
      out = operators.blend(x, fill, jnp.full((4, 5), value))
      np.testing.assert_allclose(out, image, atol=1e-6)

  @parameterized.parameters((7, 256), (4, 9), (1, 5), (5, 5), (2, 3))
  def test_stretch_matrix_matches_skimage(self, size, new_size):
    grid = np.random.default_rng(0).uniform(size=(size, size))
    matrix = operators.stretch_matrix(size, new_size)
    want = transform.resize(
      grid,
      (new_size, new_size),
      order=1,
      mode='reflect',
      anti_aliasing=False,
    )
    np.testing.assert_allclose(matrix @ grid @ matrix.T, want, atol=1e-12)
    np.testing.assert_allclose(matrix.sum(1), 1)

  def test_spread_multiplies_in_full_precision(self):
    text = str(jax.make_jaxpr(operators.spread)(*[jnp.ones((3, 3))] * 3))
    self.assertEqual(text.count('dot_general'), text.count('HIGHEST') // 2)
    self.assertIn('dot_general', text)

  @parameterized.parameters(
    (10, 4, 3, [0, 3, 6]),
    (10, 4, 4, [0, 4, 8]),  # The last is cut.
    (5, 5, 1, [0]),
    (5, 1, 1, [0, 1, 2, 3, 4]),
  )
  def test_window_matrix(self, size, window, stride, starts):
    matrix = operators.window_matrix(size, window, stride)
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
      operators.window_matrix(size, window, stride)


if __name__ == '__main__':
  absltest.main()
