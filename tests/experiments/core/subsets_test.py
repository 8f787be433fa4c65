"""Tests for `experiments/core/subsets.py`."""

import contextlib
import io

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized

from experiments.core import subsets

_CONFIG = {
  'methods': {'a, b': {}, 'c': {}, 'd': {}},
  'claims': (
    {
      'claim': 'the first',
      'decides': (
        ('overlap', 'a, b', 'c', 'below'),
        ('overlap', 'c', 'd', 'above'),
      ),
    },
    {
      'claim': 'the second',
      'decides': (
        ('overlap', 'a, b', 'd', 'above'),
        ('overlap', 'd, its bound', 0.5, 'above'),
        ('overlap', 'c, its bound', 0.5, 'above'),
      ),
    },
  ),
  'seed': 3,
}


class SubsetsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    if not flags.FLAGS.is_parsed():
      flags.FLAGS(['test'])

  def _restrict(self, text, config=_CONFIG):
    stdout = io.StringIO()
    with flagsaver.as_parsed(methods=text), contextlib.redirect_stdout(stdout):
      return subsets.restrict(config), stdout.getvalue()

  def test_keeps_what_is_named_in_the_order_of_the_config(self):
    config, told = self._restrict('d,"a, b"')
    self.assertEqual(list(config['methods']), ['a, b', 'd'])
    (kept,) = config['claims']
    self.assertEqual(kept['claim'], 'the second')
    self.assertEqual(kept['decides'], _CONFIG['claims'][1]['decides'][:2])
    self.assertEqual((config['absent'], config['seed']), (('c',), 3))
    self.assertEqual(told, 'without c: 3 of 5 comparisons are dropped\n')

  def test_grids_of_others_are_not_measured(self):
    grids = {'c': ({'a': 1},), 'd': ({'b': 2},)}
    tuning = {'by': ('x',), 'grids': grids}
    config, _ = self._restrict('c', {**_CONFIG, 'tuning': tuning})
    self.assertEqual(config['tuning']['grids'], {'c': ({'a': 1},)})
    self.assertEqual(config['tuning']['by'], ('x',))

  def test_config_without_claims(self):
    config, told = self._restrict('c', {'methods': _CONFIG['methods']})
    self.assertEqual(config, {'methods': {'c': {}}, 'absent': ('a, b', 'd')})
    self.assertEqual(told, 'without a, b, d\n')

  def test_all_is_the_config_itself(self):
    self.assertIs(subsets.restrict(_CONFIG), _CONFIG)
    self.assertEqual(self._restrict('d,c,"a, b"'), (_CONFIG, ''))

  @parameterized.parameters(
    ('e', "--methods is 'e', expected one of a, b, c, d"),
    ('c,', "--methods is '', expected"),
    ('', "--methods is '', expected"),
  )
  def test_refuses(self, text, message):
    with self.assertRaisesRegex(ValueError, message):
      self._restrict(text)


if __name__ == '__main__':
  absltest.main()
