"""Tokens as coloured text, in HTML."""

from collections.abc import Sequence
import html

import numpy as np

from saliency_jax.viz import players
from saliency_jax.viz import texts

_FIGURE = (
  'margin:0;padding:.5em;color:#111;background:#fff;'
  'font:16px/1.5 system-ui,sans-serif'
)
_TOKEN = 'padding:.1em .25em;border-radius:.2em;border-bottom:.15em'
_CELL = 'padding:0 .8em 0 0;text-align:left'
_SIGNS = {1: 'solid #111', -1: 'dashed #111', 0: 'solid transparent'}
_MARKS = (
  'Underlined: the 95% interval leaves out 0; the line is solid where it lies '
  'above 0, dashed where it lies below.'
)


def tokens_html(
  values: players.Values,
  names: Sequence[str],
  *,
  margin: players.Values | None = None,
  limit: float | int | None = None,
  title: str = '',
  caption: str = '',
  warning: str = '',
) -> str:
  """Writes tokens on the colours of their values, for a page or a notebook.

  A pointer that rests on a token shows its value and interval; the list below
  the text has all of them. In a notebook: `IPython.display.HTML(text)`.

  Args:
    values: one a token, in any shape.
    names: the texts of the tokens, in their order; escaped here.
    margin: half of the 95% interval of each, as `info.margin`: draws it.
    limit: the value of the deepest colour, for texts that share a scale; `None`
      takes the largest size.
    title: above the text.
    caption: one line of diagnostics.
    warning: why the values are not to be trusted, marked.

  Returns:
    A `<figure>` of ASCII characters with no script, style sheet or link.

  Raises:
    ValueError: values, names or margins that do not go together.
  """
  drawn = players.of(values, names, margin=margin, limit=limit)
  signs = drawn.signs()
  fills = players.colors(drawn.values, drawn.scale, depth=players.LIGHT)
  spans, rows = [], []
  for i, name in enumerate(drawn.names):
    number, interval = drawn.number(drawn.values[i]), drawn.interval(i)
    hover = ', '.join(filter(None, (f'{name}: {number}', interval)))
    style = f'background:{_hex(fills[i])};{_TOKEN} {_SIGNS[int(signs[i])]}'
    spans.append(_tag('span', texts.visible(name), style=style, title=hover))
    rows.append((name, number, interval))
  head = ''.join(
    (
      title and f'<strong>{html.escape(title)}</strong><br>',
      caption and f'{html.escape(caption)}<br>',
    )
  )
  text = ' '.join(spans)
  foot = warning and _tag('p', f'⚠ {warning}', style='color:#b3261e')
  body = (
    f'<figcaption>{head}</figcaption>'
    f'<p dir="auto" style="line-height:2.1;overflow-wrap:anywhere">{text}</p>'
    f'{_legend(drawn)}{_table(rows)}{foot}'
  )
  page = f'<figure style="{_FIGURE}">{body}</figure>'
  # Right in a file of any encoding.
  return page.encode('ascii', 'xmlcharrefreplace').decode()


def _legend(drawn):
  ends = [-drawn.scale, drawn.scale]
  lowers, raises = players.ENDS
  ramp = players.colors(np.linspace(-1, 1, 9), 1.0, depth=players.LIGHT)
  bar = (
    'display:inline-block;vertical-align:middle;width:8em;height:.8em;'
    f'background:linear-gradient(90deg,{",".join(map(_hex, ramp))})'
  )
  marks = f'<br>{_MARKS}' if drawn.half.any() else ''
  low, high = (html.escape(drawn.number(end)) for end in ends)
  return (
    f'<p style="font-size:.8em;color:#444">{lowers} {low} '
    f'<span style="{bar}"></span> {high} {raises}{marks}</p>'
  )


def _table(rows):
  body = ''.join(
    f'<tr>{"".join(_tag("td", cell, style=_CELL) for cell in row)}</tr>'
    for row in rows
  )
  return (
    '<details style="font-size:.8em"><summary>The numbers</summary>'
    f'<table style="color:#111;background:#fff">{body}</table></details>'
  )


def _tag(name, text, **attributes):
  given = ''.join(f' {k}="{html.escape(v)}"' for k, v in attributes.items())
  return f'<{name}{given}>{html.escape(text)}</{name}>'


def _hex(color):
  return '#' + ''.join(f'{round(255 * c):02x}' for c in color)
