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
  'comparisons': (
    ('overlap', 'a, b', 'c', 'below'),
    ('overlap', 'c', 'd', 'above'),
    ('overlap', 'a, b', 'd', 'above'),
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
    self.assertEqual(config['comparisons'], _CONFIG['comparisons'][2:])
    self.assertEqual((config['absent'], config['seed']), (('c',), 3))
    self.assertEqual(told, 'without c: 2 of 3 comparisons are dropped\n')

  def test_config_without_comparisons(self):
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
