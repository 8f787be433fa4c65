"""Tests for `ranking.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.metrics import ranking


class RankingTest(parameterized.TestCase):
  def test_order(self):
    values = jnp.array([[0.1, 3.0], [-2.0, 1.0]])
    np.testing.assert_array_equal(ranking.ranks(values), [[2, 0], [3, 1]])
    np.testing.assert_array_equal(
      ranking.ranks(values, largest_first=False), [[1, 3], [0, 2]]
    )

  @parameterized.parameters(False, True)
  def test_nan_goes_last(self, largest_first):
    values = jnp.array([1.0, jnp.nan, 3.0, -jnp.nan, jnp.inf])
    got = ranking.ranks(values, largest_first=largest_first)
    self.assertEqual({int(got[1]), int(got[3])}, {3, 4})

  def test_ties_by_place_or_by_key(self):
    values = jnp.zeros(100).at[7].set(1.0)
    by_place = ranking.ranks(values)
    np.testing.assert_array_equal(by_place[:9], [1, 2, 3, 4, 5, 6, 7, 0, 8])
    draws = [ranking.ranks(values, key=jax.random.key(i)) for i in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    self.assertTrue(np.any(draws[0] != draws[2]))
    for draw in draws:
      self.assertEqual(draw[7], 0)
      np.testing.assert_array_equal(np.sort(draw), np.arange(100))

  def test_ties_are_broken_evenly(self):
    keys = jax.random.split(jax.random.key(3), 2000)
    places = jax.vmap(lambda k: ranking.ranks(jnp.zeros(5), key=k))(keys)
    # A uniform place has mean 2 and variance 2: each mean within 4 deviations.
    error = np.abs(np.mean(places, 0) - 2) / np.sqrt(2 / 2000)
    self.assertLess(np.max(error), 4)

  def test_counts(self):
    fractions = jnp.array([0.0, 0.24, 0.26, 1.0])
    np.testing.assert_array_equal(ranking.counts(fractions, 10), [0, 2, 3, 10])
    np.testing.assert_array_equal(
      jax.jit(lambda: ranking.counts(fractions, 10))(), [0, 2, 3, 10]
    )
    with self.assertRaisesRegex(ValueError, r'must be in \[0, 1\], got 1.5'):
      ranking.counts(jnp.array([0.5, 1.5]), 10)


if __name__ == '__main__':
  absltest.main()
