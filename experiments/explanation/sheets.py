"""What `explain` writes while it makes maps: a figure, the maps, the facts."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.core import files
from experiments.core import results
from experiments.tables import methods
from saliency_jax import viz
from saliency_jax.core import types


class Map(NamedTuple):
  """What a method made, and what `info.json` says of it."""

  out: types.Attribution
  info: dict[str, Any]


class Sheet(NamedTuple):
  """What is written, again and again while maps are made."""

  folder: pathlib.Path
  image: jax.Array
  about: dict[str, Any]

  def refused(self, found: Mapping[str, Map]) -> dict[str, str]:
    """Returns the methods whose maps must not be saved, and why."""
    troubles = {n: results.trouble(m.out) for n, m in found.items()}
    return {n: why for n, why in troubles.items() if why}

  def write(self, found: Mapping[str, Map], *, draw: bool, last: bool) -> None:
    """Writes the files anew, each whole; the last time it packs the maps."""
    refused = self.refused(found)
    infos = {n: m.info for n, m in found.items()}
    about = {**self.about, 'methods': infos, 'refused': refused}
    files.write_json(self.folder / 'info.json', about)
    kept = {n: m for n, m in found.items() if n not in refused}
    if not kept:
      return
    maps = results.arrays({n: m.out for n, m in kept.items()})
    path = self.folder / 'maps.npz'
    files.write_npz(path, {'image': self.image, **maps}, packed=last)
    if not draw:
      return
    figure = viz.contact_sheet(
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
    files.write_figure(self.folder / 'explain.png', figure)


def _first(warnings: Sequence[str]) -> str:
  """Returns the first of some warnings, and how many there are besides."""
  warning, *more = warnings or ('',)
  return f'{warning} (and {len(more)} more)' if more else warning
