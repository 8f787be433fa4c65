"""Arrays by name in one `.npz` file: whole or not there, and never code.

What an archive states about itself is judged before any of it is unpacked:
zeros pack a thousand to one.
"""

from collections.abc import Mapping
import math
import os
import pathlib
import re
import tempfile
from typing import Any, BinaryIO
import zipfile

import numpy as np

# Bytes that an archive may unpack to, or its own size where it is not packed.
_MOST = 2**28
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Those of numpy.
_HEADERS = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}
_REWRITE = (
  'write the network in Flax, copy the arrays into it and wrap it by '
  'models.from_nnx; or explain the original as a black box by scores.from_host'
)
_KNOWN = (
  'of a network in models.names() it is read by models.load(name, '
  'weights=FILE); otherwise '
)
_TORCH = (
  f'{_KNOWN}load it in torch and explain the module by scores.from_torch, or '
  'write the network in Flax, copy the arrays into it and wrap it by '
  'models.from_nnx'
)
# How a file starts -> what it is, and what can be done.
_OTHERS = {
  rb'\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9': (
    'a checkpoint of torch, in its format before 1.6',
    _TORCH,
  ),
  rb'\x80[\x02-\x05]': ('a Python pickle', _REWRITE),
  rb'.{6}\0\0\s*\{': ('a safetensors file', _KNOWN + _REWRITE),
  rb'\x89HDF\r\n': ('an HDF5 file, as Keras writes them', _REWRITE),
  rb'....TFL3': ('a TensorFlow Lite network', _REWRITE),
  rb'GGUF': ('a GGUF file', _REWRITE),
  rb'\x93NUMPY': ('one array of numpy', _REWRITE),
  rb'\s*<': ('a text in HTML or XML', 'download it again'),
}
# The same of zip archives, by a member's name.
_OTHER_ARCHIVES = {
  r'(.*/)?data\.pkl': ('a checkpoint of torch', _TORCH),
  r'model\.weights\.h5': ('a network of Keras', _REWRITE),
}


def save(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
  """Writes arrays by name, all of them or, if interrupted, nothing.

  Args:
    path: of the file, which is replaced; its folder is made if missing.
    arrays: what to write.

  Raises:
    ValueError: an array of a type that the format cannot hold.
    OSError: the place cannot be written to.
  """
  path = pathlib.Path(path)
  arrays = {name: np.asarray(value) for name, value in arrays.items()}
  for name, array in arrays.items():
    if array.dtype.kind not in 'biufcU':  # bfloat16 would come back as bytes.
      raise ValueError(
        f'{name} is {array.dtype}, which .npz cannot hold: cast it to float32'
      )
  path.parent.mkdir(parents=True, exist_ok=True)
  file, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
  try:
    with os.fdopen(file, 'wb') as stream:
      np.savez(stream, **arrays)
    os.replace(name, path)
  except BaseException:
    os.unlink(name)
    raise


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads what `save` wrote; nothing in the file can run code.

  Args:
    path: of the file.

  Returns:
    The arrays by name.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is truncated or damaged, states more bytes than are read, or
      is of another format, which the message names.
  """
  path = pathlib.Path(path)
  if not path.exists():
    raise FileNotFoundError(f'no file of weights at {path}')
  if not path.is_file():
    raise ValueError(f'{path} is no regular file, expected a file of weights')
  with path.open('rb') as stream:
    try:
      known = other(stream)
      arrays = {} if known else unpack(stream, path.stat().st_size)
    # Hostile bytes make zipfile and numpy raise nearly anything.
    except Exception as error:
      reason = str(error) or type(error).__name__
      raise ValueError(
        f'{path} is not a whole file of weights ({reason}): copy or write it '
        'again'
      ) from error
  if known:
    kind, remedy = known
    raise ValueError(
      f'{path} is {kind}, expected an .npz file that models.save wrote: '
      f'{remedy}'
    )
  return arrays


def other(stream: BinaryIO) -> tuple[str, str] | None:
  """Returns what a file is, and what to do, if it is known and no `.npz`.

  Args:
    stream: of the file, at its start, where it is left.
  """
  start = stream.read(64)
  stream.seek(0)
  if not start.startswith(b'PK'):
    found = (v for k, v in _OTHERS.items() if re.match(k, start, re.DOTALL))
    return next(found, None)
  with zipfile.ZipFile(stream) as archive:
    names = archive.namelist()
  for pattern, known in _OTHER_ARCHIVES.items():
    if any(re.fullmatch(pattern, name) for name in names):
      return known
  return None


def unpack(stream: BinaryIO, size: int) -> dict[str, np.ndarray]:
  """Reads the arrays of an archive.

  Args:
    stream: of the file.
    size: of the file, in bytes.

  Raises:
    Exception: of any kind, for anything else.
  """
  with zipfile.ZipFile(stream) as archive:
    members = archive.infolist()
    # What is stored as it is, a file cannot state more of than it holds.
    stated, limit = sum(m.file_size for m in members), max(size, _MOST)
    if stated > limit:
      raise ValueError(
        f'it unpacks to {stated} bytes, more than the {limit} that are read '
        'of a packed file'
      )
    return {
      m.filename.removesuffix('.npy'): _member(archive, m) for m in members
    }


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
  """Reads one array, if its header fits the member's size."""
  name = member.filename
  if member.compress_type not in _METHODS:
    raise ValueError(f'{name} is packed as numpy never does')
  with archive.open(member) as stream:
    read_header = _HEADERS.get(np.lib.format.read_magic(stream))
    if read_header is None:
      raise ValueError(f'{name} is no array of numbers or of text')
    shape, _, dtype = read_header(stream)
    if dtype.kind not in 'biufcU' or not dtype.itemsize:  # Objects are code.
      raise ValueError(f'{name} holds {dtype}, expected numbers or text')
    # numpy would take the memory first and find the end of the file later.
    stated = math.prod(shape) * dtype.itemsize
    holds = member.file_size - stream.tell()
    if stated != holds:
      raise ValueError(
        f'{name} states {dtype} of shape {shape}, {stated} bytes, and holds '
        f'{holds}'
      )
  with archive.open(member) as stream:
    return np.lib.format.read_array(stream, allow_pickle=False)
