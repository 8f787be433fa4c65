"""Tests for `masks.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from saliency_jax.optimization import masks


class MasksTest(parameterized.TestCase):
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
    at_edge = masks.bilateral_total_variation(edge, edge[..., None], x)
    turned = edge.T
    elsewhere = masks.bilateral_total_variation(turned, turned[..., None], x)
    np.testing.assert_allclose(at_edge, tv / 2)  # Only the plain half is left.
    np.testing.assert_allclose(elsewhere, tv)
    flat = masks.bilateral_total_variation(edge, edge[..., None], 0 * x)
    np.testing.assert_allclose(flat, tv)

  def test_variation_of_a_chain_and_of_a_volume(self):
    chain = jnp.array([0.0, 1.0, 0.5])
    np.testing.assert_allclose(masks.total_variation(chain), 1.25 / 2)
    volume = jnp.zeros((2, 2, 2)).at[0].set(1.0)
    np.testing.assert_allclose(masks.total_variation(volume), 1.0)

  def test_objectives_swap_image_and_baseline(self):
    x, b = jnp.full((2, 2, 1), 3.0), jnp.full((2, 2, 1), 1.0)
    mask = jnp.array([[1.0, 0.0], [0.5, 1.0]])[..., None]
    blend = lambda kept: x * kept + b * (1 - kept)
    self.assertEqual(masks.deletion(jnp.sum, blend, mask), 3 + 1 + 2 + 3)
    self.assertEqual(masks.insertion(jnp.sum, blend, mask), -(1 + 3 + 2 + 1))

  @parameterized.parameters(0, 9)
  def test_bad_resolution(self, s):
    message = rf'resolution must be a whole number in \[1, 8\], got {s}'
    with self.assertRaisesRegex(ValueError, message):
      masks.players(
        masks.players, jnp.ones((8, 8, 1)), None, resolution=s, baseline=0
      )


if __name__ == '__main__':
  absltest.main()
