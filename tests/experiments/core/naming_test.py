"""Tests for `experiments/core/naming.py`."""

from absl.testing import absltest
from absl.testing import parameterized

from experiments.core import naming

_TABLE = {'one': 1, 'two': 2}


class NamingTest(parameterized.TestCase):
  def test_finds(self):
    self.assertEqual(naming.find('config.n', 'two', _TABLE), 2)

  # Neither a part of a name nor what no dictionary could look up.
  @parameterized.parameters('three', 'on', '', None, ([],))
  def test_refuses(self, name):
    with self.assertRaises(ValueError) as caught:
      naming.find('config.n', name, _TABLE)
    message = f'config.n is {name!r}, expected one of one, two'
    self.assertEqual(str(caught.exception), message)


if __name__ == '__main__':
  absltest.main()
