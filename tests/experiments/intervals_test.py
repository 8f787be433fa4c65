"""Tests for `experiments/intervals.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import stats

from experiments import intervals
from experiments.configs import common

_INF = np.inf


def _records(values):
  """Returns records of `{method: values}` of one measure."""
  num = len(next(iter(values.values())))
  return [
    {
      'maps': {
        m: {'values': {'areas.deletion': v[i]}, 'seconds': 1.0 + i}
        for m, v in values.items()
      }
    }
    for i in range(num)
  ]


def _config(*methods, comparisons=()):
  return common.evaluation(
    about='',
    methods={m: common.use('gradient') for m in methods},
    metrics={'areas': common.use('igos_protocol')},
    comparisons=comparisons,
  ).to_dict()


class MeanIntervalTest(parameterized.TestCase):
  def test_many_numbers_have_the_normal_interval(self):
    values = np.random.default_rng(0).normal(3, 2, 2000)
    found = intervals.mean_interval(values)
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
    found = intervals.mean_interval(values)
    low, high = stats.binom(100, 0.4).ppf([0.025, 0.975]) / 100
    np.testing.assert_allclose([found.low, found.high], [low, high], atol=0.02)

  def test_skewed_numbers_have_a_skewed_interval(self):
    values = np.random.default_rng(1).exponential(size=30)
    found = intervals.mean_interval(values)
    self.assertGreater(found.high - found.mean, found.mean - found.low)

  def test_covers_the_mean_as_often_as_it_says(self):
    num = 300
    draws = np.random.default_rng(2).normal(1, 1, (num, 20))
    inside = 0
    for values in draws:
      found = intervals.mean_interval(values)
      inside += found.low <= 1 <= found.high
    # z = 3.3 about the 93% that a bootstrap of 20 has.
    error = 3.3 * np.sqrt(0.93 * 0.07 / num)
    self.assertBetween(inside / num, 0.93 - error, 0.93 + error)

  def test_shifts_scales_and_repeats(self):
    values = np.random.default_rng(3).normal(size=25)
    one = np.array(intervals.mean_interval(values)[:3])
    np.testing.assert_array_equal(one, intervals.mean_interval(values)[:3])
    other = intervals.mean_interval(2 * values + 1)[:3]
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
      intervals.mean_interval(np.array(values)), want
    )

  @parameterized.parameters(2, 3, 5)
  def test_few_numbers_stay_inside_their_range(self, num):
    values = np.arange(float(num)) ** 2
    found = intervals.mean_interval(values)
    self.assertBetween(found.low, 0, found.mean)
    self.assertBetween(found.high, found.mean, values.max())


class VerdictTest(parameterized.TestCase):
  @parameterized.product(
    case=(
      (-2, -1, ('reproduced', 'refuted', 'refuted', 'reproduced')),
      (-1, 1, ('undecided',) * 4),
      (1, 2, ('refuted', 'reproduced', 'reproduced', 'refuted')),
      (0, 1, ('undecided', 'undecided', 'reproduced', 'undecided')),
      (-1, 0, ('undecided', 'undecided', 'undecided', 'reproduced')),
      (0, 0, ('undecided', 'undecided', 'reproduced', 'reproduced')),
      (-_INF, _INF, ('undecided',) * 4),
    ),
    claim=tuple(enumerate(('below', 'above', 'not_below', 'not_above'))),
  )
  def test_rule(self, case, claim):
    low, high, want = case
    index, name = claim
    found = intervals.verdict(name, intervals.Interval(0, low, high, 10))
    self.assertEqual(found, want[index])

  def test_few_images_decide_nothing(self):
    found = intervals.verdict('below', intervals.Interval(-2, -3, -1, 9))
    self.assertEqual(found, 'undecided')


class SummarizeTest(parameterized.TestCase):
  def test_pairs_decide_what_means_do_not(self):
    rng = np.random.default_rng(0)
    base = rng.normal(0, 10, 20)
    values = {'a': base, 'b': base + 1 + 0.1 * rng.normal(size=20)}
    found = intervals.summarize(
      _records(values),
      _config('a', 'b', comparisons=[('areas.deletion', 'a', 'b', 'below')]),
    )
    a, b = (found['means']['areas.deletion'][m] for m in 'ab')
    self.assertLess(b['low'], a['high'])
    (verdict,) = found['verdicts']
    self.assertEqual(verdict['verdict'], 'reproduced')
    self.assertAlmostEqual(verdict['mean'], -1, delta=0.1)
    self.assertEqual(verdict['num'], 20)

  def test_differences_are_antisymmetric(self):
    rng = np.random.default_rng(0)
    values = {m: rng.normal(size=12) for m in 'abc'}
    found = intervals.summarize(_records(values), _config(*'abc'))
    by_row = found['differences']['areas.deletion']
    for a, b in (('a', 'b'), ('c', 'a')):
      one, other = by_row[a][b], by_row[b][a]
      self.assertEqual(one['mean'], -other['mean'])
      self.assertEqual(
        (one['low'], one['high']), (-other['high'], -other['low'])
      )
      want = np.mean(values[a] - values[b])
      self.assertAlmostEqual(one['mean'], want)
    self.assertNotIn('a', by_row['a'])

  def test_example_without_a_value_leaves_its_pairs(self):
    values = {'a': [1.0, 2.0, 3.0], 'b': [0.0, np.nan, 1.0]}
    records = _records(values)
    records[0]['maps']['b']['values'] = {}
    found = intervals.summarize(records, _config('a', 'b'))
    self.assertEqual(found['means']['areas.deletion']['a']['num'], 3)
    self.assertEqual(found['means']['areas.deletion']['b']['num'], 1)
    pair = found['differences']['areas.deletion']['a']['b']
    self.assertEqual((pair['mean'], pair['num']), (2, 1))
    self.assertEqual(found['means']['areas.insertion']['a']['num'], 0)

  def test_median_time(self):
    found = intervals.summarize(_records({'a': [0.0] * 3}), _config('a'))
    self.assertEqual(found['seconds'], {'a': 2.0})

  def test_times_are_compared(self):
    records = _records({'a': [0.0] * 12, 'b': [0.0] * 12})
    for record in records:
      record['maps']['a']['seconds'] -= 0.5
    found = intervals.summarize(
      records, _config('a', 'b', comparisons=[('seconds', 'a', 'b', 'below')])
    )
    (verdict,) = found['verdicts']
    self.assertEqual(
      (verdict['mean'], verdict['verdict']), (-0.5, 'reproduced')
    )
    self.assertNotIn('seconds', found['means'])


if __name__ == '__main__':
  absltest.main()
