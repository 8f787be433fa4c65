"""Tests for `npz.py`."""

import io
import os
import pathlib
import pickle
import struct
import tempfile
import tracemalloc
from unittest import mock
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from saliency_jax.models import npz


class _Malicious:
  def __reduce__(self):
    return eval, ('1 + 1',)


def _member(array):
  stream = io.BytesIO()
  np.lib.format.write_array(stream, np.asarray(array))
  return stream.getvalue()


def _archive(members, method=zipfile.ZIP_STORED):
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, 'w', method) as archive:
    for name, content in members.items():
      archive.writestr(name, content)
  return stream.getvalue()


class NpzTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(
      self.enterContext(tempfile.TemporaryDirectory())
    )

  def _file(self, content, name='a.npz'):
    path = self._folder / name
    path.write_bytes(content)
    return path

  def test_round_trip(self):
    path = self._folder / 'new' / 'a.npz'
    arrays = {
      "['a'][0]": np.arange(3.0),
      'b': np.ones((2, 2), np.float32),
      'none': np.zeros((0, 3)),
      'text': np.array('für x'),
      'turned': np.asfortranarray(np.arange(6).reshape(2, 3)),
    }
    npz.save(path, arrays)
    got = npz.load(path)
    self.assertEqual(sorted(got), sorted(arrays))
    for name, array in arrays.items():
      np.testing.assert_array_equal(got[name], array)
      self.assertEqual(got[name].dtype, array.dtype)
    self.assertEqual([p.name for p in path.parent.iterdir()], ['a.npz'])

  def test_reads_what_numpy_packs(self):
    np.savez_compressed(self._folder / 'a.npz', a=np.arange(9))
    got = npz.load(self._folder / 'a.npz')
    np.testing.assert_array_equal(got['a'], np.arange(9))

  def test_failure_keeps_the_old_file(self):
    path = self._folder / 'a.npz'
    npz.save(path, dict(a=np.ones(2)))

    class Unreadable:
      def __array__(self, *args, **kwargs):
        raise RuntimeError('no')

    with self.assertRaises(RuntimeError):
      npz.save(path, dict(a=Unreadable()))
    with self.assertRaisesRegex(
      ValueError, 'a is bfloat16.*cast it to float32'
    ):
      npz.save(path, dict(a=jnp.ones(3, jnp.bfloat16)))
    np.testing.assert_array_equal(npz.load(path)['a'], np.ones(2))
    self.assertEqual([p.name for p in path.parent.iterdir()], ['a.npz'])

  def test_refuses_pickles_inside(self):
    stream = io.BytesIO()
    np.savez(stream, a=np.array([_Malicious()], object))
    path = self._file(stream.getvalue())
    with self.assertRaisesRegex(ValueError, 'a.npz.*a.npy holds object'):
      npz.load(path)

  def test_truncated_or_one_byte_flipped(self):
    npz.save(self._folder / 'a.npz', dict(a=np.arange(5.0)))
    content = (self._folder / 'a.npz').read_bytes()
    for size in range(0, len(content), 7):
      with self.assertRaisesRegex(ValueError, 'a.npz is .*again'):
        npz.load(self._file(content[:size]))
    for i in range(len(content)):
      flipped = content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :]
      try:
        got = npz.load(self._file(flipped))
      except ValueError as error:
        self.assertRegex(str(error), 'a.npz is')
      else:  # A date, or another byte that says nothing of the values.
        for array in got.values():
          np.testing.assert_array_equal(array, np.arange(5.0))

  @parameterized.parameters(
    # Zeros that pack a thousand to one; a header without the values; a number
    # of zero-width texts; and what numpy never packs with.
    (
      {f'{i}.npy': _member(np.zeros(2**14)) for i in range(9)},
      zipfile.ZIP_DEFLATED,
      'unpacks to 1180800 bytes, more than the 1048576',
    ),
    (
      {'a.npy': _member(np.zeros(2)).replace(b'(2,), }', b'(99999999999,), }')},
      zipfile.ZIP_STORED,
      r'states float64 of shape \(99999999999,\), 7.* bytes, and holds 26',
    ),
    (
      {'a.npy': _member(np.zeros(2)).replace(b"'<f8'", b"'<U0'")},
      zipfile.ZIP_STORED,
      'a.npy holds <U0, expected numbers or text',
    ),
    ({'a.npy': _member(np.zeros(2))}, zipfile.ZIP_BZIP2, 'as numpy never does'),
    ({'a.npy': b'text'}, zipfile.ZIP_STORED, 'magic'),
    ({'a.npy': b'\x93NUMPY\x07\0'}, zipfile.ZIP_STORED, 'no array of numbers'),
  )
  def test_bomb_takes_no_memory(self, members, method, message):
    path = self._file(_archive(members, method))
    self.enter_context(mock.patch.object(npz, '_MOST', 2**20))
    tracemalloc.start()
    self.addCleanup(tracemalloc.stop)
    with self.assertRaisesRegex(ValueError, f'a.npz is not a whole.*{message}'):
      npz.load(path)
    self.assertLess(tracemalloc.get_traced_memory()[1], 2**20)

  @parameterized.parameters(
    (_archive({'new/data.pkl': b'', 'new/data/0': b''}), 'of torch.*from_nnx'),
    (
      pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2),
      'of torch, in its format before 1.6.*from_torch.*from_nnx',
    ),
    (pickle.dumps({'a': 1}), 'a Python pickle.*from_nnx'),
    (struct.pack('<Q', 120) + b'{"bias":{"dtype":"F32"', 'safetensors.*from_n'),
    (b'\x89HDF\r\n\x1a\n', 'an HDF5 file'),
    (_archive({'config.json': b'', 'model.weights.h5': b''}), 'of Keras'),
    (_member(np.zeros(3)), 'one array of numpy'),
    (b'<html>404</html>', 'a text in HTML or XML, .*: download it again'),
  )
  def test_names_other_formats(self, content, message):
    with self.assertRaisesRegex(ValueError, f'a.npz is .*{message}') as caught:
      npz.load(self._file(content))
    self.assertIn(
      'expected an .npz file that models.save', str(caught.exception)
    )
    self.assertNotIn('\n', str(caught.exception))

  @parameterized.parameters(b'', b'garbage', b'PK\x03\x04', b'\0' * 99)
  def test_rejects_garbage(self, content):
    with self.assertRaisesRegex(ValueError, 'a.npz is not a whole file'):
      npz.load(self._file(content))

  def test_rejects_what_is_no_regular_file(self):
    os.mkfifo(self._folder / 'pipe')  # Opening it would wait for a writer.
    for path in (self._folder / 'pipe', self._folder, '/dev/zero'):
      with self.assertRaisesRegex(ValueError, f'{path} is no regular file'):
        npz.load(path)
    with self.assertRaisesRegex(FileNotFoundError, 'no file of weights at .*x'):
      npz.load(self._folder / 'x')


if __name__ == '__main__':
  absltest.main()
