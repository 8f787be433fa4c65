"""Raw dataset files as arrays: IDX (MNIST), CIFAR binaries, digits as CSV.

An IDX file is a big-endian header (two zero bytes, the type, the number of
axes, one int32 an axis) and the values; a CIFAR record is one label byte and
a 3 x 32 x 32 image. Each reader names the file in every error.

References:
  LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998.
  http://yann.lecun.com/exdb/mnist/
  Krizhevsky, Learning multiple layers of features from tiny images, 2009.
  https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf
"""

from collections.abc import Iterator
import contextlib
import gzip
import io
import math
import os
import zlib

from jaxtyping import UInt8
import numpy as np

from saliency_jax.data import files

_UBYTE = 0x08  # The IDX code of uint8, the only type the datasets use.
_GZIP_MAGIC = b'\x1f\x8b'
_CIFAR_SHAPE = (3, 32, 32)
# Bytes: MNIST's largest file has 47 million, and gzip packs a thousand to one.
_MOST = 2**27


def read_bytes(path: str | os.PathLike) -> bytes:
  """Reads a whole file, unpacking it if it is gzip under any name.

  Raises:
    ValueError: missing, unreadable, not wholly unpackable, or too long.
  """
  with _opened(path) as stream:
    data = stream.read(_MOST + 1)
    if len(data) > _MOST:
      raise ValueError(
        f'{os.fspath(path)!r} holds more than the {_MOST} bytes that are read'
      )
    return data


def read_idx(path: str | os.PathLike, ndim: int) -> UInt8[np.ndarray, '...']:
  """Reads an IDX file of bytes, plain or gzip, no further than it must.

  Args:
    path: the file.
    ndim: axes expected: 1 for labels, 3 for images.

  Returns:
    The values, in the shape that the header states.

  Raises:
    ValueError: wrong magic number, or not the size that the header states.
  """
  name, want = os.fspath(path), bytes([0, 0, _UBYTE, ndim])
  with _opened(path) as stream:
    magic = stream.read(4)
    if magic != want:
      raise ValueError(
        f'{name!r} is not an IDX file of {ndim}-axis bytes: '
        f'it starts with 0x{magic.hex()}, expected 0x{want.hex()}'
      )
    header = stream.read(4 * ndim)
    if len(header) < 4 * ndim:
      raise ValueError(
        f'{name!r} is truncated: {4 + len(header)} bytes, '
        f'expected a header of {4 + 4 * ndim}'
      )
    shape = tuple(int(n) for n in np.frombuffer(header, '>u4'))
    size = math.prod(shape)
    if size > _MOST:
      raise ValueError(
        f'{name!r} states the shape {shape} in its header, more than the '
        f'{_MOST} bytes that are read'
      )
    data = stream.read(size + 1)
  if len(data) != size:
    state = 'is truncated' if len(data) < size else 'is too long'
    found = len(data) if len(data) < size else f'more than {size}'
    raise ValueError(
      f'{name!r} {state}: {found} bytes of values, '
      f'expected {size} for the shape {shape} in its header'
    )
  return np.frombuffer(data, np.uint8).reshape(shape)


def read_labelled_idx(
  images_path: str | os.PathLike, labels_path: str | os.PathLike
) -> tuple[UInt8[np.ndarray, 'n 28 28 1'], UInt8[np.ndarray, ' n']]:
  """Reads a pair of IDX files: 28 x 28 images and labels 0 to 9.

  Raises:
    ValueError: a bad file, no images, counts that differ, or a label out of
      range.
  """
  images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
  if images.shape[1:] != (28, 28):
    raise ValueError(
      f'{os.fspath(images_path)!r} holds images of shape {images.shape[1:]}, '
      'expected (28, 28)'
    )
  if not len(images):
    raise ValueError(f'{os.fspath(images_path)!r} holds no images')
  if len(images) != len(labels):
    raise ValueError(
      f'{os.fspath(images_path)!r} holds {len(images)} images, but '
      f'{os.fspath(labels_path)!r} holds {len(labels)} labels'
    )
  return images[..., None], _check_labels(labels, labels_path)


def read_cifar(
  path: str | os.PathLike,
) -> tuple[UInt8[np.ndarray, 'n 32 32 3'], UInt8[np.ndarray, ' n']]:
  """Reads one CIFAR-10 binary file.

  Raises:
    ValueError: not a whole number of records, or a label out of range.
  """
  data = read_bytes(path)
  record = 1 + int(np.prod(_CIFAR_SHAPE))
  if not data or len(data) % record:
    raise ValueError(
      f'{os.fspath(path)!r} is truncated or no CIFAR-10 binary: {len(data)} '
      f'bytes, expected a multiple of {record}'
    )
  rows = np.frombuffer(data, np.uint8).reshape(-1, record)
  images = rows[:, 1:].reshape(-1, *_CIFAR_SHAPE).transpose(0, 2, 3, 1)
  return images, _check_labels(rows[:, 0], path)


def read_digits(
  path: str | os.PathLike,
) -> tuple[UInt8[np.ndarray, 'n 28 28 1'], UInt8[np.ndarray, ' n']]:
  """Reads rows of 784 comma-separated pixels and a label, plain or gzip.

  Raises:
    ValueError: a row that is not 785 numbers, or a label out of range.
  """
  text = read_bytes(path)
  if not text.strip():
    raise ValueError(f'{os.fspath(path)!r} holds no digits')
  try:
    # Through int16: a value outside a byte is an error, not a wrapped pixel.
    rows = np.loadtxt(io.BytesIO(text), np.int16, delimiter=',', ndmin=2)
  except (ValueError, OverflowError) as e:
    raise ValueError(f'cannot read {os.fspath(path)!r}: {e}') from e
  if rows.shape[1] != 785 or rows.min() < 0 or rows.max() > 255:
    raise ValueError(
      f'{os.fspath(path)!r} holds rows of {rows.shape[1]} values in '
      f'[{rows.min()}, {rows.max()}], expected 785 in [0, 255]'
    )
  rows = rows.astype(np.uint8)
  labels = _check_labels(rows[:, -1], path)
  return rows[:, :-1].reshape(-1, 28, 28, 1), labels


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[io.BufferedIOBase]:
  """Opens a file, through gzip if it is packed; errors of reading name it."""
  try:
    with files.open_regular(path) as file:
      is_packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
      file.seek(0)
      with gzip.open(file) if is_packed else file as stream:
        yield stream
  except (OSError, EOFError, zlib.error) as e:
    reason = getattr(e, 'strerror', None) or e
    raise ValueError(f'cannot read {os.fspath(path)!r}: {reason}') from e


def _check_labels(labels: np.ndarray, path: str | os.PathLike) -> np.ndarray:
  bad = np.flatnonzero(labels > 9)
  if bad.size:
    raise ValueError(
      f'{os.fspath(path)!r} gives example {bad[0]} the label '
      f'{labels[bad[0]]}, expected 0 to 9'
    )
  return labels
