"""One row of a table: its values as bars, and as a waterfall."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxtyping import Array, Float
from matplotlib import figure
import numpy as np

from saliency_jax.core import checks
from saliency_jax.viz import frames
from saliency_jax.viz import players
from saliency_jax.viz import texts

Number = float | int | Float[Array, ''] | Float[np.ndarray, '']

# Inches: of one bar, and of what stands above and below the bars.
_BAR, _REST, _WIDTH = 0.3, 1.1, 7.0
_LONGEST = 40
# Where values leave out less than this share of the score, it is rounding.
_ROUNDING = 1e-3


class Bars(NamedTuple):
  """What is drawn from top to bottom.

  Attributes:
    names: of the bars.
    values: their signed lengths.
    half: half the widths of their intervals; 0 where there is none.
    colors: RGB.
  """

  names: list[str]
  values: np.ndarray
  half: np.ndarray
  colors: np.ndarray


def bars(
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
  """Draws the values of one row as bars, the largest on top.

  Args:
    values: one a player, in any shape.
    names: of the players, in their order; `None` counts them.
    x: the row itself, one entry a player, written beside the names.
    margin: half of the 95% interval of each, as `info.margin`: draws it.
    num_shown: bars of players; the others are summed in one, whose interval is
      not known.
    title: above the bars.
    caption: one line of diagnostics.
    warning: why the values are not to be trusted, marked.

  Returns:
    A figure without pyplot state: `figure.savefig(path)`.

  Raises:
    ValueError: values, names, entries or margins that do not go
      together, no bars.
  """
  drawn = players.of(values, names, margin=margin)
  rows = _rows(drawn, x, num_shown)
  fig, ax = _axes(rows, title, warning)
  places = np.arange(len(rows.values))
  ax.barh(places, rows.values, height=0.68, color=rows.colors)
  _intervals(ax, rows.values, rows.half, places)
  _numbers(ax, drawn, rows, rows.values, places)
  _limits(ax, np.zeros(1), rows.values, rows.half, _chars(drawn, rows))
  ax.axvline(0, color=texts.DARK, lw=0.8)
  ax.set_xlabel(players.DIRECTIONS, fontsize=9)
  frames.caption(ax, players.noted(caption, rows.half), _WIDTH)
  return fig


def waterfall(
  values: players.Values,
  names: Sequence[str] | None = None,
  *,
  score: Number,
  baseline_score: Number,
  x: players.Values | None = None,
  margin: players.Values | None = None,
  num_shown: int = 10,
  title: str = '',
  caption: str = '',
  warning: str = '',
) -> figure.Figure:
  """Draws how the values of one row lead from one score to another.

  What they leave out, as values that need not add up do, is a hatched bar of
  its own.

  Args:
    values: one a player, in any shape.
    names: of the players, in their order; `None` counts them.
    score: of the row: `info.score`.
    baseline_score: with every player hidden: `info.baseline_score`.
    x: the row itself, one entry a player, written beside the names.
    margin: half of the 95% interval of each, as `info.margin`: draws it where
      its bar ends.
    num_shown: bars of players; the others are summed in one, whose interval is
      not known.
    title: above the bars.
    caption: one line of diagnostics.
    warning: why the values are not to be trusted, marked.

  Returns:
    A figure without pyplot state: `figure.savefig(path)`.

  Raises:
    ValueError: values, names, entries, margins or scores that do not go
      together, no bars.
  """
  drawn = players.of(values, names, margin=margin)
  first, last = (
    float(players.finite(name, np.asarray(value)))
    for name, value in (('baseline_score', baseline_score), ('score', score))
  )
  rows = _rows(drawn, x, num_shown)
  left_out = last - first - np.sum(drawn.values)
  adds_up = abs(left_out) <= _ROUNDING * max(abs(last - first), drawn.scale)
  if not adds_up:
    rows = Bars(
      [*rows.names, 'not accounted for'],
      np.append(rows.values, left_out),
      np.append(rows.half, 0.0),
      np.concatenate([rows.colors, players.pale(np.array([left_out]))]),
    )
  ends = first + np.cumsum(rows.values)
  starts = np.append(first, ends[:-1])
  fig, ax = _axes(rows, title, warning)
  places = np.arange(len(ends))
  ax.barh(
    places,
    rows.values,
    left=starts,
    height=0.68,
    color=rows.colors,
  )
  if not adds_up:
    ax.patches[-1].set(hatch='///', edgecolor=texts.MUTED, linewidth=0)
  _intervals(ax, ends, rows.half, places)
  _numbers(ax, drawn, rows, ends, places)
  _limits(ax, starts, ends, rows.half, _chars(drawn, rows))
  # Each bar hands on where it ends.
  ax.vlines(
    ends[:-1], places[:-1] - 0.34, places[1:] + 0.34, color=players.GREY, lw=0.7
  )
  write = players.formatter(np.array([first, last]))
  low, high = ax.get_xlim()
  for value, place, name in (
    (first, -0.75, 'with every player hidden'),
    (last, len(ends) - 0.25, 'score'),
  ):
    ax.axvline(value, color=players.GREY, lw=0.8, ls=':', zorder=0)
    # Towards the middle of the figure.
    ax.annotate(
      f'{name}: {write(value).lstrip("+")}',
      (value, place),
      xytext=(3 if value < (low + high) / 2 else -3, 0),
      textcoords='offset points',
      ha='left' if value < (low + high) / 2 else 'right',
      va='center',
      fontsize=9,
    )
  ax.set_ylim(len(ends) + 0.1, -1.1)
  frames.caption(ax, players.noted(caption, rows.half), _WIDTH)
  return fig


def _rows(drawn, x, num_shown):
  """Returns the bars of the largest values, and one for the others."""
  checks.count('num_shown', num_shown)
  names = list(drawn.names)
  ends = len(names) * ['']
  if x is not None:
    entries = np.asarray(x, np.float64).ravel()
    if entries.size != len(names):
      raise ValueError(
        f'x has {entries.size} entries, and there are {len(names)} values: '
        'expected one a player, or none for players that are groups'
      )
    ends = [f' = {entry:.4g}' for entry in entries]
  # A long name is cut, and its entry is not.
  names = [
    texts.plain(texts.visible(name, _LONGEST - len(end)) + end)
    for name, end in zip(names, ends, strict=True)
  ]
  order = np.argsort(-np.abs(drawn.values), kind='stable')
  # A bar for the sum of one takes no less room than the one.
  num = num_shown if len(order) > num_shown + 1 else len(order)
  shown, others = order[:num], order[num:]
  values, half = drawn.values[shown], drawn.half[shown]
  colors = players.strong(values)
  names = [names[i] for i in shown]
  if others.size:
    names.append(f'sum of {others.size} others')
    rest = np.sum(drawn.values[others])
    values, half = np.append(values, rest), np.append(half, 0.0)
    colors = np.concatenate([colors, players.pale(np.array([rest]))])
  return Bars(names, values, half, colors)


def _axes(rows: Bars, title: str, warning: str) -> tuple[figure.Figure, Any]:
  height = _REST + _BAR * len(rows.names)
  fig = frames.start(_WIDTH, height, title=title, warning=warning)
  ax = fig.subplots()
  ax.set_yticks(range(len(rows.names)), rows.names)
  ax.set_ylim(len(rows.names) - 0.4, -0.6)
  frames.bare(ax, grid=True)
  return fig, ax


def _chars(drawn, rows):
  return max(len(drawn.number(value)) for value in rows.values)


def _limits(ax, starts, ends, half, chars):
  """Leaves room for the intervals, and the numbers beside them."""
  low = min(np.min(starts), np.min(ends - half))
  high = max(np.max(starts), np.max(ends + half))
  room = max(0.14, 0.022 * chars) * (high - low) or 1.0
  ax.set_xlim(low - room, high + room)


def _intervals(ax, ends, half, places):
  known = half > 0
  if known.any():
    ax.errorbar(
      ends[known],
      places[known],
      xerr=half[known],
      fmt='none',
      ecolor=texts.DARK,
      elinewidth=1.0,
      capsize=2.5,
    )


def _numbers(ax, drawn, rows, ends, places):
  """Writes each value beyond the end of its bar and of its interval."""
  for value, half, end, place in zip(
    rows.values, rows.half, ends, places, strict=True
  ):
    side = 1 if value >= 0 else -1
    ax.annotate(
      drawn.number(value),
      (end + side * half, place),
      xytext=(4 * side, 0),
      textcoords='offset points',
      ha='left' if side > 0 else 'right',
      va='center',
      fontsize=8,
    )
