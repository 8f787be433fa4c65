"""Files in torch's two formats, written without torch.

The pickle is written opcode by opcode: the globals that it names must not be
needed here. What a test asks for may be a lie.
"""

from collections.abc import Mapping
import io
import pickle
import struct
from typing import Any, NamedTuple
import zipfile

import jax.numpy as jnp
import numpy as np

_KINDS = {
  np.dtype(np.float32): 'Float',
  np.dtype(np.float64): 'Double',
  np.dtype(np.float16): 'Half',
  np.dtype(jnp.bfloat16): 'BFloat16',
  np.dtype(np.int64): 'Long',
}
_DICT = b'ccollections\nOrderedDict\n)R'


class Tensor(NamedTuple):
  """What a file states about a tensor: a view of the memory `values`."""

  values: np.ndarray
  shape: tuple[int, ...]
  strides: tuple[int, ...]
  offset: int = 0
  key: str | None = None
  size: int | None = None


class Raw(NamedTuple):
  """Opcodes in the place of a value."""

  opcodes: bytes


def tensor(array: np.ndarray) -> Tensor:
  """States the truth about an array."""
  array = np.ascontiguousarray(array)
  strides = tuple(s // array.itemsize for s in array.strides)
  return Tensor(array.reshape(-1), array.shape, strides)


def zipped(
  tree: Any,
  *,
  location: str = 'cpu',
  method: int = zipfile.ZIP_STORED,
  byteorder: bytes = b'little',
) -> bytes:
  """Returns the file that torch writes since 1.6."""
  body, memory = _pickled(tree, location, old=False)
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', method) as archive:
    archive.writestr('net/data.pkl', body)
    archive.writestr('net/byteorder', byteorder)
    for key, values in memory.items():
      archive.writestr(f'net/data/{key}', values.tobytes())
    archive.writestr('net/version', b'3\n')
  return file.getvalue()


def old(tree: Any, *, location: str = 'cpu') -> bytes:
  """Returns the file that torch wrote before 1.6."""
  body, memory = _pickled(tree, location, old=True)
  head = [0x1950A86A20F9469CFC6C, 1001, dict(little_endian=True)]
  out = b''.join(pickle.dumps(h, 2) for h in head) + body
  out += pickle.dumps(list(memory), 2)
  for values in memory.values():
    out += struct.pack('<q', len(values)) + values.tobytes()
  return out


def _pickled(tree, location, old):
  memory = {}

  def string(s):
    return b'X' + struct.pack('<I', len(s)) + s.encode()

  def ints(*values):
    return b'(' + b''.join(pickle.dumps(v, 2)[2:-1] for v in values) + b't'

  def value(v):
    if isinstance(v, Raw):
      return v.opcodes
    if isinstance(v, Mapping):
      items = b''.join(string(k) + value(w) for k, w in v.items())
      return _DICT + b'(' + items + b'u'
    if isinstance(v, np.ndarray):
      v = tensor(v)
    if not isinstance(v, Tensor):
      return pickle.dumps(v, 2)[2:-1]
    key = str(len(memory)) if v.key is None else v.key
    memory.setdefault(key, v.values)
    size = len(v.values) if v.size is None else v.size
    return b''.join(
      (
        b'ctorch._utils\n_rebuild_tensor_v2\n((',
        string('storage'),
        f'ctorch\n{_KINDS[v.values.dtype]}Storage\n'.encode(),
        string(key) + string(location) + ints(size)[1:-1],
        (b'N' if old else b'') + b'tQ' + ints(v.offset)[1:-1],
        ints(*v.shape) + ints(*v.strides) + b'\x89' + _DICT + b'tR',
      )
    )

  return b'\x80\x02' + value(tree) + b'.', memory
