"""Tests for `sources.py` and, through it, `builders.py`."""

import importlib.util
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from saliency_jax.data import builders
from saliency_jax.data import images
from saliency_jax.data import sources

_PINNED = ['digit_0269', 'digit_0855', 'digit_1185']


def _idx(array):
  header = struct.pack(f'>BBBB{array.ndim}I', 0, 0, 8, array.ndim, *array.shape)
  return header + array.tobytes()


class _CacheTest(parameterized.TestCase):
  """Tests that share one cache, which they leave empty."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._root = pathlib.Path(
      cls.enterClassContext(tempfile.TemporaryDirectory())
    )
    cls.enterClassContext(
      mock.patch.dict(os.environ, SALIENCY_JAX_CACHE=str(cls._root / 'cache'))
    )


class PackagedTest(_CacheTest):
  def test_photos_are_the_files_in_order(self):
    source = sources.load('photos')
    spec = importlib.util.find_spec('foolbox')
    folder = pathlib.Path(spec.submodule_search_locations[0]) / 'data'
    self.assertLen(source, 20)
    for i, example in enumerate(source):
      number, label = example['name'].split('_')[1:]
      self.assertEqual(int(number), i)
      self.assertEqual(example['label'], int(label))
      self.assertEqual(example['label'].dtype, np.int32)
      if i < 2:
        want = images.read(folder / f'{example["name"]}.jpg')
        np.testing.assert_array_equal(example['image'], want)
    self.assertNotIn('foolbox', sys.modules)
    self.assertLen(source.class_names, 1000)

  def test_digits_are_balanced_split_and_the_same_each_time(self):
    train, test = (sources.load('digits', s) for s in ('train', 'test'))
    self.assertEqual((len(train), len(test)), (4000, 1000))
    test_x, test_y = sources.arrays(test)
    np.testing.assert_array_equal(np.bincount(test_y), [100] * 10)
    # Any ten in a row hold each class once.
    np.testing.assert_array_equal(test_y, np.tile(np.arange(10), 100))
    names = [e['name'] for s in (train, test) for e in s]
    self.assertEqual(len(set(names)), 5000)
    # Pinned: the split may not move with numpy or with the platform.
    self.assertEqual([test[i]['name'] for i in range(3)], _PINNED)
    self.assertEqual(test_x.shape, (1000, 28, 28, 1))
    self.assertEqual((test_x.dtype, test_y.dtype), (np.float32, np.int32))
    self.assertEqual((test_x.min(), test_x.max()), (0, 1))
    # The file is sorted by class, 500 each: names tell the label again.
    for i in range(0, 1000, 97):
      self.assertEqual(int(test[i]['name'][6:]) // 500, test[i]['label'])

  def test_part_of_a_split(self):
    source = sources.load('photos', 'test[3:5]')
    self.assertEqual(
      [e['name'][:11] for e in source], ['imagenet_03'] + ['imagenet_04']
    )

  def test_sequence(self):
    source = sources.load('photos')
    self.assertEqual(source[-1]['name'], source[19]['name'])
    self.assertEqual(source[np.int64(2)]['name'], source[2]['name'])
    for i in (20, -21):
      with self.assertRaisesRegex(IndexError, f'example {i} of photos'):
        source[i]
    with self.assertRaises(TypeError):
      source[:3]

  def test_missing_package_names_the_extra(self):
    with mock.patch.object(importlib.util, 'find_spec', return_value=None):
      with self.assertRaisesRegex(ImportError, r'saliency-jax\[experiments\]'):
        builders.Photos.find()

  @parameterized.parameters(
    ('PIL', 'Pillow', 'viz'), ('platformdirs', 'platformdirs', 'experiments')
  )
  def test_missing_import_names_the_extra(self, module, package, extra):
    program = (
      f'import sys; sys.modules["{module}"] = None\n'
      'import saliency_jax.data as data; data.load("photos")'
    )
    run = subprocess.run(
      [sys.executable, '-c', program],
      env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
      capture_output=True,
      text=True,
    )
    self.assertIn(f"{package}: pip install 'saliency-jax[{extra}]'", run.stderr)

  def test_import_is_light(self):
    program = (
      'import sys, saliency_jax.data\n'
      'print(sorted({"jax", "tensorflow", "tensorflow_datasets", "foolbox", '
      '"saliency_jax.core"} & set(sys.modules)))'
    )
    run = subprocess.run(
      [sys.executable, '-W', 'error', '-c', program],
      env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
      capture_output=True,
      text=True,
    )
    self.assertEqual((run.stdout, run.stderr), ('[]\n', ''))


class RawFilesTest(_CacheTest):
  def setUp(self):
    super().setUp()
    self._dir = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

  def _write_mnist(self, folder, seed=0):
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    images_ = rng.integers(0, 256, (5, 28, 28), np.uint8)
    for prefix, n in (('train', 5), ('t10k', 3)):
      labels = np.arange(n).astype(np.uint8)
      (folder / f'{prefix}-images-idx3-ubyte').write_bytes(_idx(images_[:n]))
      (folder / f'{prefix}-labels-idx1-ubyte').write_bytes(_idx(labels))
    return images_

  @parameterized.parameters(('mnist', '2'), ('fashion_mnist', 'Pullover'))
  def test_mnist(self, name, class_name):
    want = self._write_mnist(self._dir)
    train = sources.load(name, 'train', data_dir=self._dir)
    test = sources.load(name, data_dir=str(self._dir))
    self.assertEqual((len(train), len(test)), (5, 3))
    example = train[2]
    np.testing.assert_array_equal(example['image'][..., 0], want[2])
    self.assertEqual(example['image'].shape, (28, 28, 1))
    self.assertEqual(example['label'], 2)
    self.assertEqual(example['name'], f'{name}_train_00002')
    self.assertEqual(train.class_names[2], class_name)

  def test_one_data_dir_for_several_datasets(self):
    digits = self._write_mnist(self._dir / 'mnist', seed=1)
    clothes = self._write_mnist(self._dir / 'fashion_mnist', seed=2)
    for name, want in (('mnist', digits), ('fashion_mnist', clothes)):
      source = sources.load(name, data_dir=self._dir)
      np.testing.assert_array_equal(source[1]['image'][..., 0], want[1])

  @parameterized.parameters('.', 'cifar10', 'cifar-10-batches-bin')
  def test_cifar10(self, folder):
    (self._dir / folder).mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (6, 2, 3073), np.uint8)
    rows[..., 0] = np.arange(12).reshape(6, 2) % 10
    names = [f'data_batch_{i}.bin' for i in range(1, 6)] + ['test_batch.bin']
    for name, part in zip(names, rows, strict=True):
      (self._dir / folder / name).write_bytes(part.tobytes())
    train = sources.load('cifar10', 'train', data_dir=self._dir)
    test = sources.load('cifar10', data_dir=self._dir)
    self.assertEqual((len(train), len(test)), (10, 2))
    want = rows[3, 1, 1:].reshape(3, 32, 32).transpose(1, 2, 0)
    np.testing.assert_array_equal(train[7]['image'], want)
    self.assertEqual(train[7]['label'], 7)
    self.assertEqual(test[1]['label'], 1)
    self.assertEqual(train.class_names[7], 'horse')

  def test_missing_files_are_named(self):
    with self.assertRaisesRegex(
      ValueError, 'pass data_dir.*train-images-idx3-ubyte.*download=True'
    ):
      sources.load('mnist')
    with self.assertRaisesRegex(
      ValueError, f'{self._dir}.*no files of cifar10.*test_batch.bin'
    ):
      sources.load('cifar10', data_dir=self._dir)
    self._write_mnist(self._dir)
    (self._dir / 't10k-labels-idx1-ubyte').unlink()
    with self.assertRaisesRegex(
      ValueError, f'{self._dir}.*lacks t10k-labels-idx1-ubyte for mnist'
    ):
      sources.load('mnist', data_dir=self._dir)

  def test_bad_files_are_named(self):
    self._write_mnist(self._dir)
    bad = self._dir / 'train-labels-idx1-ubyte'
    bad.write_bytes(_idx(np.array([0, 1, 2, 3, 77], np.uint8)))
    with self.assertRaisesRegex(ValueError, f'{bad}.*example 4 the label 77'):
      sources.load('mnist', data_dir=self._dir)


class FolderTest(_CacheTest):
  def setUp(self):
    super().setUp()
    self._dir = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

  def test_examples(self):
    for i, name in enumerate(('cat/a.png', 'dog/b.png', 'dog/c.png')):
      (self._dir / name).parent.mkdir(exist_ok=True)
      Image.new('RGB', (2 + i, 3), (i, 0, 0)).save(self._dir / name)
    for name in (self._dir, str(self._dir)):
      source = sources.load(name)
      self.assertEqual([e['label'] for e in source], [0, 1, 1])
      self.assertEqual(source[1]['name'], 'dog/b.png')
      self.assertEqual(source[1]['image'].shape, (3, 3, 3))
      self.assertEqual(source[2]['image'][0, 0, 0], 2)
      self.assertEqual(source.class_names, ('cat', 'dog'))
    (last,) = sources.load(self._dir, 'test[2:]')
    self.assertEqual(last['name'], 'dog/c.png')
    with self.assertRaisesRegex(ValueError, "split is 'train'"):
      sources.load(self._dir, 'train')
    with self.assertRaisesRegex(ValueError, r'\(3, 2, 3\).*images.prepare'):
      sources.arrays(source)

  def test_unknown_labels_are_not_handed_out(self):
    Image.new('L', (2, 2)).save(self._dir / 'a.png')
    pixels, labels = sources.arrays(sources.load(self._dir))
    self.assertEqual(pixels.shape, (1, 2, 2, 3))
    self.assertIsNone(labels)
    (self._dir / 'cat').mkdir()
    Image.new('L', (2, 2)).save(self._dir / 'cat' / 'b.png')
    with self.assertRaisesRegex(
      ValueError, "1 of 2 examples have no label, the first is 'a.png'"
    ):
      sources.arrays(sources.load(self._dir))

  def test_bad_files_are_reported(self):
    Image.new('L', (2, 2)).save(self._dir / 'a.png')
    (self._dir / 'b.jpg').write_bytes(b'\xff\xd8\xff')
    with self.assertWarnsRegex(UserWarning, 'b.jpg'):
      source = sources.load(self._dir)
    self.assertLen(source, 1)
    self.assertIn('b.jpg', source.skipped[0])

  def test_rejects_names(self):
    with self.assertRaisesRegex(ValueError, 'no image'):
      sources.load(self._dir)
    for name in ('imagenet', '', self._dir / 'missing'):
      with self.assertRaisesRegex(ValueError, 'expected one of photos, digits'):
        sources.load(name)
    with self.assertRaisesRegex(ValueError, r'shapes \[\]'):
      sources.arrays([])

  def test_names_are_the_builders(self):
    self.assertEqual(sources.NAMES, tuple(builders.BUILDERS))


if __name__ == '__main__':
  absltest.main()
