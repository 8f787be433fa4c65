"""Series: curves over the colours of their times."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array, Float
from matplotlib import figure
import numpy as np

from saliency_jax.core import checks
from saliency_jax.viz import frames
from saliency_jax.viz import players
from saliency_jax.viz import texts

Series = (
  Float[Array, 'T']
  | Float[np.ndarray, 'T']
  | Float[Array, 'T C']
  | Float[np.ndarray, 'T C']
)

_WIDTH, _CURVE, _BARS, _REST = 8.0, 1.1, 0.8, 0.9
_MOST_CHANNELS = 16
_LONGEST = 24


def series(
  values: players.Values,
  names: Sequence[str] | None = None,
  *,
  x: Series,
  width: int = 1,
  times: Sequence[float] | np.ndarray | None = None,
  margin: players.Values | None = None,
  limit: float | int | None = None,
  title: str = '',
  caption: str = '',
  warning: str = '',
) -> figure.Figure:
  """Draws the channels of a series on the colours of their windows' values.

  Args:
    values: one a window for all channels, `[windows]` or `[windows, 1]`, or one
      for each channel, `[windows, C]`: `info.values`, or `masker(x).pool(maps)`
      of a map.
    names: of the channels; `None` counts them.
    x: the series, `[T, C]` or `[T]`.
    width: times in a window, as of `maskers.steps`; the last may have fewer.
    times: `[T]`, rising, where they are not 0, 1, 2 and so on.
    margin: half of the 95% interval of each, as `info.margin`: draws it
      around the bar below the curves.
    limit: the value of the deepest colour, for series that share a scale;
      `None` takes the largest size.
    title: above the curves.
    caption: one line of diagnostics.
    warning: why the values are not to be trusted, marked.

  Returns:
    A figure without pyplot state: `figure.savefig(path)`.

  Raises:
    ValueError: values, names, times or margins that do not go together
      with the series.
  """
  x = players.finite('entries of x', x)
  x = x[:, None] if x.ndim == 1 else x
  num_times, num_channels = x.shape
  if not 1 <= num_channels <= _MOST_CHANNELS:
    raise ValueError(
      f'got {num_channels} channels, expected at most {_MOST_CHANNELS} in a '
      f'figure: draw some of them, x[:, :{_MOST_CHANNELS}]'
    )
  checks.count('width', width, 1, num_times)
  shape = np.shape(values)
  windows = -(-num_times // width)
  if shape not in ((windows,), (windows, 1), (windows, num_channels)):
    raise ValueError(
      f'values {shape} do not fit a series {x.shape} in windows of {width}: '
      f'expected [{windows}], [{windows}, 1] or [{windows}, {num_channels}], '
      'which are info.values, or masker(x).pool(maps) of a map'
    )
  drawn = players.of(values, None, margin=margin, limit=limit)
  names = [str(c) for c in range(num_channels)] if names is None else names
  if len(names) != num_channels:
    raise ValueError(
      f'got {len(names)} names and {num_channels} channels, expected one name '
      'a channel'
    )
  unit = 'time step' if times is None else 'time'
  times = _times(times, num_times)
  edges = _edges(times, width)
  table = drawn.values.reshape(windows, -1)
  half = drawn.half.reshape(windows, -1)
  shared = table.shape[1] == 1
  sizes = num_channels * [_CURVE] + [_BARS]
  if not shared:
    sizes = num_channels * [_CURVE, _BARS]
  fig = frames.start(_WIDTH, _REST + sum(sizes), title=title, warning=warning)
  axes = np.atleast_1d(
    fig.subplots(len(sizes), sharex=True, height_ratios=sizes)
  )
  curves = axes[:num_channels] if shared else axes[::2]
  below = axes[num_channels:] if shared else axes[1::2]
  fills = players.colors(table, drawn.scale, depth=players.LIGHT)
  for c, ax in enumerate(curves):
    _curve(ax, times, x[:, c], edges, fills[:, 0 if shared else c])
    name = texts.plain(texts.visible(str(names[c]), _LONGEST))
    ax.set_ylabel(name, fontsize=9)
  most = max(drawn.scale, np.max(np.abs(drawn.values) + drawn.half))
  for c, ax in enumerate(below):
    _bars(ax, edges, table[:, c], half[:, c], most)
  axes[-1].set_xlim(edges[0], edges[-1])
  axes[-1].set_xlabel(unit, fontsize=9)
  frames.caption(axes[0], players.noted(caption, half), _WIDTH)
  frames.color_bar(fig, axes, drawn, depth=players.LIGHT)
  return fig


def _curve(ax, times, channel, edges, fills):
  for left, right, fill in zip(edges[:-1], edges[1:], fills, strict=True):
    ax.axvspan(left, right, color=fill, lw=0)
  marker = '.' if len(times) == 1 else None
  ax.plot(times, channel, color=texts.DARK, lw=1.1, marker=marker)
  frames.bare(ax)


def _bars(ax: Any, edges, values, half, most):
  """Draws the value of each window, as wide as the window."""
  places = (edges[1:] + edges[:-1]) / 2
  ax.bar(
    places, values, width=0.9 * np.diff(edges), color=players.strong(values)
  )
  known = half > 0
  if known.any():
    ax.errorbar(
      places[known],
      values[known],
      yerr=half[known],
      fmt='none',
      ecolor=texts.DARK,
      elinewidth=0.8,
      capsize=1.5,
    )
  ax.axhline(0, color=texts.DARK, lw=0.8)
  ax.set_ylim(-1.1 * most, 1.1 * most)
  ax.set_ylabel('value', fontsize=9)
  frames.bare(ax)
  frames.written_out(ax.yaxis)


def _times(times, num):
  if times is None:
    return np.arange(num, dtype=np.float64)
  times = players.finite('times', np.asarray(times))
  if times.shape != (num,) or np.any(np.diff(times) <= 0):
    raise ValueError(
      f'times are {times.shape}, the series has {num}: expected [{num}], each '
      'later than the one before'
    )
  return times


def _edges(times, width):
  """Returns the windows' ends, halfway between their times."""
  if len(times) == 1:
    return times[0] + np.array([-0.5, 0.5])
  between = (times[1:] + times[:-1]) / 2
  first, last = 2 * times[0] - between[0], 2 * times[-1] - between[-1]
  edges = np.concatenate([[first], between, [last]])
  return np.append(edges[:-1:width], last)
