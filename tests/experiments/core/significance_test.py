"""Tests for `experiments/core/significance.py`, by simulation."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import stats

from experiments.core import significance
from experiments.core import statistics

_NUM = 30
# By name: numbers whose mean is 0, though not all of them are symmetric.
_DRAWS = {
  'normal': lambda rng, shape: rng.normal(size=shape),
  'exponential': lambda rng, shape: rng.exponential(size=shape) - 1,
  'lognormal': lambda rng, shape: rng.lognormal(size=shape) - np.exp(0.5),
  'difference of lognormals': lambda rng, shape: (
    rng.lognormal(size=shape) - rng.lognormal(size=shape)
  ),
  'ties': lambda rng, shape: rng.choice([-1.0, 0, 0, 0, 1], shape),
  'skewed ties': lambda rng, shape: rng.choice(
    [-0.25] * 8 + [0] * 4 + [1] * 2, shape
  ),
}


def _most(num):
  """Returns the count that a share of .05 of so many passes with 1e-4."""
  return stats.binom.ppf(1 - 1e-4, num, significance.LEVEL)


class OfMeanTest(parameterized.TestCase):
  @parameterized.parameters(*_DRAWS)
  def test_chance_is_seldom_found(self, name):
    rng = np.random.default_rng(0)
    p = significance.of_mean(_DRAWS[name](rng, (4000, _NUM)), 999)
    self.assertLess(np.sum(p <= significance.LEVEL), _most(len(p)))

  @parameterized.parameters('normal', 'exponential', 'ties')
  def test_chance_is_seldom_found_in_a_family(self, name):
    rng = np.random.default_rng(1)
    p = significance.of_mean(_DRAWS[name](rng, (1000, 5, _NUM)), 999)
    wrong = [min(significance.holm(row)) <= significance.LEVEL for row in p]
    self.assertLess(np.sum(wrong), _most(len(p)))

  def test_clusters_are_what_counts(self):
    rng = np.random.default_rng(2)
    shared = rng.exponential(size=(1000, _NUM, 1)) - 1
    values = (shared + 0.3 * rng.normal(size=(1000, _NUM, 4))).reshape(1000, -1)
    ids = np.repeat(np.arange(_NUM), 4)
    means = np.stack([statistics.collapse(v, ids) for v in values])
    p = significance.of_mean(means, 999)
    self.assertLess(np.sum(p <= significance.LEVEL), _most(len(p)))
    # As if they were independent, chance is found far too often.
    naive = significance.of_mean(values, 999)
    self.assertGreater(np.sum(naive <= significance.LEVEL), 2 * _most(len(p)))

  def test_effects_are_found(self):
    rng = np.random.default_rng(3)
    for num, effect in ((30, 0.9), (100, 0.5)):
      p = significance.of_mean(rng.normal(effect, 1, (500, num)), 999)
      self.assertGreater(np.mean(p <= significance.LEVEL), 0.9)

  def test_scale_and_sign_do_not_count(self):
    values = np.random.default_rng(4).normal(0.3, 1, 40)
    p = significance.of_mean(values)
    self.assertEqual(significance.of_mean(1e-9 * values), p)
    rows = significance.of_mean(np.stack([values, 1e6 * values]))
    np.testing.assert_array_equal(rows, [p, p])
    # Draws are not symmetric, as few as they are.
    self.assertAlmostEqual(significance.of_mean(-values), p, delta=0.02)

  def test_is_the_t_test_of_one_more_number(self):
    values = np.random.default_rng(5).normal(0.15, 1, 400)
    farthest = np.max(np.abs(values - values.mean()))
    more = np.append(values, values.mean() - farthest)
    want = stats.ttest_1samp(more, 0).pvalue
    error = 3.9 * np.sqrt(want * (1 - want) / 9999)
    self.assertBetween(significance.of_mean(values), want - error, want + 0.02)

  def test_equal_numbers(self):
    self.assertLess(significance.of_mean(np.full(30, -0.2)), 0.001)
    self.assertEqual(significance.of_mean(np.zeros(30)), 1)
    # One that is not zero may be chance.
    self.assertGreater(significance.of_mean(np.eye(30)[0]), 0.5)


class HolmTest(absltest.TestCase):
  def test_by_hand(self):
    found = significance.holm([0.03, 0.001, 0.04, 0.02])
    np.testing.assert_allclose(found, [0.06, 0.004, 0.06, 0.06])
    self.assertEqual(significance.holm([0.6, 0.9]), [1, 1])
    self.assertEqual(significance.holm([]), [])


class OfRankCorrelationTest(parameterized.TestCase):
  @parameterized.parameters(1, 4)
  def test_chance_is_seldom_found(self, versions):
    rng = np.random.default_rng(6)
    ids = np.repeat(np.arange(_NUM), versions)
    wrong = 0
    for _ in range(400):
      shared = rng.normal(size=(2, _NUM, 1))
      a, b = shared + 0.5 * rng.normal(size=(2, _NUM, versions))
      p = significance.of_rank_correlation(a.ravel(), b.ravel(), ids)
      wrong += p <= significance.LEVEL
    self.assertLess(wrong, _most(400))

  def test_trend_is_found(self):
    a = np.random.default_rng(7).normal(size=(2, 60))
    p = significance.of_rank_correlation(a[0], a[0] + a[1])
    self.assertLess(p, 1e-4)
    self.assertEqual(significance.of_rank_correlation(a[0], a[0]), 1)


class ShareTest(absltest.TestCase):
  def test_by_hand(self):
    self.assertAlmostEqual(significance.of_share(0, 10, 0.5), 2 / 1024)
    low, high = significance.share_interval(0, 32)
    self.assertEqual(low, 0)
    self.assertAlmostEqual(high, 1 - 0.025 ** (1 / 32))


if __name__ == '__main__':
  absltest.main()
