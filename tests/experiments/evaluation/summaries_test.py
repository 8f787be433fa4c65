"""Tests for `experiments/evaluation/summaries.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.configs import common
from experiments.evaluation import summaries


def _records(values):
  """Returns records of `{method: values}` of one metric."""
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


class SummarizeTest(parameterized.TestCase):
  def test_pairs_decide_what_means_do_not(self):
    rng = np.random.default_rng(0)
    base = rng.normal(0, 10, 20)
    values = {'a': base, 'b': base + 1 + 0.1 * rng.normal(size=20)}
    found = summaries.summarize(
      _records(values),
      _config('a', 'b', comparisons=[('areas.deletion', 'a', 'b', 'below')]),
    )
    a, b = (found['means']['areas.deletion'][m] for m in 'ab')
    self.assertLess(b['low'], a['high'])
    (verdict,) = found['verdicts']
    self.assertEqual(verdict['verdict'], 'reproduced')
    self.assertAlmostEqual(verdict['mean'], -1, delta=0.1)
    self.assertEqual(verdict['num'], 20)

  def test_a_family_is_corrected_together(self):
    rng = np.random.default_rng(1)
    noise = lambda: rng.normal(size=40)
    values = {'a': noise() - 0.45, 'b': noise(), 'c': noise(), 'd': noise() + 3}
    claims = [('areas.deletion', 'a', other, 'below') for other in 'bcd']

    def verdicts(**judged):
      config = {**_config(*'abcd', comparisons=claims), **judged}
      found = summaries.summarize(_records(values), config)['verdicts']
      return found, [v['verdict'] for v in found]

    plain, words = verdicts()
    self.assertNotIn('p', plain[0])
    corrected, fewer = verdicts(holm=True)
    self.assertEqual(fewer[2], 'reproduced')
    for found, before, after in zip(corrected, words, fewer, strict=True):
      self.assertEqual(after, before if found['p'] <= 0.05 else 'undecided')
    # One of them was a find by itself, and is none of three.
    self.assertNotEqual(words, fewer)
    self.assertEqual(verdicts(fewest=41)[1], ['undecided'] * 3)

  def test_differences_are_antisymmetric(self):
    rng = np.random.default_rng(0)
    values = {m: rng.normal(size=12) for m in 'abc'}
    found = summaries.summarize(_records(values), _config(*'abc'))
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
    found = summaries.summarize(records, _config('a', 'b'))
    self.assertEqual(found['means']['areas.deletion']['a']['num'], 3)
    self.assertEqual(found['means']['areas.deletion']['b']['num'], 1)
    pair = found['differences']['areas.deletion']['a']['b']
    self.assertEqual((pair['mean'], pair['num']), (2, 1))
    self.assertEqual(found['means']['areas.insertion']['a']['num'], 0)

  def test_agreement_of_metrics(self):
    values = {'a': [0.1, 0.2], 'b': [0.5, 0.4], 'c': [0.9, 0.7]}
    records = _records(values)
    summarize = lambda: summaries.summarize(records, _config(*'abc'))
    # Insertion was not measured, and one metric agrees with itself.
    self.assertIsNone(summarize()['agreement'])
    for record in records:
      for row in record['maps'].values():
        row['values']['areas.insertion'] = -row['values']['areas.deletion']
    # A large insertion is as good as a small deletion.
    names = ['areas.deletion', 'areas.insertion']
    want = {'w': 1.0, 'metrics': names, 'num_methods': 3}
    self.assertEqual(summarize()['agreement'], want)
    for record in records:
      for row in record['maps'].values():
        row['values']['areas.insertion'] *= -1
    self.assertEqual(summarize()['agreement']['w'], 0)
    two = summaries.summarize(records, _config('a', 'b'))
    self.assertIsNone(two['agreement'])

  def test_median_time(self):
    found = summaries.summarize(_records({'a': [0.0] * 3}), _config('a'))
    self.assertEqual(found['seconds'], {'a': 2.0})

  def test_times_are_compared(self):
    records = _records({'a': [0.0] * 12, 'b': [0.0] * 12})
    for record in records:
      record['maps']['a']['seconds'] -= 0.5
    found = summaries.summarize(
      records, _config('a', 'b', comparisons=[('seconds', 'a', 'b', 'below')])
    )
    (verdict,) = found['verdicts']
    self.assertEqual(
      (verdict['mean'], verdict['verdict']), (-0.5, 'reproduced')
    )
    self.assertNotIn('seconds', found['means'])


if __name__ == '__main__':
  absltest.main()
