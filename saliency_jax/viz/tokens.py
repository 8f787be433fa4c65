"""Tokens as coloured text, in a figure."""

from collections.abc import Sequence
import textwrap

from matplotlib import figure
from matplotlib import font_manager
from matplotlib import patches
from matplotlib import textpath
import numpy as np

from saliency_jax.viz import players
from saliency_jax.viz import texts

# Sizes in points, 72 an inch.
_FONT, _SMALL = 12.0, 6.5
_MARGIN, _PAD, _GAP = 14.0, 3.0, 4.0
_BOX, _LINE = 18.0, 8.5
_BAR_WIDTH, _BAR_HEIGHT = 130.0, 8.0
# Characters of a token that are shown.
_LONGEST = 60
_MARKS = (
  'underlined: the 95% interval leaves out 0; dashed: the value is negative'
)


def tokens(
  values: players.Values,
  names: Sequence[str],
  *,
  margin: players.Values | None = None,
  limit: float | int | None = None,
  title: str = '',
  caption: str = '',
  warning: str = '',
  width: float | int = 8.0,
) -> figure.Figure:
  """Draws tokens on the colours of their values, each value below its token.

  Letters that matplotlib's font lacks, such as Chinese ones, are drawn as
  boxes, with a warning of matplotlib: `tokens_html` shows every letter.

  Args:
    values: one a token, in any shape.
    names: the texts of the tokens, in their order.
    margin: half of the 95% interval of each, as `info.margin`: draws it.
    limit: the value of the deepest colour, for texts that share a scale; `None`
      takes the largest size.
    title: above the text.
    caption: one line of diagnostics.
    warning: why the values are not to be trusted, marked.
    width: of the figure, in inches; at least 2.

  Returns:
    A figure without pyplot state: `figure.savefig(path)`.

  Raises:
    ValueError: values, names or margins that do not go together, a bad
      width.
  """
  drawn = players.of(values, names, margin=margin, limit=limit)
  if not 2 <= width < 100:
    raise ValueError(f'width is {width}, expected inches in [2, 100)')
  names = [texts.plain(texts.visible(name, _LONGEST)) for name in drawn.names]
  numbers = [[drawn.number(value)] for value in drawn.values]
  if drawn.half.any():
    for lines, half in zip(numbers, drawn.half, strict=True):
      lines.append(f'± {drawn.number(half).lstrip("+")}' if half else '')
  inside = 72 * width - 2 * _MARGIN
  sizes = [
    _width(name, lines) for name, lines in zip(names, numbers, strict=True)
  ]
  places = _places(sizes, inside)
  row = _BOX + _LINE * len(numbers[0]) + 3 * _GAP
  head = _header(title, caption, inside)
  foot = _footer(drawn.half.any(), warning, inside)
  top = _MARGIN + sum(size for *_, size in head)
  bottom = top + row * (1 + places[-1][1])
  below = bottom + 2 * _GAP + 1.5 * _LINE
  height = below + sum(size for *_, size in foot) + _MARGIN
  fig = figure.Figure(figsize=(width, height / 72), dpi=110, facecolor='white')
  ax = fig.add_axes((0, 0, 1, 1))
  ax.set_axis_off()
  for y, lines in ((_MARGIN, head), (below, foot)):
    for text, style, size in lines:
      ax.text(_MARGIN, y, text, va='top', **style)
      y += size
  signs = drawn.signs()
  fills = players.colors(drawn.values, drawn.scale, depth=players.LIGHT)
  for i, (left, line) in enumerate(places):
    x, y = _MARGIN + left, top + row * line
    ax.add_patch(patches.Rectangle((x, y), sizes[i], _BOX, facecolor=fills[i]))
    middle = {'ha': 'center', 'color': texts.DARK}
    x += sizes[i] / 2
    ax.text(
      x, y + _BOX / 2, names[i], fontsize=_FONT, va='center_baseline', **middle
    )
    if signs[i]:
      ends = x + np.array([-0.5, 0.5]) * sizes[i]
      style = '-' if signs[i] > 0 else (0, (2.5, 1.5))
      ax.plot(ends, [y + _BOX] * 2, color=texts.DARK, lw=1.2, ls=style)
    for k, number in enumerate(numbers[i]):
      under = y + _BOX + 2.5 + _LINE * k
      ax.text(x, under, number, fontsize=_SMALL, va='top', **middle)
  _legend(ax, drawn, bottom + _GAP)
  ax.set_xlim(0, 72 * width)
  ax.set_ylim(height, 0)
  ax.set_aspect('auto')
  return fig


def _places(sizes, inside):
  """Returns where each token starts, and on which line."""
  places, left, line = [], 0.0, 0
  for size in sizes:
    if left and left + size > inside:
      left, line = 0.0, line + 1
    places.append((left, line))
    left += size + _GAP
  return places


def _width(name, lines):
  """Returns the points that a token and the numbers below it take."""
  small = max(_measured(line, _SMALL) for line in lines)
  return max(_measured(name, _FONT) + 2 * _PAD, small)


def _measured(text, size):
  if not text:
    return 0.0
  font = font_manager.FontProperties(size=size)
  plain = text.replace(r'\$', '$')
  measure = textpath.TextToPath().get_text_width_height_descent
  return measure(plain, font, ismath=False)[0]


def _header(title, caption, inside):
  """Returns the lines above the text: each with its style and its height."""
  lines = _wrapped(title, 13, texts.DARK, 'bold', inside)
  lines += _wrapped(caption, 9, texts.MUTED, 'normal', inside)
  if lines:
    lines[-1] = (*lines[-1][:2], lines[-1][2] + _GAP)
  return lines


def _footer(marked, warning, inside):
  """Returns the lines below the text: the marks, and the warning under all."""
  lines = _wrapped(_MARKS if marked else '', 8, texts.MUTED, 'normal', inside)
  text = warning and f'⚠ {warning}'
  return lines + _wrapped(text, 9, texts.WARNING, 'normal', inside)


def _wrapped(text, size, color, weight, inside):
  chars = max(10, int(inside / (0.62 * size)))
  style = {'fontsize': size, 'color': color, 'fontweight': weight}
  lines = textwrap.wrap(texts.plain(text), chars)
  return [(line, style, 1.5 * size) for line in lines]


def _legend(ax, drawn, y):
  """Draws the scale of the colours."""
  lowers, raises = players.ENDS
  style = {'fontsize': 8, 'color': texts.MUTED, 'va': 'center'}
  low = f'{lowers} {drawn.number(-drawn.scale)}'
  high = f'{drawn.number(drawn.scale)} {raises}'
  left = _MARGIN + _measured(low, 8) + _GAP
  right, middle = left + _BAR_WIDTH, y + _BAR_HEIGHT / 2
  ramp = players.colors(np.linspace(-1, 1, 128), 1.0, depth=players.LIGHT)
  ax.imshow(ramp[None], extent=(left, right, y + _BAR_HEIGHT, y))
  ax.text(_MARGIN, middle, low, **style)
  ax.text(right + _GAP, middle, high, **style)
