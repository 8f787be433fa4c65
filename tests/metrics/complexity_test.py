"""Tests for `metrics/complexity.py`."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import metrics


class ComplexityTest(absltest.TestCase):
  def test_gini_of_all_equal_and_of_one(self):
    self.assertAlmostEqual(float(metrics.gini(jnp.ones((5, 5)))), 0, places=6)
    one = jnp.zeros((4, 4, 1)).at[1, 1].set(-3.0)
    self.assertAlmostEqual(float(metrics.gini(one)), 1 - 1 / 16, places=6)
    self.assertEqual(metrics.gini(jnp.zeros((4, 4))), 1)

  def test_gini_is_the_mean_difference_of_pairs(self):
    a = np.random.default_rng(0).exponential(size=40).astype(np.float32)
    pairs = np.abs(a[:, None] - a[None]).mean()
    got = jax.jit(metrics.gini)(jnp.asarray(a).reshape(5, 8))
    np.testing.assert_allclose(got, pairs / (2 * a.mean()), rtol=1e-5)

  def test_entropy_of_all_equal_and_of_one(self):
    equal = metrics.entropy(jnp.array([[1.0, -1.0], [1.0, -1.0]]))
    self.assertAlmostEqual(float(equal), np.log(4), places=6)
    one = jnp.zeros((4, 4, 1)).at[1, 1].set(-3.0)
    self.assertEqual(metrics.entropy(one), 0)
    self.assertEqual(metrics.entropy(jnp.zeros((4, 4))), 0)
    self.assertTrue(np.isnan(metrics.entropy(one.at[0, 0].set(jnp.inf))))

  def test_entropy_matches_loop(self):
    a = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    want = 0.0
    for share in (np.abs(a) / np.abs(a).sum()).ravel():
      want -= share * np.log(share)
    got = jax.jit(metrics.entropy)(jnp.asarray(7 * a))
    np.testing.assert_allclose(got, want, rtol=1e-5)

  def test_relative_variation(self):
    one = jnp.zeros((4, 4, 1)).at[1, 1].set(3.0)
    self.assertAlmostEqual(
      float(metrics.relative_variation(one)), 4.0, places=6
    )
    self.assertEqual(metrics.relative_variation(jnp.ones((3, 3, 1))), 0)
    self.assertEqual(metrics.relative_variation(jnp.zeros((3, 3, 1))), 0)
    # Free of scale; a ramp of 0 to n - 1 rises by n - 1 in every row.
    ramp = jnp.broadcast_to(jnp.arange(5.0)[None, :, None], (3, 5, 1))
    got = metrics.relative_variation(-7 * ramp)
    self.assertAlmostEqual(float(got), 3 * 4 / (3 * 10), places=6)


if __name__ == '__main__':
  absltest.main()
