"""Reading weights that others published, without running what they pickled.

`read` tells a file's format by how it starts. No other framework is needed, but
for the formats of safetensors and of orbax, which are read by their packages.
"""

from collections.abc import Callable
import importlib.util
import os
import pathlib
import re
from typing import Any, BinaryIO, NamedTuple
import zipfile

import jax
import numpy as np

from saliency_jax.models import nesting
from saliency_jax.models import npz
from saliency_jax.models import pickles
from saliency_jax.models import torch_files


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


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads the weights of a network, in whichever format they are.

  The formats are both of torch, safetensors, `.npz`, flax's msgpack, and the
  folder of an orbax checkpoint. What training wraps around a network is taken
  off: see `nesting`.

  Args:
    path: of the file, or of orbax's folder.

  Returns:
    The arrays by name, as the file lays them out and in its dtypes; they are
    not to be written to.

  Raises:
    FileNotFoundError: if there is no such file.
    ImportError: if the package that reads the format is not installed.
    ValueError: if the file is truncated, of another format, states more than
      it holds, or names anything but arrays.
  """
  path = pathlib.Path(os.path.expanduser(path))
  if path.is_dir():
    return _whole(path, lambda: _read_orbax(path))
  if not path.is_file():
    raise FileNotFoundError(f'no file of weights at {path}')
  with path.open('rb') as stream:
    file = _File(path, stream, path.stat().st_size)
    start = stream.read(64)
    stream.seek(0)
    found = (f for k, f in _READERS.items() if re.match(k, start, re.DOTALL))
    parse = next(found, _refuse)
    return _whole(path, lambda: parse(file))


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
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'no file of weights at {path}')
  with path.open('rb') as stream:
    return _whole(path, lambda: pickles.arrays(stream))


_AGAIN = (
  'replace it, or if a package brought it reinstall that (pip install '
  '--force-reinstall)'
)
_ALONE = (
  'nothing that a file names is run here. Save its arrays alone, as '
  'torch.save(module.state_dict(), FILE) does; or load what you trust in '
  'torch, and explain the module by scores.from_torch'
)


class _File(NamedTuple):
  """A file that is open at its start."""

  path: pathlib.Path
  stream: BinaryIO
  size: int


def _whole(path: pathlib.Path, parse: Callable[[], Any]) -> Any:
  """Returns what was parsed; says in one line why a file cannot be."""
  try:
    return parse()
  except ImportError:
    raise
  # Hostile bytes make pickle, zipfile and numpy raise nearly anything.
  except Exception as error:
    reason = str(error) or type(error).__name__
    remedy = _ALONE if isinstance(error, pickles.CodeError) else _AGAIN
    raise ValueError(
      f'{path} is not a whole file of weights ({reason}): {remedy}'
    ) from error


def _read_zip(file):
  with zipfile.ZipFile(file.stream) as archive:
    names = archive.namelist()
  if any(name.endswith('.npy') for name in names):
    return nesting.arrays(npz.unpack(file.stream, file.size), np.ndarray)
  return torch_files.read_zipped(file.stream, file.size)


def _read_safetensors(file):
  reader = _package('safetensors.numpy', file.path)
  return nesting.arrays(reader.load_file(file.path), np.ndarray)


def _read_msgpack(file):
  from flax import serialization  # Not at the top: it is slow to import.

  tree = serialization.msgpack_restore(file.stream.read())
  return nesting.arrays(nesting.flat(tree, np.ndarray), np.ndarray)


def _read_orbax(path):
  orbax = _package('orbax.checkpoint', path)
  tree = orbax.StandardCheckpointer().restore(path.absolute())
  tree = jax.tree.map(np.asarray, tree)
  return nesting.arrays(nesting.flat(tree, np.ndarray), np.ndarray)


def _refuse(file):
  kind, remedy = npz.other(file.stream) or ('of no known format', '')
  raise ValueError(f'it is {kind}{remedy and ": "}{remedy}')


def _package(name, path):
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise ImportError(
      f'{path} needs the package {name.split(".")[0]}: pip install '
      "'saliency-jax[experiments]'"
    ) from error


def _reinstall(package):
  name = package.replace('_', '-')
  return f'pip install --force-reinstall {name}'


# How a file starts -> what reads it.
_READERS = {
  rb'PK\x03\x04': _read_zip,
  # A long integer, torch's magic number, is pickled first.
  rb'\x80[\x02-\x05](\x95.{8})?\x8a\x0a': (
    lambda file: torch_files.read_old(file.stream)
  ),
  rb'.{6}\0\0\s*\{': _read_safetensors,
  # A dictionary, whose first key is a text.
  rb'([\x81-\x8f]|\xde..|\xdf.{4})[\xa0-\xbf\xd9-\xdb]': _read_msgpack,
}
