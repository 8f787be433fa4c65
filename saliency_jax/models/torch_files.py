"""The two formats of torch's files, read by numpy and without torch.

Since 1.6 a file is a zip archive: `data.pkl` names the tensors, and each of the
members `data/KEY` is the memory of some of them, as it is. Before, it was
several pickles, then the memories. Where a tensor was, on which GPU, is not
looked at.
"""

import collections
import io
import math
import pickle
from typing import BinaryIO, NamedTuple
import zipfile

import jax.numpy as jnp
import numpy as np

from saliency_jax.models import nesting
from saliency_jax.models import pickles

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {
  f'torch.{name}Storage': np.dtype(dtype)
  for name, dtype in {
    'Double': np.float64,
    'Float': np.float32,
    'Half': np.float16,
    'BFloat16': jnp.bfloat16,
    'Long': np.int64,
    'Int': np.int32,
    'Short': np.int16,
    'Char': np.int8,
    'Byte': np.uint8,
    'Bool': np.bool_,
  }.items()
}
_MOST_NAMES = 2**26  # Bytes of the pickle that names the tensors.


class _Storage(NamedTuple):
  """The flat memory behind tensors, which is not in the pickle."""

  key: str
  dtype: np.dtype
  size: int


class _Tensor(NamedTuple):
  """A strided view of a storage."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class _Ignored:
  """Stands for what a training run saved beside its tensors."""

  def __init__(self, *args, **kwargs):
    del args, kwargs

  def __setstate__(self, state):
    del state


def _rebuild_tensor(storage, offset, shape, strides, *unused):
  del unused  # Whether it needs a gradient, and hooks.
  return _Tensor(storage, offset, tuple(shape), tuple(strides))


_ALLOWED = {
  'collections.OrderedDict': collections.OrderedDict,
  'torch._utils._rebuild_tensor_v2': _rebuild_tensor,
  'torch._utils._rebuild_parameter': lambda tensor, *unused: tensor,
  'torch.Size': tuple,
  **_STORAGES,
  **dict.fromkeys(
    (
      '_codecs.encode',
      'argparse.Namespace',
      'numpy._core.multiarray.scalar',
      'numpy.core.multiarray.scalar',
      'numpy.dtype',
      'torch.device',
    ),
    _Ignored,
  ),
}


def read_zipped(stream: BinaryIO, size: int) -> dict[str, np.ndarray]:
  """Reads a file of torch since 1.6.

  Args:
    stream: of the file.
    size: of the file, in bytes.

  Returns:
    The arrays by name, laid out as torch lays them out, without what `nesting`
    takes off.

  Raises:
    Exception: of any kind, for anything else.
  """
  with zipfile.ZipFile(stream) as archive:
    members = {m.filename: m for m in archive.infolist()}
    if any(n.endswith('/constants.pkl') for n in members):
      raise pickles.CodeError('it is a program of TorchScript')
    if any(m.compress_type != zipfile.ZIP_STORED for m in members.values()):
      raise ValueError('it is packed, as torch never does')
    # Many members may state the same bytes.
    stated = sum(m.file_size for m in members.values())
    if stated > size:
      raise ValueError(f'it states {stated} bytes and has {size}')
    names = [n for n in members if n == 'data.pkl' or n.endswith('/data.pkl')]
    if len(names) != 1:
      raise ValueError('torch did not save it: it has no data.pkl')
    folder = names[0].removesuffix('data.pkl')
    order = f'{folder}byteorder'
    if order in members and archive.read(order).strip() != b'little':
      raise ValueError('its numbers are big-endian')
    if members[names[0]].file_size > _MOST_NAMES:
      raise ValueError(f'its names take more than {_MOST_NAMES} bytes')
    content = io.BytesIO(archive.read(names[0]))
    found = pickles.load(content, _ALLOWED, _storage)
    memory = {}

    def read(storage):
      member = members[f'{folder}data/{storage.key}']
      if member.file_size != storage.size * storage.dtype.itemsize:
        raise ValueError(
          f'it states {storage.size} numbers of {storage.dtype} in '
          f'{member.filename}, of {member.file_size} bytes'
        )
      if storage.key not in memory:
        memory[storage.key] = archive.read(member)
      return np.frombuffer(memory[storage.key], storage.dtype)

    return _views(found, read)


def read_old(stream: BinaryIO) -> dict[str, np.ndarray]:
  """Reads a file of torch before 1.6; see `read_zipped`.

  Raises:
    Exception: of any kind, for anything else.
  """
  if pickles.load(stream, {}) != _MAGIC:
    raise ValueError('torch did not save it')
  protocol, system = pickles.load(stream, {}), pickles.load(stream, {})
  if protocol != _PROTOCOL or not system['little_endian']:
    raise ValueError(f'unknown protocol {protocol} or big-endian numbers')
  storages = {}

  def persistent(pid):
    storage = _storage(pid)
    return storages.setdefault(storage.key, storage)

  found = pickles.load(stream, _ALLOWED, persistent)
  memory = {}
  for key in pickles.load(stream, {}):
    size = int.from_bytes(_exactly(stream, 8), 'little')
    dtype = storages[key].dtype
    memory[key] = np.frombuffer(_exactly(stream, size * dtype.itemsize), dtype)
  return _views(found, lambda storage: memory[storage.key])


def _storage(pid):
  kind, dtype, key, _, size, *view = pid  # Between them: where it was.
  if kind != 'storage' or not isinstance(dtype, np.dtype) or any(view):
    raise pickle.UnpicklingError(f'it refers to {pid!r:.80}')
  return _Storage(key, dtype, size)


def _exactly(stream, count):
  # Not `read(count)` at once: it makes room for what is stated.
  start = stream.tell()
  end = stream.seek(0, io.SEEK_END)
  if count > end - start:
    raise ValueError(f'it ends {count - (end - start)} bytes too early')
  stream.seek(start)
  return stream.read(count)


def _views(found, read):
  """Returns the tensors of a network as arrays."""
  tensors = nesting.arrays(found, _Tensor)
  return {name: _view(t, read(t.storage)) for name, t in tensors.items()}


def _view(tensor, flat):
  """Checks a view's bounds, which numpy does not.

  A view takes no memory, however many there are of one storage; nor may it
  state more numbers than the storage has.
  """
  last = tensor.offset + sum(
    (n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)
  )
  numbers = (tensor.offset, *tensor.shape, *tensor.strides)
  count = math.prod(tensor.shape)
  if min(numbers) < 0 or (count and last >= flat.size) or count > flat.size:
    raise ValueError(f'a tensor of shape {tensor.shape} leaves its storage')
  strides = tuple(s * flat.itemsize for s in tensor.strides)
  return np.lib.stride_tricks.as_strided(
    flat[tensor.offset :], tensor.shape, strides, writeable=False
  )
