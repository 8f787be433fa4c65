"""Tests for `experiments/core/statistics.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import stats

from experiments.core import statistics

_INF = np.inf


class MeanIntervalTest(parameterized.TestCase):
  def test_many_numbers_have_the_normal_interval(self):
    values = np.random.default_rng(0).normal(3, 2, 2000)
    found = statistics.mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(values.size)
    self.assertEqual(found.mean, values.mean())
    self.assertEqual(found.num, 2000)
    # 4999 resamples leave about 2% of the half-width to chance.
    np.testing.assert_allclose(
      [found.low, found.high],
      [found.mean - half, found.mean + half],
      atol=0.1 * half,
    )

  def test_zeros_and_ones_have_the_binomial_interval(self):
    values = np.repeat([0.0, 1.0], [60, 40])
    found = statistics.mean_interval(values)
    low, high = stats.binom(100, 0.4).ppf([0.025, 0.975]) / 100
    np.testing.assert_allclose([found.low, found.high], [low, high], atol=0.02)

  def test_skewed_numbers_have_a_skewed_interval(self):
    values = np.random.default_rng(1).exponential(size=30)
    found = statistics.mean_interval(values)
    self.assertGreater(found.high - found.mean, found.mean - found.low)

  def test_covers_the_mean_as_often_as_it_says(self):
    num = 300
    draws = np.random.default_rng(2).normal(1, 1, (num, 20))
    inside = 0
    for values in draws:
      found = statistics.mean_interval(values)
      inside += found.low <= 1 <= found.high
    # z = 3.3 about the 93% that a bootstrap of 20 has.
    error = 3.3 * np.sqrt(0.93 * 0.07 / num)
    self.assertBetween(inside / num, 0.93 - error, 0.93 + error)

  def test_shifts_scales_and_repeats(self):
    values = np.random.default_rng(3).normal(size=25)
    one = np.array(statistics.mean_interval(values)[:3])
    np.testing.assert_array_equal(one, statistics.mean_interval(values)[:3])
    other = statistics.mean_interval(2 * values + 1)[:3]
    np.testing.assert_allclose(other, 2 * one + 1, atol=1e-12)

  @parameterized.parameters(
    ([], (np.nan, -_INF, _INF, 0)),
    ([np.nan], (np.nan, -_INF, _INF, 0)),
    ([2.0], (2.0, -_INF, _INF, 1)),
    ([2.0, np.nan], (2.0, -_INF, _INF, 1)),
    ([2.0, 2.0, 2.0], (2.0, 2.0, 2.0, 3)),
    ([0.1] * 7, (0.1, 0.1, 0.1, 7)),
    ([1.0, np.inf], (np.inf, -_INF, _INF, 2)),
  )
  def test_degenerate(self, values, want):
    np.testing.assert_array_equal(
      statistics.mean_interval(np.array(values)), want
    )

  @parameterized.parameters(2, 3, 5)
  def test_few_numbers_stay_inside_their_range(self, num):
    values = np.arange(float(num)) ** 2
    found = statistics.mean_interval(values)
    self.assertBetween(found.low, 0, found.mean)
    self.assertBetween(found.high, found.mean, values.max())


class KendallTest(parameterized.TestCase):
  def test_one_order_and_none(self):
    order = np.arange(5.0)
    same = np.stack([order, 3 * order, order**3])
    self.assertEqual(statistics.kendall_w(same), 1)
    self.assertEqual(statistics.kendall_w(np.stack([order, -order])), 0)
    self.assertTrue(np.isnan(statistics.kendall_w(np.ones((2, 4)))))

  @parameterized.parameters(False, True)
  def test_is_friedmans_statistic_scaled(self, ties):
    values = np.random.default_rng(0).normal(size=(6, 5))
    values = np.round(values) if ties else values
    want = stats.friedmanchisquare(*values.T).statistic / (6 * 4)
    np.testing.assert_allclose(statistics.kendall_w(values), want, rtol=1e-12)

  def test_is_the_mean_of_spearmans_scaled(self):
    values = np.random.default_rng(1).normal(size=(4, 7))
    pairs = stats.spearmanr(values, axis=1).statistic[np.triu_indices(4, 1)]
    want = (1 + 3 * pairs.mean()) / 4
    np.testing.assert_allclose(statistics.kendall_w(values), want, rtol=1e-12)


class RankCorrelationTest(parameterized.TestCase):
  def test_has_the_interval_of_fisher(self):
    rng = np.random.default_rng(0)
    a = rng.normal(size=400)
    b = a + rng.normal(size=400)
    found = statistics.rank_correlation(a, b)
    self.assertAlmostEqual(found.mean, stats.spearmanr(a, b)[0])
    # Of Spearman's: 1.06 times that of Pearson's (Fieller et al., 1957).
    error = 1.96 * np.sqrt(1.06 / 397)
    ends = np.tanh(np.arctanh(found.mean) + np.array([-error, error]))
    np.testing.assert_allclose([found.low, found.high], ends, atol=0.012)

  def test_copies_tell_no_more(self):
    a, b = np.random.default_rng(3).normal(size=(2, 40))
    once = statistics.rank_correlation(a, b)
    ids = np.repeat(np.arange(40), 3)
    copied = statistics.rank_correlation(np.repeat(a, 3), np.repeat(b, 3), ids)
    np.testing.assert_allclose(copied, once, atol=1e-9)

  def test_order_is_all_that_counts(self):
    a, b = np.random.default_rng(1).normal(size=(2, 30))
    one = statistics.rank_correlation(a, b)
    self.assertEqual(one, statistics.rank_correlation(np.exp(a), b**3))

  def test_few_or_perfect_numbers_say_nothing_of_their_error(self):
    a, b = np.random.default_rng(2).normal(size=(2, 3))
    few = statistics.rank_correlation(a, b)
    perfect = statistics.rank_correlation(np.arange(20), np.arange(20) ** 2)
    self.assertAlmostEqual(perfect.mean, 1)
    for found in (few, perfect):
      self.assertEqual((found.low, found.high), (-_INF, _INF))


class CollapseTest(absltest.TestCase):
  def test_means_of_clusters(self):
    values = np.array([1.0, 2.0, np.nan, 5.0, np.nan])
    found = statistics.collapse(values, np.array([7, 3, 7, 7, 9]))
    np.testing.assert_array_equal(found, [2, 3, np.nan])


if __name__ == '__main__':
  absltest.main()
