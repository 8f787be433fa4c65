"""What launchers write: files that are whole or not there at all."""

from collections.abc import Iterator, Mapping
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import tempfile
from typing import IO, Any

import numpy as np


def folder(flag: str, text: str) -> pathlib.Path:
  """Returns the folder that a flag names, which may not exist.

  Args:
    flag: its name.
    text: its value; `~` and `~user` are homes.

  Raises:
    ValueError: it is empty, or there is no such user.
  """
  path = os.path.expanduser(text)
  if not text.strip() or path.startswith('~'):
    # A folder of the name '~user' is never what is meant.
    reason = 'there is no such user' if path.startswith('~') else 'it is empty'
    raise ValueError(f'--{flag}={text!r}: expected a folder, {reason}')
  return pathlib.Path(path)


def write_npz(
  path: pathlib.Path, arrays: Mapping[str, Any], *, packed: bool = True
) -> None:
  """Writes named arrays, packed or as they are, whole or not at all."""
  save = np.savez_compressed if packed else np.savez
  with _replacing(path) as f:
    save(f, **{k: np.asarray(v) for k, v in arrays.items()})


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes JSON, whole or not at all; NaN and infinity become text."""
  text = json.dumps(plain(value), indent=2, allow_nan=False)
  with _replacing(path) as f:
    f.write(f'{text}\n'.encode())


def write_figure(path: pathlib.Path, figure: Any) -> None:
  """Writes a matplotlib figure as PNG, whole or not at all."""
  with _replacing(path) as f:
    figure.savefig(f, format='png')


def write_bytes(path: pathlib.Path, data: bytes) -> None:
  """Writes bytes, whole or not at all."""
  with _replacing(path) as f:
    f.write(data)


def digest(path: str | os.PathLike[str]) -> str:
  """Returns the SHA-256 of a file.

  Raises:
    OSError: it cannot be read.
  """
  with open(path, 'rb') as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()


def plain(value: Any) -> Any:
  """Returns a value in JSON's own types."""
  if isinstance(value, Mapping):
    return {str(k): plain(v) for k, v in value.items()}
  if hasattr(value, '_asdict'):  # A NamedTuple, which is a tuple too.
    return plain(value._asdict())
  if isinstance(value, list | tuple):
    return [plain(v) for v in value]
  if hasattr(value, 'tolist'):
    return plain(np.asarray(value).tolist())
  if isinstance(value, float) and not np.isfinite(value):
    return str(value)
  if isinstance(value, functools.partial):
    bound = ', '.join(f'{k}={v}' for k, v in value.keywords.items())
    return f'{plain(value.func)}({bound})'
  if callable(value):
    return getattr(value, '__name__', str(value))
  return value


@contextlib.contextmanager
def _replacing(path: pathlib.Path) -> Iterator[IO[bytes]]:
  """Opens a file beside `path`, which takes its place once it is whole."""
  handle, name = tempfile.mkstemp(prefix=f'.{path.name}-', dir=path.parent)
  try:
    with os.fdopen(handle, 'wb') as f:
      yield f
    os.chmod(name, 0o666 & ~_umask())  # A temporary file is its owner's alone.
    os.replace(name, path)
  except BaseException:
    pathlib.Path(name).unlink(missing_ok=True)
    raise


def _umask() -> int:
  mask = os.umask(0)
  os.umask(mask)
  return mask
