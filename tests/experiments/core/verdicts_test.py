"""Tests for `experiments/core/verdicts.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.configs import common
from experiments.core import verdicts


def _claim(*comparisons, rule=common.FIXED):
  return common.claim('a claim', 'none', '', *comparisons, rule=rule)


def _columns(num=40, **shifts):
  rng = np.random.default_rng(0)
  shared = rng.normal(0, 10, num)
  return {
    'm': {k: shared + s + 0.1 * rng.normal(size=num) for k, s in shifts.items()}
  }


def _words(claims, columns, **more):
  return [v['verdict'] for v in verdicts.judge(claims, columns, **more)]


class JudgeTest(parameterized.TestCase):
  @parameterized.parameters(
    ('below', 'reproduced'),
    ('not_above', 'reproduced'),
    ('above', 'refuted'),
    ('not_below', 'refuted'),
  )
  def test_side_decides(self, direction, want):
    columns = _columns(a=0, b=1)
    self.assertEqual(
      _words([_claim(('m', 'a', 'b', direction))], columns), [want]
    )
    # The same of chance is undecided, and of few examples nothing is said.
    columns['m']['b'] = columns['m']['a'] + np.tile([1.0, -1.0], 20)
    claim = [_claim(('m', 'a', 'b', direction))]
    self.assertEqual(_words(claim, columns), ['undecided'])
    few = {'m': {k: v[:29] for k, v in _columns(a=0, b=1)['m'].items()}}
    self.assertEqual(_words(claim, few), ['interval only'])

  @parameterized.parameters(
    (0, 0.5, 'not_below', 'reproduced'),
    (0, 0.001, 'not_below', 'undecided'),
    (-0.3, 0.5, 'not_below', 'reproduced'),
    (-0.3, 0.1, 'not_below', 'refuted'),
    (0.3, 0.5, 'not_above', 'reproduced'),
    (0.3, 0.1, 'not_above', 'refuted'),
    (-0.3, 0.1, 'not_above', 'reproduced'),
  )
  def test_of_two_that_are_equal_a_margin_is_shown(
    self, shift, margin, direction, want
  ):
    columns = {'m': {'a': np.tile([1.0, -1.0], 20) / 10 + shift}}
    claim = _claim(('m', 'a', 0.0, direction, margin))
    (found,) = verdicts.judge([claim], columns)
    (one,) = found['comparisons']
    self.assertEqual(found['verdict'], want)
    # The effect and its interval are of the difference itself.
    self.assertAlmostEqual(one['mean'], shift)
    self.assertIn(f'by {margin:g}', verdicts.told(one))

  def test_says_all_that_decided(self):
    (found,) = verdicts.judge(
      [_claim(('m', 'a', 'b', 'below'))], _columns(a=0, b=1)
    )
    (one,) = found['comparisons']
    self.assertEqual((one['num'], one['clusters']), (40, 40))
    self.assertLess(one['p'], 0.001)
    self.assertBetween(one['mean'], one['low'], one['high'])
    self.assertIn('sign flips', one['test'])
    self.assertNotIn('decides', found)
    for part in ('a claim', 'm: a below b', '40', 'reproduced'):
      self.assertIn(part, verdicts.table([found]))

  def test_family_is_corrected_together(self):
    rng = np.random.default_rng(1)
    columns = {'m': {k: rng.normal(size=40) for k in 'abcd'}}
    columns['m']['a'] -= 0.55
    columns['m']['d'] += 3
    alone, together = [], []
    for other in 'bcd':
      compared = ('m', 'a', other, 'below')
      (one,) = verdicts.judge([_claim(compared)], columns)
      alone.append(one['comparisons'][0]['p'])
      together.append(_claim(compared))
    found = verdicts.judge(together, columns)
    corrected = [v['comparisons'][0]['p'] for v in found]
    np.testing.assert_allclose(min(corrected), 3 * min(alone))
    self.assertTrue(all(c >= p for c, p in zip(corrected, alone, strict=True)))
    # One that is asked twice counts once.
    twice = verdicts.judge([*together, together[0]], columns)
    self.assertEqual(twice[:3], found)

  def test_claim_takes_all_of_its_comparisons(self):
    columns = _columns(a=0, b=1, c=2, d=0)
    below = lambda b: ('m', 'a', b, 'below')
    for others, want in (
      ('bc', 'reproduced'),
      ('bd', 'undecided'),
    ):
      claim = _claim(*map(below, others))
      self.assertEqual(_words([claim], columns), [want])
    claim = _claim(below('c'), ('m', 'a', 'b', 'above'))
    self.assertEqual(_words([claim], columns), ['refuted'])

  def test_rule_that_came_later_decides_nothing(self):
    columns = _columns(a=0, b=1, d=0)
    for b, want in (('b', 'seen'), ('d', 'undecided')):
      claim = _claim(('m', 'a', b, 'below'), rule=common.SEEN)
      self.assertEqual(_words([claim], columns), [want])

  def test_clusters_are_the_examples(self):
    claim = [_claim(('m', 'a', 'b', 'below'))]
    columns = _columns(a=0, b=1)
    ids = {'m': np.arange(40) // 2}
    (found,) = verdicts.judge(claim, columns, ids)
    self.assertEqual(found['verdict'], 'interval only')
    (one,) = found['comparisons']
    self.assertEqual((one['num'], one['clusters']), (40, 20))

  def test_what_was_not_measured_is_left_out(self):
    columns = _columns(a=0, b=1)
    columns['m']['b'][:5] = np.nan
    (found,) = verdicts.judge([_claim(('m', 'a', 'b', 'below'))], columns)
    self.assertEqual(found['comparisons'][0]['num'], 35)
    columns['m']['b'][:] = np.nan
    claim = [_claim(('m', 'a', 'b', 'below'))]
    self.assertEqual(_words(claim, columns), ['interval only'])

  @parameterized.parameters(
    (0, 0.05, 'below', 'undecided', 50),
    (0, 0.05, 'below', 'reproduced', 100),
    (20, 0.05, 'below', 'refuted', 100),
    (3, 0.0, 'not_above', 'refuted', 100),
  )
  def test_shares_are_counted(self, hits, against, direction, want, num):
    column = {'m': {'a': np.arange(num) < hits}}
    claim = [_claim(('m', 'a', against, direction))]
    (found,) = verdicts.judge(claim, column)
    self.assertEqual(found['verdict'], want)
    (one,) = found['comparisons']
    self.assertEqual(one['test'], 'binomial')
    self.assertAlmostEqual(one['mean'], hits / num - against)

  def test_numbers_that_are_all_zero_are_no_share(self):
    column = {'m': {'a': np.zeros(40)}}
    for direction, want in (('below', 'reproduced'), ('above', 'refuted')):
      claim = [_claim(('m', 'a', 1e-4, direction))]
      self.assertEqual(_words(claim, column), [want])

  @parameterized.parameters(
    ('rises_with', 'refuted'), ('falls_with', 'reproduced')
  )
  def test_trends(self, direction, want):
    a = np.random.default_rng(2).normal(size=(2, 50))
    columns = {'m': {'a': a[0], 'b': a[1] - a[0]}}
    claim = [_claim(('m', 'a', 'b', direction))]
    self.assertEqual(_words(claim, columns), [want])

  def test_refuses_what_is_not_there(self):
    claim = [_claim(('m', 'a', 'z', 'below'))]
    with self.assertRaisesRegex(ValueError, "'z' was not measured"):
      verdicts.judge(claim, _columns(a=0))


if __name__ == '__main__':
  absltest.main()
