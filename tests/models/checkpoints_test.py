"""Tests for `checkpoints.py`."""

import pathlib
import pickle
import struct
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saliency_jax.models import checkpoints


class _Malicious:
  def __reduce__(self):
    return eval, ('1 + 1',)


def _folder(test):
  return pathlib.Path(test.enterContext(tempfile.TemporaryDirectory()))


def _file(test, name, content):
  path = _folder(test) / name
  path.write_bytes(content)
  return path


def _legacy_torch(entries, storages):
  """The bytes of a state dict in torch's format before 1.6.

  Written opcode by opcode: the globals it names must not need torch here.
  """

  def string(s):
    return b'X' + struct.pack('<I', len(s)) + s.encode()

  def ints(*values):
    return b'(' + b''.join(b'J' + struct.pack('<i', v) for v in values) + b't'

  body = b'\x80\x02ccollections\nOrderedDict\n)R('
  for name, (key, offset, shape, strides) in entries.items():
    size = len(storages[key])
    body += string(name) + b'ctorch._utils\n_rebuild_tensor_v2\n(('
    body += string('storage') + b'ctorch\nFloatStorage\n' + string(key)
    body += string('cpu') + b'J' + struct.pack('<i', size) + b'NtQ'
    body += b'J' + struct.pack('<i', offset) + ints(*shape) + ints(*strides)
    body += b'\x89ccollections\nOrderedDict\n)RtR'
  body += b'u.'
  head = [0x1950A86A20F9469CFC6C, 1001, dict(little_endian=True)]
  out = b''.join(pickle.dumps(h, 2) for h in head) + body
  out += pickle.dumps(list(storages), 2)
  for values in storages.values():
    out += struct.pack('<q', len(values))
    out += np.asarray(values, np.float32).tobytes()
  return out


class ReadTorchTest(parameterized.TestCase):
  def _file(self, content):
    return _file(self, 'w.pth', content)

  def test_views_of_a_shared_storage(self):
    content = _legacy_torch(
      {'a': ('s', 0, (2, 3), (3, 1)), 'b': ('s', 1, (2, 2), (1, 3))},
      {'s': range(6)},
    )
    arrays = checkpoints.read_torch(self._file(content))
    np.testing.assert_array_equal(arrays['a'], np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(arrays['b'], [[1, 4], [2, 5]])

  @parameterized.parameters((0, (7,), (1,)), (5, (2,), (1,)), (0, (2,), (-1,)))
  def test_view_outside_its_storage(self, offset, shape, strides):
    content = _legacy_torch(
      {'a': ('s', offset, shape, strides)}, {'s': range(6)}
    )
    with self.assertRaisesRegex(ValueError, 'leaves its storage'):
      checkpoints.read_torch(self._file(content))

  def test_truncated_anywhere(self):
    content = _legacy_torch({'a': ('s', 0, (6,), (1,))}, {'s': range(6)})
    for size in range(len(content)):
      path = self._file(content[:size])
      with self.assertRaisesRegex(ValueError, 'w.pth.*reinstall'):
        checkpoints.read_torch(path)

  def test_refuses_code_by_name(self):
    content = _legacy_torch({}, {})
    start = content.index(b'ccollections')
    evil = content[:start] + b'cos\nsystem\n(X\x04\x00\x00\x00truetR.'
    with self.assertRaisesRegex(ValueError, r'w.pth.*asks for os\.system'):
      checkpoints.read_torch(self._file(evil))

  def test_refuses_dotted_names(self):
    content = _legacy_torch({}, {})
    start = content.index(b'ccollections')
    evil = content[:start] + b'ccollections\nOrderedDict.fromkeys\n.'
    with self.assertRaisesRegex(ValueError, 'OrderedDict.fromkeys'):
      checkpoints.read_torch(self._file(evil))

  def test_names_the_zipped_format(self):
    with self.assertRaisesRegex(ValueError, 'zipped'):
      checkpoints.read_torch(self._file(b'PK\x03\x04 and so on'))

  def test_missing_file(self):
    with self.assertRaisesRegex(FileNotFoundError, 'nowhere.pth'):
      checkpoints.read_torch('nowhere.pth')


class ReadArraysTest(parameterized.TestCase):
  def _file(self, value):
    content = value if isinstance(value, bytes) else pickle.dumps(value, 2)
    return _file(self, 'w.pkl', content)

  def test_both_names_of_numpys_module(self):
    want = dict(conv=[np.arange(6, dtype=np.float32).reshape(2, 3)])
    for module in (b'numpy.core', b'numpy._core'):
      content = pickle.dumps(want, 3).replace(b'numpy._core', module)
      got = checkpoints.read_arrays(self._file(content))
      np.testing.assert_array_equal(got['conv'][0], want['conv'][0])

  def test_refuses_code_by_name(self):
    with self.assertRaisesRegex(
      ValueError, r'w.pkl.*asks for __builtin__\.eval|builtins\.eval'
    ):
      checkpoints.read_arrays(self._file(dict(conv=[_Malicious()])))

  def test_refuses_objects(self):
    value = pickle.dumps(dict(conv=[np.array([None, 1])]), 3)
    with self.assertRaisesRegex(ValueError, 'not a numeric array'):
      checkpoints.read_arrays(self._file(value))

  def test_truncated(self):
    content = pickle.dumps(dict(conv=[np.ones(9, np.float32)]), 3)
    for size in range(0, len(content), 7):
      with self.assertRaisesRegex(ValueError, 'w.pkl.*reinstall'):
        checkpoints.read_arrays(self._file(content[:size]))


class PackageFileTest(parameterized.TestCase):
  def test_missing_package(self):
    with self.assertRaisesRegex(ImportError, r"'saliency-jax\[experiments\]'"):
      checkpoints.package_file('no_such_package', 'file')

  def test_missing_file(self):
    with self.assertRaisesRegex(FileNotFoundError, 'reinstall absl'):
      checkpoints.package_file('absl', 'no_such_file')


if __name__ == '__main__':
  absltest.main()
