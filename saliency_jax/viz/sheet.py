"""A contact sheet: one photo, and how every method explains it."""

from collections.abc import Sequence
import math
from typing import Any, NamedTuple

from matplotlib import figure
import numpy as np

from saliency_jax.viz import drawings
from saliency_jax.viz import texts

# Sizes in inches; a tile is a square with a title above and lines below.
_TILE, _GAP, _TITLE = 2.1, 0.14, 0.26
# The lines below a tile: the space around them, the height of each, and how
# many characters it and all of them hold.
_AROUND, _LINE, _WIDTH, _MOST = 0.14, 0.12, 38, 240
_PANEL, _MARGIN, _HEADER, _BAR = 2.9, 0.22, 0.36, 0.62
# The predictions below the photo: the space above them, and the line of each.
_BAR_GAP, _BAR_ROW = 0.24, 0.36
_BEST = '#1f5fa8'
_OTHER = '#b9c4d0'


class Tile(NamedTuple):
  """One map of a contact sheet.

  Attributes:
    title: the method's name.
    scores: `[h, w, c]`, with the height and width of the photo.
    drawing: how they become colours.
    caption: diagnostics.
    warning: why the map is not to be trusted, below the caption and marked.
  """

  title: str
  scores: drawings.Scores
  drawing: drawings.Drawing = drawings.MAGNITUDE
  caption: str = ''
  warning: str = ''


def contact_sheet(
  image: drawings.Photo,
  tiles: Sequence[Tile],
  *,
  predictions: Sequence[tuple[str, float]] = (),
  explained: str = '',
  title: str = '',
) -> figure.Figure:
  """Draws a photo, its predictions, and one tile a method.

  Args:
    image: `[H, W, 3]` or `[H, W, 1]`, in [0, 1].
    tiles: the maps, in the order of reading.
    predictions: names and probabilities of the top classes.
    explained: name of the class that the maps explain, marked among them.
    title: of the whole sheet.

  Returns:
    A figure without pyplot state: `figure.savefig(path)`.

  Raises:
    ValueError: no tiles, or a map that cannot be drawn, by its title.
  """
  if not tiles:
    raise ValueError('expected at least one map to draw, got none')
  painted = [_paint(tile, image) for tile in tiles]
  columns = _columns(len(tiles))
  rows = math.ceil(len(tiles) / columns)
  below = [_below(tile) for tile in tiles]
  lines = max(caption.count + warning.count for caption, warning in below)
  cell = _TITLE + _TILE + _AROUND + _LINE * max(2, lines)
  width = 2 * _MARGIN + _PANEL + columns * (_TILE + _GAP) + _GAP
  # The maps may be lower than the photo, with the bars below it if any.
  bars_height = _BAR_GAP + _BAR_ROW * len(predictions) if predictions else 0.0
  body = max(rows * cell + _BAR, _TITLE + _PANEL + bars_height)
  height = 2 * _MARGIN + _HEADER + body
  fig = figure.Figure(figsize=(width, height), dpi=110, facecolor='white')

  def axes(left, top, w, h, **settings):
    """Adds axes, placed in inches from the left and from the top."""
    box = (left / width, 1 - (top + h) / height, w / width, h / height)
    return fig.add_axes(box, **settings)

  fig.text(
    _MARGIN / width,
    1 - (_MARGIN + 0.12) / height,
    title,
    fontsize=13,
    fontweight='bold',
    va='center',
  )
  top = _MARGIN + _HEADER
  photo = axes(_MARGIN, top + _TITLE, _PANEL, _PANEL)
  _show(photo, np.broadcast_to(np.asarray(image), (*image.shape[:2], 3)))
  photo.set_title('photo', fontsize=10)
  if predictions:
    bars_top = top + _TITLE + _PANEL + _BAR_GAP
    bars = axes(_MARGIN, bars_top, _PANEL, _BAR_ROW * len(predictions))
    _draw_predictions(bars, predictions, explained)
  left = _MARGIN + _PANEL + 2 * _GAP
  for i, (tile, colors) in enumerate(zip(tiles, painted, strict=True)):
    row, column = divmod(i, columns)
    ax = axes(
      left + column * (_TILE + _GAP), top + row * cell + _TITLE, _TILE, _TILE
    )
    _show(ax, colors)
    ax.set_title(texts.fit(tile.title, 30), fontsize=10)
    caption, warning = below[i]
    ax.set_xlabel(caption.text, fontsize=7, color=texts.MUTED, labelpad=3)
    if warning.text:
      ax.text(
        0.5,
        -(0.06 + _LINE * caption.count) / _TILE,
        warning.text,
        transform=ax.transAxes,
        ha='center',
        va='top',
        fontsize=7,
        color=texts.WARNING,
      )
  kinds = list(dict.fromkeys(tile.drawing for tile in tiles))
  room = columns * (_TILE + _GAP) - _GAP
  # Colour bars stand under the tiles, and a lone one is no wider than two.
  share = min(room / len(kinds), 2 * (_TILE + _GAP))
  for i, kind in enumerate(kinds):
    bar = axes(
      left + i * share, top + rows * cell + 0.24, share - 2 * _GAP, 0.11
    )
    _draw_color_bar(bar, kind)
  return fig


class _Lines(NamedTuple):
  """Text that is broken into lines."""

  text: str
  count: int


def _below(tile: Tile) -> tuple[_Lines, _Lines]:
  """Returns the caption and the warning, as they are shown."""
  warning = f'⚠ {tile.warning}' if tile.warning else ''
  shown = (texts.fit(text, _MOST, _WIDTH) for text in (tile.caption, warning))
  caption, warning = (_Lines(t, len(t.splitlines())) for t in shown)
  return caption, warning


def _columns(num: int) -> int:
  """Picks 2 to 6 columns: as wide as high, and few empty places."""
  if num <= 2:
    return 2
  wide = range(2, 7) if num < 9 else range(4, 7)
  return min(wide, key=lambda c: (-num % c + abs(c - 1.4 * math.sqrt(num)), c))


def _paint(tile: Tile, image: Any) -> np.ndarray:
  try:
    return drawings.paint(tile.drawing, tile.scores, image)
  except ValueError as e:
    raise ValueError(f'cannot draw {tile.title!r}: {e}') from e


def _show(ax, pixels: np.ndarray) -> None:
  ax.imshow(pixels, interpolation='nearest')
  ax.set_xticks([])
  ax.set_yticks([])
  for spine in ax.spines.values():
    spine.set_linewidth(0.6)
    spine.set_color('#999999')


def _draw_predictions(ax, predictions, explained: str) -> None:
  """Draws the probabilities as bars, each under its class's name."""
  for i, (name, probability) in enumerate(predictions):
    color = _BEST if name == explained else _OTHER
    ax.barh(i, 1.0, height=0.3, color='#eef1f4')
    ax.barh(i, probability, height=0.3, color=color)
    weight = 'bold' if name == explained else 'normal'
    where = {'fontsize': 8, 'fontweight': weight, 'va': 'bottom'}
    ax.text(0, i - 0.2, texts.fit(name, 36), **where)
    ax.text(1, i - 0.2, f'{probability:.1%}', ha='right', **where)
  ax.set_xlim(0, 1)
  ax.set_ylim(len(predictions) - 0.7, -0.75)
  ax.set_axis_off()


def _draw_color_bar(ax, kind: drawings.Drawing) -> None:
  ramp = np.linspace(kind.low, 1, 256)[None]
  ax.imshow(
    ramp, aspect='auto', cmap=kind.colors, extent=(0, 1, 0, 1), vmin=kind.low
  )
  ax.set_title(kind.label, fontsize=8, pad=3)
  ax.set_yticks([])
  ax.set_xticks([0, 1], labels=kind.ends, fontsize=7)
  ax.tick_params(length=0, pad=2)
  for label, side in zip(ax.get_xticklabels(), ('left', 'right'), strict=True):
    label.set_horizontalalignment(side)
