"""Datasets that tfds has prepared, in a cache folder keyed by their raw files.

The folder's name holds a digest of the files it was made from, so that other
files make another folder. It is built aside and renamed: two processes may
prepare it at once, and a killed one leaves nothing that looks whole. It holds
the digests of its own files, so that one that was damaged later is made anew.
"""

import atexit
from collections.abc import Sequence
import contextlib
import functools
import hashlib
import io
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any
import warnings

import tensorflow_datasets as tfds

from saliency_jax.data import builders
from saliency_jax.data import files as regular_files

try:
  import array_record  # noqa: F401, what tfds writes without TensorFlow.

  from saliency_jax.core import cache
except ImportError as e:
  raise ImportError(
    f"datasets need {e.name}: pip install 'saliency-jax[experiments]'"
  ) from e

_SUMS = 'sha256.json'  # Path of each other file in the folder -> its digest.


def open_builder(
  name: str, data_dir: str | os.PathLike | None = None, *, download: bool
) -> tfds.core.DatasetBuilder:
  """Returns the builder of a dataset whose data is on disk, ready to read.

  Args:
    name: a key of `builders.BUILDERS`.
    data_dir: folder of the raw files, for the datasets that need them.
    download: fetch files that are not in `data_dir`.

  Raises:
    ValueError: missing or broken raw files, by name.
  """
  builder_cls = builders.BUILDERS[name]
  prefix, root = f'{name}-{builder_cls.VERSION}', cache.folder('datasets')
  fetched = root / f'{prefix}-download'
  fetch = builder_cls.URLS and (
    download or (data_dir is None and fetched.is_dir())
  )
  try:
    files = builder_cls.find(data_dir)
    folder = root / f'{prefix}-{_digest(files)}'
  except ValueError:
    if not fetch:
      raise
    files, folder = None, fetched
  damaged = _damaged(folder) if os.path.lexists(folder) else None
  # Without the digests it is of an earlier version, or no folder.
  if damaged and (folder / _SUMS).exists():
    warnings.warn(
      f'{str(damaged)!r} is missing or was changed: {name} is prepared anew',
      stacklevel=3,
    )
  if damaged or not folder.is_dir():
    folder = _prepare(builder_cls, files, folder)
  return builder_cls(files=files, data_dir=folder)


def records(
  builder: tfds.core.DatasetBuilder, split: str
) -> Sequence[dict[str, Any]]:
  """Returns the examples of a split, images still as PNG bytes.

  Raises:
    ValueError: no such split, or an empty part of one.
  """
  sizes = {k: v.num_examples for k, v in builder.info.splits.items()}
  with _naming_splits(split, sizes):
    # tfds would decode with OpenCV where it is installed, and complain if not.
    decoders = {'image': tfds.decode.SkipDecoding()}
    source = builder.as_data_source(split, decoders=decoders)
    len(source)  # Some empty parts raise here only.
  return source


def indices(split: str, size: int) -> list[int]:
  """Lists the examples in a part of a 'test' split of `size`.

  Raises:
    ValueError: no such split, or an empty part of it.
  """
  info = tfds.core.SplitInfo(name='test', shard_lengths=[size], num_bytes=0)
  with _naming_splits(split, {'test': size}):
    instruction = tfds.core.ReadInstruction.from_spec(split)
    picks = [
      i
      for part in instruction.to_absolute({'test': info})
      for i in range(part.from_ or 0, size if part.to is None else part.to)
    ]
    if not picks:
      raise ValueError('no examples')
  return picks


@contextlib.contextmanager
def _naming_splits(split: str, sizes: dict[str, int]):
  """Turns the errors of tfds about a split into one clear line."""
  try:
    yield
  except (ValueError, KeyError, AssertionError) as e:
    known = ' or '.join(f'{k} ({n} examples)' for k, n in sizes.items())
    raise ValueError(
      f'split is {split!r}, expected {known}, or at least one example of it '
      "as tfds writes it: 'test[:100]'"
    ) from e


def _prepare(builder_cls, files, folder: pathlib.Path) -> pathlib.Path:
  """Prepares data into `folder`, or into a temporary one if it must."""
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = tempfile.TemporaryDirectory(prefix='.partial-', dir=folder.parent)
  except OSError as e:
    scratch = _scratch_dir() / folder.name
    if scratch.is_dir():
      return scratch
    warnings.warn(
      f'cannot write to {str(folder.parent)!r} ({e.strerror}): '
      f'{builder_cls.name} is prepared anew by each process. '
      'Set SALIENCY_JAX_CACHE to a folder that can be written.',
      stacklevel=4,
    )
    return _prepare(builder_cls, files, scratch)
  with aside as path:
    built = pathlib.Path(path) / 'built'
    builder = builder_cls(files=files, data_dir=built)
    # A failed run leaves its finished downloads to the next.
    parent = folder.parent if files is None else pathlib.Path(path)
    with _quiet():
      builder.download_and_prepare(
        download_dir=parent / 'downloads',
        download_config=tfds.download.DownloadConfig(
          try_download_gcs=False, force_checksums_validation=True
        ),
      )
    paths = [p for p in sorted(built.rglob('*')) if p.is_file()]
    sums = {p.relative_to(built).as_posix(): _sum(p) for p in paths}
    (built / _SUMS).write_text(json.dumps(sums))
    try:
      built.rename(folder)
    except OSError:
      if _damaged(folder):  # Otherwise another process was first.
        folder.rename(pathlib.Path(path) / 'damaged')
        built.rename(folder)
  return folder


def _damaged(folder: pathlib.Path) -> pathlib.Path | None:
  """Returns a file of a prepared folder that is missing or was changed."""
  table = folder / _SUMS
  try:
    with regular_files.open_regular(table) as f:
      sums = {folder / name: digest for name, digest in json.load(f).items()}
  except (OSError, ValueError, TypeError, AttributeError, RecursionError):
    return table  # Missing, or no JSON object.

  def is_whole(path):
    try:
      return _sum(path) == sums[path]
    except ValueError:
      return False

  return next((p for p in sums if not is_whole(p)), None)


@contextlib.contextmanager
def _quiet():
  """Keeps tfds from printing: this is a library."""
  tfds.disable_progress_bar()
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    tfds.enable_progress_bar()  # Its default; tfds tells no other state.


@functools.cache
def _scratch_dir() -> pathlib.Path:
  """Returns this process's temporary folder, gone when the process ends."""
  path = tempfile.mkdtemp(prefix='saliency_jax-')
  atexit.register(shutil.rmtree, path, ignore_errors=True)
  return pathlib.Path(path)


def _digest(files: tuple[pathlib.Path, ...]) -> str:
  """Hashes the names and the bytes of files."""
  digest = hashlib.sha256()
  for path in files:
    digest.update(f'{path.name} {_sum(path)}\n'.encode())
  return digest.hexdigest()[:16]


def _sum(path: pathlib.Path) -> str:
  """Hashes the bytes of a file; says `ValueError` where it cannot be read."""
  try:
    with regular_files.open_regular(path) as f:
      return hashlib.file_digest(f, 'sha256').hexdigest()
  except OSError as e:
    raise ValueError(f'cannot read {str(path)!r}: {e.strerror}') from e
