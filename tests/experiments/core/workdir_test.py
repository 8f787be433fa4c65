"""Tests for `experiments/core/workdir.py`."""

import pathlib
import sys
import tempfile
import warnings

from absl import flags
from absl.testing import absltest
from absl.testing import parameterized
import ml_collections

from experiments.core import workdir
from tests.experiments import launch

_GOOD = """
import ml_collections
def get_config(which='a'):
  if which == 'b':
    raise ValueError('b is no figure')
  return ml_collections.ConfigDict({'seed': 3, 'which': which})
"""


class WorkdirTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / 'config.py'

  def _parse(self, text, argument=''):
    self.path.write_text(text)
    # A module of that name would be loaded anew, with what it held.
    sys.modules.pop('config_config', None)
    with warnings.catch_warnings():
      # How ml_collections loads a file is its own affair.
      warnings.simplefilter('ignore', DeprecationWarning)
      return flags.FLAGS['config'].parser.parse(f'{self.path}{argument}')

  def test_config(self):
    found = self._parse(_GOOD)
    self.assertEqual(found.to_dict(), {'seed': 3, 'which': 'a'})
    self.assertEqual(self._parse(_GOOD, ':c').which, 'c')

  @parameterized.parameters(
    ('x = 1\ndef get_config(:\n', '', 'line 2: invalid syntax'),
    ('def get_config():\n  return {}["a"]\n', '', "line 2: KeyError: 'a'"),
    ('import nowhere\n', '', 'line 1: ModuleNotFoundError: .*nowhere'),
    ('x = 1\n', '', r'the file has no function get_config\(\)'),
    ('def get_config():\n  return 3\n', '', 'returns int, expected a ml_'),
    ('def get_config():\n  pass\n', '', 'returns NoneType, expected'),
    ('def get_config():\n  pass\n', ':b', 'TypeError: .* 1 was given'),
    (_GOOD, ':b', '^b is no figure$'),
  )
  def test_fault_of_a_config_is_told_by_its_line(self, text, argument, message):
    with self.assertRaisesRegex(ValueError, message):
      self._parse(text, argument)

  @parameterized.parameters('', 'missing.py', '.')
  def test_no_file(self, name):
    with self.assertRaisesRegex(ValueError, 'is no file, expected one of'):
      flags.FLAGS['config'].parser.parse(name)

  @parameterized.parameters(
    ({'seed': 2**70}, {}, r'config.seed is 1180\d*, expected .* to 2..32 - 1'),
    ({'seed': -1}, {}, 'config.seed is -1, expected'),
    ({'seed': 1.0}, {}, 'config.seed is 1.0, expected'),
    ({}, {'workdir': ''}, "--workdir='': expected a folder, it is empty"),
    ({}, {'workdir': '~nouser'}, "'~nouser': expected .* no such user"),
    ({}, {'workdir': None}, 'expected --config and --workdir'),
  )
  def test_read_refuses(self, config, values, message):
    done = launch.run(
      lambda setup: workdir.read(),
      **{
        'config': ml_collections.ConfigDict(config),
        'workdir': str(self.folder),
        **values,
      },
    )
    self.assertEqual(done.code, 1)
    self.assertRegex(done.stderr, message)


if __name__ == '__main__':
  absltest.main()
