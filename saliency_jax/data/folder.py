"""A user's own images: what a folder holds, and what it could not read."""

from collections.abc import Iterator
import concurrent.futures
import os
import pathlib
from typing import NamedTuple
import warnings

from saliency_jax.data import images


class Contents(NamedTuple):
  """The readable images of a folder, sorted by name."""

  paths: tuple[pathlib.Path, ...]
  labels: tuple[int, ...]  # Index of the sub-folder in `class_names`, or -1.
  class_names: tuple[str, ...]
  skipped: tuple[str, ...]  # One line a file that was passed over.


def scan(root: str | os.PathLike) -> Contents:
  """Lists the images under a folder, trying each once.

  Sub-folders' names are the classes, when any sub-folder holds files; images
  beside them get the label -1. Hidden files and folders are left out. Files
  that cannot be read are passed over, with a warning.

  Raises:
    ValueError: not a folder, or no image in it can be read.
  """
  root = pathlib.Path(root)
  if not root.is_dir():
    raise ValueError(f'{str(root)!r} is not a folder')
  files = sorted(_files(root), key=lambda p: p.relative_to(root).as_posix())
  # Only decoding finds a truncated file; Pillow lets threads run meanwhile.
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    problems = list(pool.map(_problem, files))
  skipped = tuple(p for p in problems if p is not None)
  paths = [f for f, p in zip(files, problems, strict=True) if p is None]
  if not paths:
    raise ValueError(
      f'{str(root)!r} holds no image that can be read '
      f'({len(files)} files{": " + skipped[0] if skipped else ""})'
    )
  if skipped:
    warnings.warn(
      f'passed over {len(skipped)} of {len(files)} files: '
      + '; '.join(skipped[:3])
      + ('; ...' if len(skipped) > 3 else ''),
      stacklevel=4,
    )
  parents = [p.relative_to(root).parts[:-1] for p in paths]
  class_names = tuple(sorted({p[0] for p in parents if p}))
  labels = (class_names.index(p[0]) if p else -1 for p in parents)
  return Contents(tuple(paths), tuple(labels), class_names, skipped)


def _files(root: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields the files below `root` that are not hidden."""
  for top in root.iterdir():
    # From each sub-folder anew: `rglob` does not enter links to folders.
    for path in top.rglob('*') if top.is_dir() else (top,):
      parts = path.relative_to(root).parts
      if path.is_file() and not any(p.startswith('.') for p in parts):
        yield path


def _problem(path: pathlib.Path) -> str | None:
  """Returns why an image cannot be read, or `None`."""
  try:
    images.read(path)
  except ValueError as e:
    return str(e)
  return None
