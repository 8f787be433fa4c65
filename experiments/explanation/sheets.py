"""What `explain` writes while it makes maps: a figure, the maps, the facts."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

import jax
from jaxtyping import Int
from matplotlib import figure
import numpy as np

from experiments.core import files
from experiments.core import results
from experiments.explanation import stacking
from experiments.tables import methods
from saliency_jax import viz
from saliency_jax.core import types

SEGMENTS = 'segments.png'


class Map(NamedTuple):
  """What a method made, and what `info.json` says of it.

  Attributes:
    out: of the method.
    info: as JSON can tell it.
    labels: the superpixel of each pixel, of a method whose players they are.
  """

  out: types.Attribution
  info: dict[str, Any]
  labels: Int[np.ndarray, 'H W'] | None = None


class Sheet(NamedTuple):
  """What is written, again and again while maps are made."""

  folder: pathlib.Path
  image: jax.Array
  about: dict[str, Any]

  def refused(self, found: Mapping[str, Map]) -> dict[str, str]:
    """Returns the methods whose maps must not be saved, and why."""
    troubles = {n: results.trouble(m.out) for n, m in found.items()}
    return {n: why for n, why in troubles.items() if why}

  def write(
    self,
    found: Mapping[str, Map],
    left_out: Mapping[str, str],
    *,
    draw: bool,
    last: bool,
  ) -> None:
    """Writes the files anew, each whole.

    Args:
      found: what methods made.
      left_out: why others made nothing.
      draw: whether the figure is drawn, too.
      last: whether nothing is missing: the maps are packed.
    """
    refused = self.refused(found)
    infos = {n: m.info for n, m in found.items()}
    about = {
      **self.about,
      'methods': infos,
      'refused': refused,
      'left_out': dict(left_out),
    }
    files.write_json(self.folder / 'info.json', about)
    kept = {n: m for n, m in found.items() if n not in refused}
    if not kept:
      return
    maps = results.arrays({n: m.out for n, m in kept.items()})
    parted = {n: m for n, m in kept.items() if m.labels is not None}
    maps |= {f'{n}.segments': m.labels for n, m in parted.items()}
    path = self.folder / 'maps.npz'
    files.write_npz(path, {'image': self.image, **maps}, packed=last)
    if not draw:
      return
    sheet = viz.contact_sheet(
      np.asarray(self.image),
      [
        viz.Tile(
          n.replace('_', ' '),
          m.out.scores,
          methods.METHODS[n].drawing,
          m.info['quality'],
          _first(m.info['warnings']),
        )
        for n, m in kept.items()
      ],
      predictions=self.about['predictions'],
      explained=self.about['class'],
      title=f'{self.about["class"]}, explained for {self.about["model"]}',
    )
    files.write_figure(self.folder / 'explain.png', sheet)
    if parted:
      image = stacking.png([self._segments(n, m) for n, m in parted.items()])
      files.write_bytes(self.folder / SEGMENTS, image)

  def _segments(self, name: str, made: Map) -> figure.Figure:
    """Draws superpixels on the photo, and what each of them is worth."""
    info = made.out.info
    margin = getattr(info, 'margin', None)
    # Of too few draws there are no intervals: the values are drawn alone.
    if margin is not None and not np.isfinite(margin).all():
      margin = None
    return viz.segments(
      info.values,
      image=np.asarray(self.image),
      labels=made.labels,
      margin=margin,
      title=f'{name.replace("_", " ")}: {self.about["class"]}',
      caption=made.info['quality'],
      warning=_first(made.info['warnings']),
    )


def _first(warnings: Sequence[str]) -> str:
  """Returns the first of some warnings, and how many there are besides."""
  warning, *more = warnings or ('',)
  return f'{warning} (and {len(more)} more)' if more else warning
