"""Tests for `checkpoints.py` and the readers behind it."""

import pathlib
import pickle
import struct
import tempfile
import tracemalloc
from unittest import mock
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
from flax import serialization
import jax.numpy as jnp
import numpy as np
from orbax import checkpoint as orbax
from safetensors import numpy as safetensors

from saliency_jax.models import checkpoints
from tests import torch_writer

_ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)
_FORMATS = (torch_writer.old, torch_writer.zipped)
# Calls os.system('true').
_CALL = torch_writer.Raw(b'cos\nsystem\n(X\x04\x00\x00\x00truetR')


class _Malicious:
  def __reduce__(self):
    return eval, ('1 + 1',)


class _Case(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def file(self, content, name='w.pth'):
    path = self.folder / name
    path.write_bytes(content)
    return path

  def read(self, content):
    return checkpoints.read(self.file(content))


class ReadTest(_Case):
  @parameterized.product(
    write=_FORMATS,
    dtype=(np.float32, np.float64, np.float16, jnp.bfloat16, np.int64),
    location=('cpu', 'cuda:3'),
  )
  def test_dtypes_and_places(self, write, dtype, location):
    want = {'a.weight': _ARRAY.astype(dtype), 'b': np.array(2, dtype)}
    got = self.read(write(want, location=location))
    self.assertEqual(list(got), list(want))
    for name, array in want.items():
      self.assertEqual(got[name].dtype, dtype)
      np.testing.assert_array_equal(got[name], array)

  @parameterized.parameters(*_FORMATS)
  def test_views_of_a_shared_storage(self, write):
    values = _ARRAY.reshape(-1)
    got = self.read(
      write(
        {
          'a': torch_writer.Tensor(values, (2, 3), (3, 1), key='s'),
          'b': torch_writer.Tensor(values, (2, 2), (1, 3), 1, key='s'),
          'none': np.zeros((0, 3), np.float32),
        }
      )
    )
    np.testing.assert_array_equal(got['a'], _ARRAY)
    np.testing.assert_array_equal(got['b'], [[1, 4], [2, 5]])
    self.assertEqual(got['none'].shape, (0, 3))

  @parameterized.parameters(
    ({'module.a': _ARRAY, 'module.b': _ARRAY},),
    ({'model.module.a': _ARRAY, 'model.module.b': _ARRAY},),
    ({'state_dict': {'module.a': _ARRAY, 'module.b': _ARRAY}, 'epoch': 3},),
    ({'model': {'a': _ARRAY, 'b': _ARRAY}, 'optimizer': {'step': _ARRAY}},),
    ({'model': {'state_dict': {'net.a': _ARRAY, 'net.b': _ARRAY}}},),
  )
  def test_takes_off_what_training_wraps(self, tree):
    for write in _FORMATS:
      self.assertEqual(set(self.read(write(tree))), {'a', 'b'})

  def test_keeps_a_prefix_that_only_some_have(self):
    got = self.read(torch_writer.zipped({'model.a': _ARRAY, 'b': _ARRAY}))
    self.assertEqual(set(got), {'model.a', 'b'})

  def test_what_a_training_run_saves_beside_is_not_built(self):
    args = torch_writer.Raw(
      b'cargparse\nNamespace\n)R}X\x01\x00\x00\x00aK\x01sb'
    )
    got = self.read(torch_writer.zipped({'model': {'a': _ARRAY}, 'args': args}))
    np.testing.assert_array_equal(got['a'], _ARRAY)

  def test_other_formats(self):
    tree = {'a': {'kernel': _ARRAY}, 'b': _ARRAY}
    self.file(serialization.msgpack_serialize(tree), 'w.msgpack')
    np.savez(self.folder / 'w.npz', **{'a.kernel': _ARRAY, 'b': _ARRAY})
    with orbax.StandardCheckpointer() as writer:
      writer.save(self.folder / 'orbax', tree)
    flat = {'a.kernel': _ARRAY.astype(jnp.bfloat16), 'b': _ARRAY}
    safetensors.save_file(flat, self.folder / 'w.safetensors')
    for name in ('w.msgpack', 'w.npz', 'w.safetensors', 'orbax'):
      got = checkpoints.read(self.folder / name)
      self.assertEqual(set(got), {'a.kernel', 'b'})
      np.testing.assert_array_equal(got['a.kernel'], _ARRAY)


class HostileTest(_Case):
  def refuses(self, content, message):
    path = self.file(content)
    tracemalloc.start()
    try:
      with self.assertRaisesRegex(ValueError, f'w.pth is not .*{message}') as e:
        checkpoints.read(path)
      self.assertLess(tracemalloc.get_traced_memory()[1], 2**22)
    finally:
      tracemalloc.stop()
    self.assertNotIn('\n', str(e.exception))

  @parameterized.product(
    view=((0, (7,), (1,)), (5, (2,), (1,)), (0, (2,), (-1,)), (-1, (1,), (1,))),
    write=_FORMATS,
  )
  def test_view_outside_its_storage(self, view, write):
    offset, shape, strides = view
    tensor = torch_writer.Tensor(_ARRAY.reshape(-1), shape, strides, offset)
    self.refuses(write({'a': tensor}), 'leaves its storage')

  @parameterized.parameters(*_FORMATS)
  def test_bomb_of_one_number_repeated(self, write):
    tensor = torch_writer.Tensor(_ARRAY.reshape(-1), (2**20,) * 2, (0, 0))
    self.refuses(write({'a': tensor}), 'leaves its storage')

  def test_bomb_of_a_stated_size(self):
    flat = _ARRAY.reshape(-1)
    tensor = torch_writer.Tensor(flat, (2**40,), (1,), size=2**40)
    self.refuses(
      torch_writer.zipped({'a': tensor}), r'states 1099511627776.*of 24 bytes'
    )
    content = torch_writer.old({'a': flat})
    stated = struct.pack('<q', 6)
    self.assertEqual(content.count(stated), 1)
    self.refuses(
      content.replace(stated, struct.pack('<q', 2**40)), 'bytes too early'
    )

  def test_bomb_of_packed_zeros(self):
    content = torch_writer.zipped(
      {'a': np.zeros(2**20, np.float32)}, method=zipfile.ZIP_DEFLATED
    )
    self.refuses(content, 'packed, as torch never does')

  def test_bomb_of_members_over_each_other(self):
    content = bytearray(torch_writer.zipped({'a': _ARRAY}))
    start = content.rindex(b'PK\x01\x02')  # The last member, of two bytes.
    for place in (20, 24):  # What it takes, packed and not.
      content[start + place : start + place + 4] = struct.pack('<I', 2**31)
    self.refuses(bytes(content), r'states 21\d+ bytes and has')

  def test_bomb_of_a_table_of_objects(self):
    body = torch_writer.Raw(b'Nr' + struct.pack('<I', 2**31 - 1))
    self.refuses(torch_writer.zipped(body), 'numbers an object 2147483647')

  @parameterized.parameters(*_FORMATS)
  def test_calls_nothing(self, write):
    for tree in (_CALL, {'a': _CALL}, {'model': {'a': _ARRAY}, 'args': _CALL}):
      self.refuses(write(tree), r'asks for os\.system.*scores\.from_torch')
    dotted = torch_writer.Raw(b'ccollections\nOrderedDict.fromkeys\n')
    self.refuses(write(dotted), 'OrderedDict.fromkeys')

  def test_program_of_torchscript(self):
    with zipfile.ZipFile(self.folder / 'w.pt', 'w') as archive:
      for name in ('net/data.pkl', 'net/constants.pkl', 'net/code/net.py'):
        archive.writestr(name, b'')
    self.refuses((self.folder / 'w.pt').read_bytes(), 'TorchScript.*state_dict')

  @parameterized.parameters(*_FORMATS)
  def test_truncated_anywhere(self, write):
    content = write({'a': _ARRAY})
    for size in range(0, len(content), 1 if write is torch_writer.old else 5):
      self.refuses(content[:size], 'reinstall')

  @parameterized.parameters(
    (torch_writer.zipped([1, 2]), 'holds a list, expected a dictionary'),
    (torch_writer.zipped({'epoch': 3}), 'no arrays by name, but epoch'),
    (torch_writer.zipped({}, byteorder=b'big'), 'big-endian'),
    (pickle.dumps({'a': 1}), 'a Python pickle: .*from_nnx'),
    (b'\x89HDF\r\n\x1a\n', 'an HDF5 file'),
    (b'<html>404</html>', 'HTML or XML: download it again'),
    (b'\x82\xa1a', '2 exceeds'),
    (b'PK\x03\x04 and so on', 'not a zip file'),
    (struct.pack('<Q', 2**40) + b'{"a":', '[Hh]eader'),
    (b'garbage', 'no known format'),
  )
  def test_other_things(self, content, message):
    self.refuses(content, message)

  def test_array_of_objects(self):
    np.savez(self.folder / 'w.npz', a=np.array([None, 1]))
    self.refuses((self.folder / 'w.npz').read_bytes(), r'a.npy holds object')

  def test_storage_that_is_not_there(self):
    content = torch_writer.zipped({'a': _ARRAY})
    self.refuses(content.replace(b'net/data/0', b'net/data/1'), 'net/data/0')

  def test_reader_that_is_not_installed(self):
    path = self.file(struct.pack('<Q', 2) + b'{}')
    with mock.patch.dict('sys.modules', {'safetensors.numpy': None}):
      with self.assertRaisesRegex(
        ImportError, r'w.pth needs the package safetensors: pip .*\[experim'
      ):
        checkpoints.read(path)

  def test_missing_file(self):
    with self.assertRaisesRegex(FileNotFoundError, 'nowhere.pth'):
      checkpoints.read('nowhere.pth')
    with self.assertRaisesRegex(ValueError, 'is not a whole file'):
      checkpoints.read(self.folder)


class ReadArraysTest(_Case):
  def read_arrays(self, content):
    return checkpoints.read_arrays(self.file(content, 'w.pkl'))

  def test_both_names_of_numpys_module(self):
    want = dict(conv=[np.arange(6, dtype=np.float32).reshape(2, 3)])
    for module in (b'numpy.core', b'numpy._core'):
      content = pickle.dumps(want, 3).replace(b'numpy._core', module)
      got = self.read_arrays(content)
      np.testing.assert_array_equal(got['conv'][0], want['conv'][0])

  def test_refuses_code_by_name(self):
    with self.assertRaisesRegex(
      ValueError, r'w.pkl.*asks for __builtin__\.eval|builtins\.eval'
    ):
      self.read_arrays(pickle.dumps(dict(conv=[_Malicious()]), 2))

  def test_refuses_objects(self):
    value = pickle.dumps(dict(conv=[np.array([None, 1])]), 3)
    with self.assertRaisesRegex(ValueError, 'not a numeric array'):
      self.read_arrays(value)

  def test_truncated(self):
    content = pickle.dumps(dict(conv=[np.ones(9, np.float32)]), 3)
    for size in range(0, len(content), 7):
      with self.assertRaisesRegex(ValueError, 'w.pkl.*reinstall'):
        self.read_arrays(content[:size])


class PackageFileTest(parameterized.TestCase):
  def test_missing_package(self):
    with self.assertRaisesRegex(ImportError, r"'saliency-jax\[experiments\]'"):
      checkpoints.package_file('no_such_package', 'file')

  def test_missing_file(self):
    with self.assertRaisesRegex(FileNotFoundError, 'reinstall absl'):
      checkpoints.package_file('absl', 'no_such_file')


if __name__ == '__main__':
  absltest.main()
