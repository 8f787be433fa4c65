"""Tests for `raw.py`."""

import gzip
import os
import pathlib
import struct
import tempfile
import tracemalloc
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saliency_jax.data import raw


def _idx(array):
  """Writes the format by its definition, one field at a time."""
  header = struct.pack('>BBBB', 0, 0, 8, array.ndim)
  header += b''.join(struct.pack('>I', n) for n in array.shape)
  return header + array.tobytes()


def _images(n=3):
  return np.arange(n * 784).astype(np.uint8).reshape(n, 28, 28)


class RawTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(
      self.enter_context(tempfile.TemporaryDirectory())
    )

  def _file(self, name, data):
    path = self._folder / name
    path.write_bytes(data)
    return path

  @parameterized.product(
    pack=(bytes, gzip.compress), name=('a-idx3-ubyte', 'a-idx3-ubyte.gz')
  )
  def test_idx_plain_or_gzip_under_any_name(self, pack, name):
    path = self._file(name, pack(_idx(_images())))
    out = raw.read_idx(path, 3)
    np.testing.assert_array_equal(out, _images())
    self.assertEqual(out.dtype, np.uint8)

  def test_idx_axes_in_order(self):
    array = np.arange(24).astype(np.uint8).reshape(2, 3, 4)
    out = raw.read_idx(self._file('a', _idx(array)), 3)
    np.testing.assert_array_equal(out, array)

  @parameterized.parameters(
    (_idx(_images())[:-1], 'truncated: 2351 bytes.*2352'),
    (_idx(_images()) + b'x', 'too long: more than 2352 bytes'),
    (_idx(_images())[:9], 'truncated: 9 bytes.*header of 16'),
    (b'\0', r'starts with 0x00, expected 0x00000803'),
    (_idx(np.zeros(3, np.uint8)), '0x00000801, expected 0x00000803'),
    (b'\0\0\x0d\x03' + bytes(12), '0x00000d03'),
    (b'<!DOCTYPE html>', '0x3c21444f'),
    (b'\0\0\x08\x03' + b'\xff' * 12, r'shape \(4294967295, .*134217728 bytes'),
  )
  def test_idx_rejects(self, data, message):
    path = self._file('bad-idx3-ubyte', data)
    with self.assertRaisesRegex(ValueError, f'bad-idx3-ubyte.*{message}'):
      raw.read_idx(path, 3)

  def test_rejects_broken_gzip(self):
    packed = gzip.compress(_idx(_images()))
    for data in (packed[:-12], packed[:30] + b'\0' * 8 + packed[38:]):
      path = self._file('bad.gz', data)
      with self.assertRaisesRegex(ValueError, "cannot read '.*bad.gz'"):
        raw.read_idx(path, 3)
    with self.assertRaisesRegex(ValueError, 'none.gz.*No such file'):
      raw.read_idx(self._folder / 'none.gz', 3)

  @parameterized.parameters('fifo', 'folder', 'empty', '/dev/zero')
  def test_rejects_what_is_no_regular_file(self, name):
    path = self._folder / name
    if name == 'fifo':
      os.mkfifo(path)  # Opening it would wait for a writer.
    elif name == 'folder':
      path.mkdir()
    elif name == 'empty':
      path.touch()
    for read in (raw.read_bytes, lambda p: raw.read_idx(p, 3)):
      with self.assertRaisesRegex(
        ValueError, f"{name}': .*(a pipe|a folder|a device|empty)"
      ):
        read(path)

  @parameterized.parameters(
    # Zeros where the header should be; a header that tells a small lie; one
    # that tells a large truth.
    (b'\0\0\0\0', '0x00000000, expected'),
    (b'\0\0\x08\x03' + struct.pack('>III', 2, 28, 28), 'too long'),
    (b'\0\0\x08\x03' + struct.pack('>III', 2**20, 28, 28), 'states the shape'),
  )
  def test_gzip_bomb_takes_no_memory(self, start, message):
    path = self._file('bomb.gz', gzip.compress(start + bytes(2**26)))
    self.assertLess(path.stat().st_size, 2**17)
    tracemalloc.start()
    self.addCleanup(tracemalloc.stop)
    with self.assertRaisesRegex(ValueError, f'bomb.gz.*{message}'):
      raw.read_idx(path, 3)
    self.assertLess(tracemalloc.get_traced_memory()[1], 2**20)

  def test_other_gzip_bombs_are_cut_off(self):
    path = self._file('bomb.gz', gzip.compress(bytes(4000)))
    with mock.patch.object(raw, '_MOST', 3073):
      for read in (raw.read_cifar, raw.read_digits):
        with self.assertRaisesRegex(ValueError, 'bomb.gz.*more than the 3073'):
          read(path)

  def test_labelled(self):
    images = self._file('images', _idx(_images()))
    labels = self._file('labels', _idx(np.array([9, 0, 4], np.uint8)))
    out = raw.read_labelled_idx(images, labels)
    np.testing.assert_array_equal(out[0][..., 0], _images())
    np.testing.assert_array_equal(out[1], [9, 0, 4])

  @parameterized.parameters(
    (_images(0), [], "images' holds no images"),
    (_images(), [1, 10, 2], "labels' gives example 1 the label 10"),
    (_images(), [1, 2], "images' holds 3 images, but .*labels' holds 2"),
    (_images()[:, :27], [1, 2, 3], r"images' .*\(27, 28\), expected \(28, 28"),
  )
  def test_labelled_rejects(self, images, labels, message):
    images = self._file('images', _idx(np.ascontiguousarray(images)))
    labels = self._file('labels', _idx(np.array(labels, np.uint8)))
    with self.assertRaisesRegex(ValueError, message):
      raw.read_labelled_idx(images, labels)

  def test_cifar(self):
    # A record by its definition: label, 1024 red, 1024 green, 1024 blue.
    planes = np.random.default_rng(0).integers(0, 256, (2, 3072), np.uint8)
    data = b'\7' + planes[0].tobytes() + b'\x09' + planes[1].tobytes()
    images, labels = raw.read_cifar(self._file('b.bin', data))
    np.testing.assert_array_equal(labels, [7, 9])
    for channel in range(3):
      want = planes[1, 1024 * channel : 1024 * (channel + 1)].reshape(32, 32)
      np.testing.assert_array_equal(images[1, :, :, channel], want)

  @parameterized.parameters(
    (b'\0', '1 bytes.*multiple of 3073'),
    (bytes(3073 + 5), '3078 bytes.*multiple of 3073'),
    (bytes(3073) + b'\x0a' + bytes(3072), 'example 1 the label 10'),
  )
  def test_cifar_rejects(self, data, message):
    with self.assertRaisesRegex(ValueError, f"bad.bin'.*{message}"):
      raw.read_cifar(self._file('bad.bin', data))

  def test_digits(self):
    rows = np.zeros((2, 785), np.int64)
    rows[1, 28], rows[:, -1] = 255, (3, 8)
    text = '\n'.join(','.join(map(str, r)) for r in rows)
    path = self._file('d.csv.gz', gzip.compress(text.encode()))
    images, labels = raw.read_digits(path)
    np.testing.assert_array_equal(labels, [3, 8])
    self.assertEqual(images.shape, (2, 28, 28, 1))
    self.assertEqual(images[1, 1, 0, 0], 255)  # Rows first.
    self.assertEqual(images.sum(dtype=int), 255)

  @parameterized.parameters(
    ('1,2,3', 'rows of 3 values'),
    ('\n', 'no digits'),
    (','.join(['70000'] * 784 + ['1']), 'cannot read'),
    (','.join(['0'] * 784 + ['x']), 'cannot read'),
    (','.join(['300'] * 784 + ['1']), r'\[1, 300\]'),
    (','.join(['0'] * 784 + ['11']), 'label 11'),
  )
  def test_digits_rejects(self, text, message):
    path = self._file('bad.csv', text.encode())
    with self.assertRaisesRegex(ValueError, message) as caught:
      raw.read_digits(path)
    self.assertIn(str(path), str(caught.exception))


if __name__ == '__main__':
  absltest.main()
