"""Tests for `masks.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import interpolate

from saliency_jax.optimization import masks


class MasksTest(parameterized.TestCase):
  def test_upsampling_has_exact_corners_and_midpoints(self):
    mask = jnp.array([[1.0, 2.0], [4.0, 8.0]])
    up = masks.upsample(mask, (5, 5))
    np.testing.assert_array_equal(up[::4, ::4], mask)
    self.assertEqual(up[0, 2], 1.5)
    self.assertEqual(up[2, 0], 2.5)
    self.assertEqual(up[2, 2], 3.75)

  @parameterized.parameters((4, 9, 14), (3, 3, 7), (1, 5, 5), (6, 6, 6))
  def test_upsampling_is_bilinear_between_aligned_corners(self, s, h, w):
    mask = np.random.default_rng(0).uniform(size=(s, s))
    nodes = np.arange(s) if s > 1 else np.arange(2)
    values = mask if s > 1 else np.full((2, 2), mask[0, 0])
    want = interpolate.RegularGridInterpolator((nodes, nodes), values)(
      np.stack(
        np.meshgrid(
          np.linspace(0, nodes[-1], h),
          np.linspace(0, nodes[-1], w),
          indexing='ij',
        ),
        -1,
      )
    )
    with jax.enable_x64():
      got = masks.upsample(jnp.asarray(mask), (h, w))
    np.testing.assert_allclose(got, want, atol=1e-12)

  def test_prices_are_exact_means(self):
    mask = jnp.array([[1.0, 0.5, 0.0], [1.0, 1.0, 0.0]])
    np.testing.assert_allclose(masks.sparsity(mask), 2.5 / 6)
    # Down: 0, .25, 0 over 3; across: .25, .25, 0, 1 over 4.
    np.testing.assert_allclose(masks.total_variation(mask), 0.25 / 3 + 1.5 / 4)
    self.assertEqual(masks.total_variation(jnp.ones((1, 1))), 0)

  def test_bilateral_variation_is_cheap_at_edges(self):
    x = jnp.zeros((6, 6, 2)).at[:, 3:].set(1.0)
    edge = jnp.zeros((6, 6)).at[:, 3:].set(1.0)
    tv = masks.total_variation(edge)
    at_edge = masks.bilateral_total_variation(edge, x)
    elsewhere = masks.bilateral_total_variation(edge.T, x)
    np.testing.assert_allclose(at_edge, tv / 2)  # Only the plain half is left.
    np.testing.assert_allclose(elsewhere, tv)
    np.testing.assert_allclose(masks.bilateral_total_variation(edge, 0 * x), tv)

  def test_objectives_swap_image_and_baseline(self):
    x, b = jnp.full((2, 2, 1), 3.0), jnp.full((2, 2, 1), 1.0)
    mask = jnp.array([[1.0, 0.0], [0.5, 1.0]])
    fn = lambda x: jnp.sum(x)
    self.assertEqual(masks.deletion(fn, x, b, mask), 3 + 1 + 2 + 3)
    self.assertEqual(masks.insertion(fn, x, b, mask), -(1 + 3 + 2 + 1))

  @parameterized.parameters(0, 9)
  def test_bad_resolution(self, s):
    message = (
      rf'resolution of a mask must be a whole number in \[1, 8\], got {s}'
    )
    with self.assertRaisesRegex(ValueError, message):
      masks.upsample(jnp.ones((s, s)), (8, 8))


if __name__ == '__main__':
  absltest.main()
