"""What stands around the axes of a figure: its title, caption and scale."""

import textwrap
from typing import Any

from matplotlib import cm
from matplotlib import colors
from matplotlib import figure
import numpy as np

from saliency_jax.viz import players
from saliency_jax.viz import texts

# Characters an inch of the title, and of the smaller texts.
_TITLE_CHARS, _CHARS = 8, 12


def start(
  width: float, height: float, *, title: str, warning: str
) -> figure.Figure:
  """Returns a figure that pyplot does not know of, sizes in inches."""
  fig = figure.Figure(
    figsize=(width, height), dpi=110, facecolor='white', layout='constrained'
  )
  if title:
    fig.suptitle(
      _wrapped(title, _TITLE_CHARS * width),
      x=0.01,
      ha='left',
      fontsize=13,
      fontweight='bold',
    )
  if warning:
    fig.supxlabel(
      _wrapped(f'⚠ {warning}', _CHARS * width),
      x=0.01,
      ha='left',
      fontsize=9,
      color=texts.WARNING,
    )
  return fig


def caption(ax: Any, text: str, width: float) -> None:
  """Writes a line of diagnostics above axes of a width in inches."""
  if text:
    ax.set_title(
      _wrapped(text, _CHARS * width),
      loc='left',
      fontsize=9,
      color=texts.MUTED,
    )


def bare(ax: Any, *, grid: bool = False) -> None:
  """Takes away what surrounds the marks of axes and says nothing."""
  for side in ('top', 'right', 'left'):
    ax.spines[side].set_visible(False)
  ax.tick_params(axis='y', length=0)
  ax.tick_params(labelsize=9)
  if grid:
    ax.grid(axis='x', color='#e6e6e6', lw=0.6)
    ax.set_axisbelow(True)
    # Few enough for labels such as -1.25e-08.
    ax.locator_params(axis='x', nbins=6)
    written_out(ax.xaxis)


def written_out(axis: Any) -> None:
  """Writes powers of ten at the ticks, not once in the figure's corner."""
  axis.set_major_formatter(lambda value, _: f'{value:.10g}')


def color_bar(
  fig: figure.Figure,
  axes: np.ndarray,
  drawn: players.Players,
  *,
  depth: float | int = 1.0,
) -> None:
  """Draws the scale of signed colours on the right of axes."""
  ramp = players.colors(np.linspace(-1, 1, 256), 1.0, depth=depth)
  scale = cm.ScalarMappable(
    colors.Normalize(-drawn.scale, drawn.scale), colors.ListedColormap(ramp)
  )
  bar = fig.colorbar(scale, ax=list(axes), aspect=30, pad=0.02)
  ends = (-drawn.scale, 0.0, drawn.scale)
  bar.set_ticks(ends, labels=[drawn.number(end) for end in ends])
  bar.set_label(players.DIRECTIONS, fontsize=9)
  bar.ax.tick_params(labelsize=8, length=0)
  bar.outline.set_visible(False)


def _wrapped(text, chars):
  return textwrap.fill(texts.plain(text), max(20, int(chars)))
