"""Figures of a sweep of trainings: the trade, and the maps it is about."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from matplotlib import figure
import numpy as np

from experiments.core import files
from experiments.training import judging
from saliency_jax import viz


def write(
  folder: pathlib.Path, summary: Mapping[str, Any], runs: Sequence[str]
) -> None:
  """Writes `trade.png` (Figure 6) and, where maps were kept, `maps.png` (2)."""
  files.write_figure(folder / 'trade.png', trade(summary))
  firsts = [row['runs'][0] for row in summary['rows'].values()]
  names = sorted(
    p.name for p in (folder / firsts[0] / judging.FOLDER).glob('*.npz')
  )
  if names:
    files.write_figure(folder / 'maps.png', maps(folder, firsts, names))


def trade(summary: Mapping[str, Any]) -> figure.Figure:
  """Draws overlap under attack and accuracy, a point of the sweep a tick."""
  rows = summary['rows']
  ticks = np.arange(len(rows))
  fig = figure.Figure(
    figsize=(2.4 + 1.1 * len(rows), 3.4), dpi=110, layout='constrained'
  )
  left = fig.subplots()
  right = left.twinx()
  for ax, column, color, marker in (
    (left, 'overlap', '#1f5fa8', 'o'),
    (left, 'signed_overlap', '#7aa6d6', 's'),
    (right, 'accuracy', '#c0563b', '^'),
  ):
    found = [row['means'].get(column) for row in rows.values()]
    if any(f is None for f in found):
      continue  # No attack found a neighbour.
    # Seeds where there are several, examples where there are not.
    bars = [f['spread'] or f['error'] or 0.0 for f in found]
    ax.errorbar(
      ticks,
      [f['mean'] for f in found],
      yerr=bars,
      color=color,
      marker=marker,
      capsize=3,
      label=column.replace('_', ' '),
    )
  left.set_xticks(ticks, [name.replace(',', '\n') for name in rows])
  left.set_ylabel('overlap of the top quarter')
  right.set_ylabel('test accuracy')
  left.spines['top'].set_visible(False)
  right.spines['top'].set_visible(False)
  fig.legend(loc='outside upper center', ncols=3, frameon=False, fontsize=8)
  return fig


def maps(
  folder: pathlib.Path, runs: Sequence[str], names: Sequence[str]
) -> figure.Figure:
  """Draws examples, a row each, with the maps of each run and of its attack."""
  columns = 1 + 2 * len(runs)
  fig = figure.Figure(
    figsize=(1.1 * columns, 1.15 * len(names) + 0.5),
    dpi=110,
    layout='constrained',
  )
  axes = fig.subplots(len(names), columns, squeeze=False)
  for ax in axes.flat:
    ax.set_axis_off()
  for i, name in enumerate(names):
    for j, run in enumerate(runs):
      path = folder / run / judging.FOLDER / name
      with np.load(path, allow_pickle=False) as found:
        image, scores = found['image'], [found['map'], found['attacked']]
      if j == 0:
        axes[i, 0].imshow(np.squeeze(image), cmap='gray', vmin=0, vmax=1)
      for side, values in enumerate(scores):
        ax = axes[i, 1 + 2 * j + side]
        ax.imshow(viz.paint(viz.MAGNITUDE, values))
        if i == 0:
          title = run.split(',')[0] + ('\nattacked' if side else '\n')
          ax.set_title(title, fontsize=7)
  return fig
