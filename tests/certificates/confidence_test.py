"""Tests for `confidence.py`."""

import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import stats

from saliency_jax.certificates import confidence
from saliency_jax.certificates import terms


def _map(mean, num, **stated):
  return terms.stated_map(mean, sigma=1.0, num_samples=num, **stated)


class ConfidenceTest(parameterized.TestCase):
  def test_hoeffding_is_the_papers(self):
    # c = .0309 at q = 8192 for the paper's maps of 224 x 224 x 3 entries.
    mean = np.full((224, 224, 3), 0.5)
    lower, upper = confidence.hoeffding(_map(mean, 8192), 0.95)
    np.testing.assert_allclose(mean - lower, 0.0309, atol=5e-5)
    np.testing.assert_allclose(upper - mean, 0.0309, atol=5e-5)

  def test_clopper_pearson_is_scipys(self):
    counts = np.array([0, 1, 7, 49, 50])
    lower, upper = confidence.clopper_pearson(
      _map(counts / 50, 50, binary=True), 0.9
    )
    for i, k in enumerate(counts):
      # Two-sided at level (1 - .9) / n: (1 - .9) / (2 n) on each side.
      want = stats.binomtest(int(k), 50).proportion_ci(1 - 0.1 / 5, 'exact')
      self.assertAlmostEqual(lower[i], want.low, places=12)
      self.assertAlmostEqual(upper[i], want.high, places=12)

  def test_bernstein_formula(self):
    mean, variance = np.array([0.2, 0.9]), np.array([0.01, 0.0])
    lower, upper = confidence.empirical_bernstein(
      _map(mean, 1000, variance=variance), 0.95
    )
    level = math.log(4 * 2 / 0.05)
    first = math.sqrt(2 * 0.01 * 1000 / 999 * level / 1000)
    c = np.array([first, 0]) + 7 * level / (3 * 999)
    np.testing.assert_allclose(lower, mean - c)
    np.testing.assert_allclose(upper, np.minimum(mean + c, 1))

  @parameterized.parameters(
    'hoeffding', 'clopper_pearson', 'empirical_bernstein'
  )
  def test_covers_all_entries_at_once(self, name):
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=30) ** 3
    q, trials, confident = 60, 1000, 0.8
    held = 0
    for _ in range(trials):
      draws = rng.uniform(size=(q, 30)) < truth
      lower, upper = getattr(confidence, name)(
        _map(draws.mean(0), q, binary=True, variance=draws.var(0)), confident
      )
      held += np.all((lower <= truth) & (truth <= upper))
    error = math.sqrt(confident * (1 - confident) / trials)
    self.assertGreater(held / trials, confident - 3 * error)

  def test_exact_bounds_are_within_hoeffdings(self):
    mean = np.arange(101) / 100
    lower, upper = confidence.hoeffding(_map(mean, 100))
    tighter = confidence.clopper_pearson(_map(mean, 100, binary=True))
    self.assertTrue(np.all(tighter[0] >= lower - 1e-12))
    self.assertTrue(np.all(tighter[1] <= upper + 1e-12))

  def test_population_is_the_map(self):
    mean = np.array([0.0, 0.3, 1.0])
    for got in confidence.population(_map(mean, 0)):
      np.testing.assert_array_equal(got, mean)

  @parameterized.product(q=(1, 7, 200), level=(0.5, 0.95))
  def test_new_draws(self, q, level):
    p = np.array([0.0, 1e-20, 1e-3, 0.3, 0.5, 0.97, 1.0])
    # Each of the 14 bounds fails with at most this probability.
    most_failures = (1 - level) / 14
    least, most = confidence.of_new_draws(p, p, q, level, binary=True)
    below = stats.binom.cdf(np.rint(q * least) - 1, q, p)
    above = stats.binom.sf(np.rint(q * most), q, p)
    self.assertLessEqual(max(below.max(), above.max()), most_failures)
    # No bound could be closer by one count.
    closer = stats.binom.cdf(np.rint(q * least), q, p)
    self.assertGreater(closer.min(), most_failures)
    closer = stats.binom.sf(np.rint(q * most) - 1, q, p)
    self.assertGreater(closer.min(), most_failures)
    # Hoeffding's are further out, and by the same all over.
    low, high = confidence.of_new_draws(p, p, q, level, binary=False)
    self.assertTrue(np.all((low <= least) & (most <= high)))
    np.testing.assert_allclose(
      2 * np.exp(-2 * q * (p - low) ** 2), 2 * most_failures
    )
    np.testing.assert_allclose(high - p, p - low)

  @parameterized.parameters(
    ('hoeffding', {}, 0.95, 'known exactly: use population'),
    ('hoeffding', {'num': 9}, 1.0, r'confidence must be in \(0, 1\), got 1'),
    ('clopper_pearson', {'num': 9}, 0.95, 'draws of 0 or 1.*has others'),
    ('clopper_pearson', {'num': 9, 'binary': True}, 0.9, 'off a whole number'),
    (
      'empirical_bernstein',
      {'num': 1},
      0.95,
      'whole number of at least 2, got 1',
    ),
    ('empirical_bernstein', {'num': 9}, 0.95, 'wants the variance'),
    ('population', {'num': 9}, 0.95, 'this one has 9 draws: use hoeffding'),
  )
  def test_refuses(self, bound, settings, level, message):
    with self.assertRaisesRegex(ValueError, message):
      getattr(confidence, bound)(_map([0.55], **{'num': 0, **settings}), level)


if __name__ == '__main__':
  absltest.main()
