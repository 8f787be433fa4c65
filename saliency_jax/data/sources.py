"""Datasets as sequences: `load(name)[i] -> {'image', 'label', 'name'}`.

A named dataset is prepared once, by tfds, in the user's cache; a folder is read
in place. Both give the same examples.
"""

from collections.abc import Callable, Sequence
import operator
import os
import pathlib
from typing import Any, SupportsIndex

from jaxtyping import Float, Int
import numpy as np

from saliency_jax.data import folder
from saliency_jax.data import images

NAMES = ('photos', 'digits', 'mnist', 'fashion_mnist', 'cifar10')


class Source(Sequence):
  """A random-access sequence of examples.

  Example i is a dict of `image` (`[H, W, C]` uint8), `label` (int32; -1 when
  unknown) and `name` (text). Integer indices only.

  Attributes:
    name: the dataset's name or the folder's path.
    class_names: the name of each label; empty when there are no labels.
    skipped: what was passed over, and why: one line a file.
  """

  def __init__(
    self,
    get: Callable[[int], dict[str, Any]],
    size: int,
    *,
    name: str,
    class_names: tuple[str, ...] = (),
    skipped: tuple[str, ...] = (),
  ):
    self._get = get
    self._size = size
    self.name = name
    self.class_names = class_names
    self.skipped = skipped

  def __len__(self) -> int:
    return self._size

  def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
    i = operator.index(index)
    if not -self._size <= i < self._size:
      raise IndexError(f'example {i} of {self.name}, which holds {self._size}')
    return self._get(i % self._size)

  def __repr__(self) -> str:
    return f'Source({self.name!r}, {self._size} examples)'


def load(
  name: str | os.PathLike,
  split: str = 'test',
  *,
  data_dir: str | os.PathLike | None = None,
  download: bool = False,
) -> Source:
  """Opens a dataset, or a folder of images.

  Args:
    name: one of `NAMES`, or a folder's path (sub-folders' names are labels).
    split: 'train', 'test', or a part of one as tfds writes it: 'test[:100]'.
      The photos and folders have a 'test' split only.
    data_dir: folder of the raw files of mnist, fashion_mnist or cifar10.
    download: fetch these files when `data_dir` does not hold them.

  Raises:
    ValueError: unknown name or split; missing or broken files, by name.
  """
  if not isinstance(name, str) or name not in NAMES:
    if not os.fspath(name) or not pathlib.Path(name).is_dir():
      raise ValueError(
        f'name is {os.fspath(name)!r}, expected one of {", ".join(NAMES)} '
        "or a folder's path"
      )
    return _open_folder(pathlib.Path(name), split)
  # Deferred: tfds takes a second to import, and folders seldom need it.
  from saliency_jax.data import prepared

  builder = prepared.open_builder(name, data_dir, download=download)
  records = prepared.records(builder, split)

  def get(i):
    record = records[i]
    return {
      'image': images.decode(record['image']),
      'label': np.int32(record['label']),
      'name': record['name'].decode(),
    }

  return Source(get, len(records), name=name, class_names=builder.CLASS_NAMES)


def arrays(
  source: Sequence[dict[str, Any]],
) -> tuple[Float[np.ndarray, 'n h w c'], Int[np.ndarray, ' n'] | None]:
  """Stacks a small source: float32 images in [0, 1] and int32 labels.

  Returns:
    The images; and the labels, or `None` where no example has one.

  Raises:
    ValueError: no examples, images of several shapes, or labels of some only.
  """
  examples = list(source)
  shapes = sorted({e['image'].shape for e in examples})
  if len(shapes) != 1:
    raise ValueError(
      f'images of shapes {shapes}, expected one shape: bring each to it with '
      'images.prepare'
    )
  pixels = np.stack([e['image'] for e in examples])
  labels = np.array([e['label'] for e in examples], np.int32)
  unknown = np.flatnonzero(labels < 0)  # -1 would pass for a class.
  if 0 < len(unknown) < len(labels):
    raise ValueError(
      f'{len(unknown)} of {len(labels)} examples have no label, the first is '
      f'{examples[unknown[0]]["name"]!r}: move them into the folders of their '
      'classes, or out of this one'
    )
  scaled = pixels.astype(np.float32) / np.float32(255)
  return scaled, None if len(unknown) else labels


def _open_folder(root: pathlib.Path, split: str) -> Source:
  """Opens the readable images under `root`."""
  contents = folder.scan(root)
  picks = range(len(contents.paths))
  if split != 'test':
    from saliency_jax.data import prepared  # Deferred, as in `load`.

    picks = prepared.indices(split, len(picks))

  def get(i):
    path = contents.paths[picks[i]]
    return {
      'image': images.read(path),
      'label': np.int32(contents.labels[picks[i]]),
      'name': path.relative_to(root).as_posix(),
    }

  return Source(
    get,
    len(picks),
    name=os.fspath(root),
    class_names=contents.class_names,
    skipped=contents.skipped,
  )
