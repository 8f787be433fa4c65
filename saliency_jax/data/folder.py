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
  beside them get the label -1. Hidden files and folders are left out. Links to
  sub-folders are followed, and no folder is entered twice. Files that cannot be
  read are passed over, with a warning.

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
  index = {name: i for i, name in enumerate(class_names)}
  labels = (index[p[0]] if p else -1 for p in parents)
  return Contents(tuple(paths), tuple(labels), class_names, skipped)


def _files(root: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields the files below `root` that are not hidden, each folder once."""
  # A link to the folder itself, or to one that holds it, leads nowhere new.
  real = pathlib.Path(os.path.realpath(root))
  seen = {str(real), *map(str, real.parents)}
  tops = [p for p in root.iterdir() if not p.name.startswith('.')]
  # Links to sub-folders last: a folder is named by where it is.
  for top in sorted(tops, key=lambda p: (p.is_symlink(), p.name)):
    if top.is_file():
      yield top
    for folder, below, names in os.walk(top):
      place = os.path.realpath(folder)
      if place in seen:
        below.clear()
        continue
      seen.add(place)
      below[:] = (n for n in below if not n.startswith('.'))
      for name in names:
        path = pathlib.Path(folder, name)
        # Neither pipes nor devices: to open one may hang.
        if path.is_file() and not name.startswith('.'):
          yield path


def _problem(path: pathlib.Path) -> str | None:
  """Returns why an image cannot be read, or `None`."""
  try:
    images.read(path)
  except ValueError as e:
    return str(e)
  return None
