"""Regions of a photo, such as superpixels: their borders and their colours."""

from jaxtyping import Array, Int
from matplotlib import collections
from matplotlib import figure
from matplotlib import patches
from matplotlib import path
import numpy as np
from scipy import ndimage

from saliency_jax.core import checks
from saliency_jax.viz import drawings
from saliency_jax.viz import frames
from saliency_jax.viz import players
from saliency_jax.viz import texts

Labels = Int[Array, '...'] | Int[np.ndarray, '...']

_PANEL, _REST, _BAR = 3.4, 0.7, 1.0
_OPACITY = 0.7
# A written value's height and width, as shares of a square photo's.
_TEXT = (0.09, 0.16)
# The share of a side in which a text in the middle of its place would hang out.
_EDGE = 0.12
_MARKS = 'hatched: the 95% interval (±) holds 0'


def segments(
  values: players.Values,
  *,
  image: drawings.Photo,
  labels: Labels,
  margin: players.Values | None = None,
  limit: float | int | None = None,
  num_shown: int = 3,
  title: str = '',
  caption: str = '',
  warning: str = '',
) -> figure.Figure:
  """Draws the borders of regions on a photo, and their values as colours.

  Args:
    values: one a region.
    image: `[H, W, 3]` or `[H, W, 1]`, in [0, 1].
    labels: `[H, W]`, the region of each pixel, as of `maskers.segments`.
    margin: half of the 95% interval of each, as `info.margin`: regions whose
      interval holds 0 are hatched.
    limit: the value of the deepest colour, for photos that share a scale;
      `None` takes the largest size.
    num_shown: regions of the largest values that have them written on; 0 for
      none.
    title: above the photo.
    caption: one line of diagnostics.
    warning: why the values are not to be trusted, marked.

  Returns:
    A figure without pyplot state: `figure.savefig(path)`.

  Raises:
    ValueError: values, labels, an image or margins that do not go
      together.
  """
  drawn = players.of(values, None, margin=margin, limit=limit)
  labels = np.asarray(labels)
  found = np.unique(labels)
  if not np.array_equal(found, np.arange(drawn.values.size)):
    raise ValueError(
      f'labels have {found.size} regions from {found[0]} to {found[-1]}, and '
      f'there are {drawn.values.size} values: expected one a region, which '
      'count from 0'
    )
  checks.count('num_shown', num_shown, 0)
  unit = np.clip(drawn.values / drawn.scale, -1, 1)
  painted = drawings.overlay(
    image,
    unit[labels],
    colors=drawings.SIGNED.colors,
    low=drawings.SIGNED.low,
    opacity=_OPACITY,
  )
  rows, columns = labels.shape
  # Both panels are as wide as a square; high photos make the figure higher.
  height = _REST + _PANEL * min(rows / columns, 3.0)
  fig = frames.start(2 * _PANEL + _BAR, height, title=title, warning=warning)
  # Room between the title and a caption of two lines.
  fig.get_layout_engine().set(h_pad=0.08)
  axes = fig.subplots(1, 2)
  photo = np.broadcast_to(np.asarray(image, np.float64), (rows, columns, 3))
  for ax, pixels in zip(axes, (photo, painted), strict=True):
    ax.imshow(pixels, interpolation='nearest')
    ax.set_axis_off()
  lines = borders(labels)
  _draw(axes[0], lines, color='#ffd400', lw=0.8)
  _draw(axes[1], lines, color=texts.DARK, lw=0.5)
  if drawn.half.any():
    _hatch(axes[1], (np.abs(drawn.values) <= drawn.half)[labels])
    caption = '; '.join(filter(None, (caption, _MARKS)))
  _write(axes[1], drawn, labels, num_shown)
  frames.caption(axes[0], caption, 2 * _PANEL)
  frames.color_bar(fig, axes, drawn)
  return fig


def borders(labels: np.ndarray) -> np.ndarray:
  """Returns the edges between pixels of different labels.

  Args:
    labels: `[H, W]`.

  Returns:
    `[edges, 2, 2]`: the two ends of each, as `(column, row)`, with pixel
    centres at whole numbers.
  """
  down, right = np.array([0.0, 1.0]), np.array([1.0, 0.0])
  upright = np.argwhere(labels[:, 1:] != labels[:, :-1])[:, ::-1]
  level = np.argwhere(labels[1:] != labels[:-1])[:, ::-1]
  starts = np.concatenate([upright + [0.5, -0.5], level + [-0.5, 0.5]])
  ways = np.concatenate(
    [np.tile(down, (len(upright), 1)), np.tile(right, (len(level), 1))]
  )
  return np.stack([starts, starts + ways], 1)


def _draw(ax, lines, **style):
  ax.add_collection(
    collections.LineCollection(list(lines), capstyle='projecting', **style),
    autolim=False,
  )


def _hatch(ax, where):
  """Draws lines over pixels `[H, W]`, each run of a row as a rectangle."""
  steps = np.diff(np.pad(where.astype(int), ((0, 0), (1, 1))))
  row, left = np.nonzero(steps > 0)
  right = np.nonzero(steps < 0)[1]
  corners = [(left, row), (right, row), (right, row + 1), (left, row + 1)]
  polygons = np.stack([np.stack(c, -1) for c in corners], 1) - 0.5
  if len(polygons):
    shape = path.Path.make_compound_path_from_polys(polygons)
    ax.add_patch(
      patches.PathPatch(
        shape, fill=False, hatch='////', edgecolor=texts.MUTED, lw=0
      )
    )


def _write(ax, drawn, labels, num_shown):
  """Writes the largest values where their regions are widest, none on another.

  A region without such a place has its value written where it is widest.
  """
  rows, columns = np.indices(labels.shape)
  free = np.ones(labels.shape, bool)
  for i in np.argsort(-np.abs(drawn.values), kind='stable')[:num_shown]:
    inside = np.pad(labels == i, 1)
    depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
    best = np.where(free, depth, 0)
    place = np.argmax(best if best.any() else depth)
    row, column = np.unravel_index(place, depth.shape)
    free &= (np.abs(rows - row) > _TEXT[0] * len(labels)) | (
      np.abs(columns - column) > _TEXT[1] * labels.shape[1]
    )
    text = drawn.number(drawn.values[i])
    if drawn.half[i]:
      text += f'\n± {drawn.number(drawn.half[i]).lstrip("+")}'
    # At an edge of the photo, towards its middle.
    ax.text(
      column,
      row,
      text,
      ha=_side(column, labels.shape[1], ('left', 'center', 'right')),
      va=_side(row, labels.shape[0], ('top', 'center', 'bottom')),
      fontsize=7.5,
      color=texts.DARK,
      bbox={'facecolor': 'white', 'alpha': 0.8, 'lw': 0, 'pad': 1.0},
    )


def _side(place, size, names):
  """Returns the first or last name near an end, and the second elsewhere."""
  share = (place + 0.5) / size
  return names[int(share > _EDGE) + int(share > 1 - _EDGE)]
