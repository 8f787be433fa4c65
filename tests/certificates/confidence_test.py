"""Tests for `confidence.py`."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import stats

from saliency_jax.certificates import confidence


class ConfidenceTest(parameterized.TestCase):
  def test_hoeffding_is_the_papers(self):
    # c = .0309 at q = 8192 for the paper's maps of 224 x 224 x 3 entries.
    mean = np.full((224, 224, 3), 0.5)
    lower, upper = confidence.hoeffding(mean, 8192, 0.95)
    np.testing.assert_allclose(mean - lower, 0.0309, atol=5e-5)
    np.testing.assert_allclose(upper - mean, 0.0309, atol=5e-5)

  def test_clopper_pearson_is_scipys(self):
    counts = np.array([0, 1, 7, 49, 50])
    lower, upper = confidence.clopper_pearson(counts / 50, 50, 0.9)
    for i, k in enumerate(counts):
      # Two-sided at level (1 - .9) / n: (1 - .9) / (2 n) on each side.
      want = stats.binomtest(int(k), 50).proportion_ci(1 - 0.1 / 5, 'exact')
      self.assertAlmostEqual(lower[i], want.low, places=12)
      self.assertAlmostEqual(upper[i], want.high, places=12)

  def test_bernstein_formula(self):
    mean, variance = np.array([0.2, 0.9]), np.array([0.01, 0.0])
    lower, upper = confidence.empirical_bernstein(
      mean, 1000, 0.95, variance=variance
    )
    level = math.log(4 * 2 / 0.05)
    first = math.sqrt(2 * 0.01 * 1000 / 999 * level / 1000)
    c = np.array([first, 0]) + 7 * level / (3 * 999)
    np.testing.assert_allclose(lower, mean - c)
    np.testing.assert_allclose(upper, np.minimum(mean + c, 1))

  @parameterized.parameters('hoeffding', 'clopper_pearson', 'bernstein')
  def test_covers_all_entries_at_once(self, name):
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=30) ** 3
    q, trials, confident = 60, 1000, 0.8
    held = 0
    for _ in range(trials):
      draws = rng.uniform(size=(q, 30)) < truth
      bound = {
        'hoeffding': confidence.hoeffding,
        'clopper_pearson': confidence.clopper_pearson,
        'bernstein': functools.partial(
          confidence.empirical_bernstein, variance=draws.var(0)
        ),
      }[name]
      lower, upper = bound(draws.mean(0), q, confident)
      held += np.all((lower <= truth) & (truth <= upper))
    error = math.sqrt(confident * (1 - confident) / trials)
    self.assertGreater(held / trials, confident - 3 * error)

  def test_exact_bounds_are_within_hoeffdings(self):
    mean = np.arange(101) / 100
    lower, upper = confidence.hoeffding(mean, 100)
    tighter = confidence.clopper_pearson(mean, 100)
    self.assertTrue(np.all(tighter[0] >= lower - 1e-12))
    self.assertTrue(np.all(tighter[1] <= upper + 1e-12))

  def test_population_is_the_map(self):
    mean = np.array([0.0, 0.3, 1.0])
    for got in confidence.population(mean):
      np.testing.assert_array_equal(got, mean)

  @parameterized.parameters(
    (
      [0.5],
      0,
      0.95,
      r'num_samples must be a whole number of at least 1, got 0',
    ),
    ([0.5], 9, 1.0, 'strictly between 0 and 1, got 1.0'),
    ([1.5], 9, 0.95, r'entries in \[0, 1\]'),
    ([math.nan], 9, 0.95, 'without NaN'),
    ([], 9, 0.95, r'entries in \[0, 1\]'),
  )
  def test_bad_arguments(self, mean, num, level, message):
    with self.assertRaisesRegex(ValueError, message):
      confidence.hoeffding(np.array(mean), num, level)

  def test_clopper_pearson_wants_counts(self):
    with self.assertRaisesRegex(ValueError, 'off a whole number'):
      confidence.clopper_pearson(np.array([0.55]), 10)

  def test_bernstein_wants_a_variance_of_the_same_shape(self):
    with self.assertRaisesRegex(ValueError, r'shaped \(2,\), got \(3,\)'):
      confidence.empirical_bernstein(
        np.array([0.1, 0.2]), 10, variance=np.zeros(3)
      )


if __name__ == '__main__':
  absltest.main()
