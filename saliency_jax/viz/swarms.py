"""Many rows of a table: the values of each column, one point a row."""

from collections.abc import Sequence

from matplotlib import cm
from matplotlib import colors
from matplotlib import figure
import numpy as np
from scipy import stats

from saliency_jax.core import checks
from saliency_jax.viz import frames
from saliency_jax.viz import players
from saliency_jax.viz import texts

# Not the colours of signs: these say how large an entry of the table is.
_COLORS = 'viridis'
_WIDTH, _LINE, _REST = 7.5, 0.5, 1.2
_LONGEST = 32
# Places along the axis that points share, and how far they move apart.
_NUM_BINS, _STEP, _MOST = 120, 0.06, 0.4


def beeswarm(
  values: players.Values,
  names: Sequence[str] | None = None,
  *,
  x: players.Values | None = None,
  margin: players.Values | None = None,
  num_shown: int = 10,
  title: str = '',
  caption: str = '',
  warning: str = '',
) -> figure.Figure:
  """Draws a point a row in each column, the columns of largest values on top.

  Args:
    values: `[rows, players]`, in units of the score.
    names: of the players, in their order; `None` counts them.
    x: the rows themselves, `[rows, players]`: their places within each column
      are the colours of the points.
    margin: half of the 95% interval of each, as `info.margin`: draws it.
    num_shown: players that are drawn, by their mean size over the rows.
    title: above the points.
    caption: one line of diagnostics.
    warning: why the values are not to be trusted, marked.

  Returns:
    A figure without pyplot state: `figure.savefig(path)`.

  Raises:
    ValueError: values that are no table; names, rows or margins that do
      not go together with them.
  """
  values = players.finite('values', values)
  if values.ndim != 2 or not values.size:
    raise ValueError(
      f'got values {values.shape}, expected [rows, players]: one row takes '
      'viz.bars'
    )
  checks.count('num_shown', num_shown)
  size = np.mean(np.abs(values), 0)
  drawn = players.of(size, names)
  half = players.of(values, None, margin=margin).half.reshape(values.shape)
  shades = _places(x, values.shape)
  shown = np.argsort(-size, kind='stable')[:num_shown]
  height = _REST + _LINE * len(shown)
  fig = frames.start(_WIDTH, height, title=title, warning=warning)
  ax = fig.subplots()
  ax.axvline(0, color=texts.DARK, lw=0.8)
  span = np.ptp(values[:, shown]) or 1.0
  for line, i in enumerate(shown):
    y = line + _apart(values[:, i], span)
    if half.any():
      ax.hlines(
        y,
        values[:, i] - half[:, i],
        values[:, i] + half[:, i],
        color='#b0b0b0',
        lw=0.6,
        zorder=1,
      )
    ax.scatter(
      values[:, i],
      y,
      s=13,
      c=texts.MUTED if shades is None else shades[:, i],
      cmap=None if shades is None else _COLORS,
      vmin=None if shades is None else 0,
      vmax=None if shades is None else 1,
      edgecolors='none',
      zorder=2,
    )
  labels = [
    f'{texts.plain(texts.visible(drawn.names[i], _LONGEST))}\n'
    f'mean size {drawn.number(size[i]).lstrip("+")}'
    for i in shown
  ]
  ax.set_yticks(range(len(shown)), labels)
  ax.set_ylim(len(shown) - 0.5, -0.5)
  frames.bare(ax, grid=True)
  ax.set_xlabel(players.DIRECTIONS, fontsize=9)
  frames.caption(ax, players.noted(caption, half), _WIDTH)
  if shades is not None:
    scale = cm.ScalarMappable(colors.Normalize(0, 1), _COLORS)
    bar = fig.colorbar(scale, ax=ax, aspect=30, pad=0.02)
    bar.set_ticks([0, 1], labels=['lowest', 'highest'])
    bar.set_label('entry of the column, by its rank', fontsize=9)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)
  return fig


def _places(x, shape):
  """Returns each entry's place in its column, in [0, 1], ties in the middle."""
  if x is None:
    return None
  x = players.finite('entries of x', x)
  if x.shape != shape:
    raise ValueError(
      f'x is {x.shape}, the values {shape}: expected the rows that they '
      'explain, one entry a player'
    )
  ranks = stats.rankdata(x, axis=0)
  return (ranks - 0.5) / len(x)


def _apart(values, span):
  """Returns how far points go up or down, so that near ones stand apart."""
  bins = np.round(_NUM_BINS * values / span).astype(np.int64)
  offsets = np.zeros(len(values))
  for place in np.unique(bins):
    (found,) = np.nonzero(bins == place)
    k = np.arange(len(found))
    # 0, 1, -1, 2, -2, ...
    steps = np.where(k % 2, 1, -1) * ((k + 1) // 2)
    step = min(_STEP, _MOST / max(1, len(found) // 2))
    offsets[found] = step * steps
  return offsets
