"""The parts of an HTML page that needs no other file."""

import base64
from collections.abc import Sequence
import html
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 75rem; padding: 0 1rem; color: #1d2733; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f6f8;
  padding: .8rem 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #dde3e9;
  text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .text { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff;
  box-shadow: inset -1px 0 #dde3e9; white-space: normal; min-width: 7rem; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid #1f5fa8; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
.best { font-weight: 700; color: #1f5fa8; }
.clear { background: #e3eefb; } .range { color: #66727f; font-size: .85em; }
.reproduced { color: #19703a; } .refuted { color: #b3261e; }
.undecided { color: #8a6100; }
.maps { display: flex; gap: .5rem; overflow-x: auto; padding-bottom: .5rem; }
figure { margin: 0; flex: 0 0 144px; } figure img { display: block; }
figcaption { font-size: .75rem; line-height: 1.35; color: #4a5663; }
.curves { max-width: 100%; height: auto; }
@media (max-width: 45rem) {
  body { margin: .6rem auto; padding: 0 .6rem; }
  .curves { max-width: none; height: 16rem; }
  th, td { padding: .3rem .45rem; }
}
"""

_SCRIPT = """
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, i) => head.querySelector('button').onclick = () => {
    const up = head.ariaSort !== 'ascending';
    for (const h of heads) h.removeAttribute('aria-sort');
    head.ariaSort = up ? 'ascending' : 'descending';
    const of = row => row.cells[i].dataset.value;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [of(a), of(b)], d = Number(x) - Number(y);
      return (Number.isNaN(d) ? x.localeCompare(y) : d) * (up ? 1 : -1);
    });
    table.tBodies[0].append(...rows);
  });
}
"""


def page(title: str, parts: Sequence[str]) -> str:
  """Returns a page with a title and some parts, of which some may be empty."""
  return (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">'
    f'<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>'
    + '\n'.join(filter(None, parts))
    + f'<script>{_SCRIPT}</script></body></html>\n'
  )


def section(title: str, body: str) -> str:
  """Returns a body under a title, and nothing without a body."""
  return f'<h2>{title}</h2>\n{body}' if body else ''


def figure(data: bytes, alt: str, lines: Sequence[str]) -> str:
  """Returns a thumbnail, given as JPEG, with lines under it."""
  return (
    '<figure><img width="144" height="144" loading="lazy" '
    f'alt="{html.escape(alt)}" '
    f'src="{uri(data, "jpeg")}"><figcaption>'
    f'{"<br>".join(map(html.escape, lines))}</figcaption></figure>'
  )


def table(
  header: Sequence[str], rows: Sequence[Sequence[tuple[Any, str, str]]]
) -> str:
  """Returns a sortable table of cells `(value, html, class)`."""
  heads = ''.join(
    f'<th scope="col" class="{"text" if "text" in kind else ""}">'
    f'<button>{html.escape(h) or "method"}</button></th>'
    for h, (_, _, kind) in zip(header, rows[0], strict=True)
  )
  body = '\n'.join(
    '<tr>'
    + ''.join(
      f'<td class="{kind}" data-value="{html.escape(str(value))}">{shown}</td>'
      for value, shown, kind in cells
    )
    + '</tr>'
    for cells in rows
  )
  return (
    f'<div class="wide"><table class="sortable"><thead><tr>{heads}</tr></thead>'
    f'<tbody>{body}</tbody></table></div>'
  )


def uri(data: bytes, kind: str) -> str:
  """Returns an image as an address that holds it."""
  return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'
