"""Tests for `experiments/core/files.py`."""

import json
import pathlib
import tempfile
from typing import NamedTuple

from absl.testing import absltest
import jax.numpy as jnp
import numpy as np

from experiments.core import files


class _Info(NamedTuple):
  value: float
  other: np.ndarray


class FilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def test_npz(self):
    files.write_npz(self.folder / 'a.npz', {'x': jnp.arange(3), 'm.e': 1.5})
    with np.load(self.folder / 'a.npz', allow_pickle=False) as found:
      np.testing.assert_array_equal(found['x'], [0, 1, 2])
      self.assertEqual(found['m.e'], 1.5)

  def test_json(self):
    value = {
      'nan': float('nan'),
      'array': np.array([1.0, np.inf]),
      'scalar': jnp.float32(2),
      'function': jnp.sum,
      'info': _Info(1.0, np.arange(2)),
      'none': None,
    }
    files.write_json(self.folder / 'a.json', value)
    found = json.loads((self.folder / 'a.json').read_text())
    self.assertEqual(
      found,
      {
        'nan': 'nan',
        'array': [1.0, 'inf'],
        'scalar': 2.0,
        'function': 'sum',
        'info': {'value': 1.0, 'other': [0, 1]},
        'none': None,
      },
    )

  def test_failed_write_keeps_the_old_file_and_leaves_no_other(self):
    path = self.folder / 'a.npz'
    files.write_npz(path, {'x': np.ones(2)})
    before = path.read_bytes()

    class Figure:
      def savefig(self, f, format):
        f.write(b'half')
        raise OSError('disk full')

    with self.assertRaisesRegex(OSError, 'disk full'):
      files.write_figure(path, Figure())
    self.assertEqual(path.read_bytes(), before)
    self.assertEqual(list(self.folder.iterdir()), [path])

  def test_written_file_can_be_read_by_others(self):
    files.write_json(self.folder / 'a.json', 1)
    (self.folder / 'plain').touch()
    self.assertEqual(
      (self.folder / 'a.json').stat().st_mode,
      (self.folder / 'plain').stat().st_mode,
    )


if __name__ == '__main__':
  absltest.main()
