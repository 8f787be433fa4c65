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
      'index': i,
      'maps': {
        m: {'values': {'areas.deletion': v[i]}, 'seconds': 1.0 + i}
        for m, v in values.items()
      },
    }
    for i in range(num)
  ]


def _config(*methods, comparisons=(), num=60, **more):
  claims = [common.claim('a claim', 'none', '', *comparisons)]
  return common.evaluation(
    about='',
    num_examples=num,
    methods={m: common.use('gradient') for m in methods},
    metrics={'areas': common.use('igos_protocol')},
    claims=claims if comparisons else (),
    **more,
  ).to_dict()


class SummarizeTest(parameterized.TestCase):
  def test_pairs_decide_what_means_do_not(self):
    rng = np.random.default_rng(0)
    base = rng.normal(0, 10, 40)
    values = {'a': base, 'b': base + 1 + 0.1 * rng.normal(size=40)}
    found = summaries.summarize(
      _records(values),
      _config('a', 'b', comparisons=[('areas.deletion', 'a', 'b', 'below')]),
    )
    a, b = (found['means']['areas.deletion'][m] for m in 'ab')
    self.assertLess(b['low'], a['high'])
    (verdict,) = found['verdicts']
    self.assertEqual(verdict['verdict'], 'reproduced')
    (comparison,) = verdict['comparisons']
    self.assertAlmostEqual(comparison['mean'], -1, delta=0.1)
    self.assertEqual(comparison['num'], 40)

  def test_what_chose_a_setting_does_not_judge(self):
    values = {'a': np.arange(50.0), 'b': np.arange(50.0) + 9}
    values['b'][:10] = -1e6
    config = _config(
      'a',
      'b',
      comparisons=[('areas.deletion', 'a', 'b', 'below')],
      num=50,
      tune=10,
    )
    found = summaries.summarize(_records(values), config)
    self.assertEqual(found['num_examples'], 40)
    self.assertEqual(found['means']['areas.deletion']['a']['num'], 40)
    self.assertEqual(found['verdicts'][0]['verdict'], 'reproduced')

  def test_examples_that_depend_count_as_one(self):
    values = {'a': np.repeat(np.arange(20.0), 2), 'b': np.full(40, 99.0)}
    compared = [('areas.deletion', 'a', 'b', 'below')]
    words = []
    for cluster in (1, 2):
      config = _config('a', 'b', comparisons=compared, cluster=cluster)
      (verdict,) = summaries.summarize(_records(values), config)['verdicts']
      words.append(verdict['verdict'])
      self.assertEqual(verdict['comparisons'][0]['clusters'], 40 // cluster)
    self.assertEqual(words, ['reproduced', 'interval only'])

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
    records = _records({'a': [0.0] * 30, 'b': [0.0] * 30})
    for record in records:
      record['maps']['a']['seconds'] -= 0.5
    found = summaries.summarize(
      records, _config('a', 'b', comparisons=[('seconds', 'a', 'b', 'below')])
    )
    (verdict,) = found['verdicts']
    self.assertEqual(verdict['verdict'], 'reproduced')
    self.assertEqual(verdict['comparisons'][0]['mean'], -0.5)
    self.assertNotIn('seconds', found['means'])


if __name__ == '__main__':
  absltest.main()
