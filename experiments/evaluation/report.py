"""The report of an evaluation: text tables, and one HTML file of all of it.

The file needs no other: figures are inside it, and a few lines of script sort
its tables.
"""

from collections.abc import Mapping, Sequence
import html
import math
import pathlib
from typing import Any

import numpy as np

from experiments.core import app
from experiments.core import files
from experiments.core import verdicts
from experiments.evaluation import pages
from experiments.evaluation import plots
from experiments.evaluation import tuning
from experiments.tables import contenders
from experiments.tables import diagnostics
from experiments.tables import metrics


def tables(config: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
  """Returns the means, and the verdicts, as text."""
  means, seconds = summary['means'], summary['seconds']
  rows = [
    (m, *(_text(means[n][m]) for n in means), f'{seconds[m]:.2f} s')
    for m in config['methods']
  ]
  parts = [app.table(('method', *means, 'time'), rows)]
  if summary['verdicts']:
    parts.append(verdicts.table(summary['verdicts']))
  return '\n\n'.join(parts)


def write(
  folder: pathlib.Path,
  config: Mapping[str, Any],
  records: Sequence[Mapping[str, Any]],
  summary: Mapping[str, Any],
) -> None:
  """Writes `report.html`, and the figures of curves beside it.

  Args:
    folder: of the run, where its maps are.
    config: of the run.
    records: one an example.
    summary: of `summaries.summarize`.
  """
  methods = list(config['methods'])
  figures = []
  for metric, chosen in config['metrics'].items():
    names = _curve_names(records, metric)
    if names:
      axis = metrics.METRICS[chosen['name']].axis
      score = chosen['settings'].get('score', 'prob')
      data = plots.png(plots.curves(records, methods, names, axis, score))
      files.write_bytes(folder / f'curves_{metric}.png', data)
      figures.append(
        '<div class="wide"><img class="curves" '
        f'alt="curves of {html.escape(metric)}" '
        f'src="{pages.uri(data, "png")}"></div>'
      )
  # What a config says that was seen is no number of this run.
  claim, seen = _told_and_seen(config['about'])
  title = f'{config["model"]} on {len(records)} of {config["data"]}'
  parts = [
    f'<h1>{html.escape(title)}</h1>',
    _facts(records, summary),
    _absent(config),
    pages.section('Claims', _verdicts(summary['verdicts'])),
    pages.section('Warnings', _warnings(records)),
    pages.section('Tuned', _tuned(config, summary)),
    pages.section('Means', _means(config, summary) + _agreement(summary)),
    pages.section('Curves', ''.join(figures)),
    pages.section('Paired differences', _differences(methods, summary)),
    pages.section('Maps', _maps(folder, config, records)),
    pages.section('What the config says', f'<pre>{html.escape(claim)}</pre>'),
    pages.section('Seen in another run', _seen(seen)),
  ]
  files.write_bytes(folder / 'report.html', pages.page(title, parts).encode())


def _told_and_seen(about: str) -> tuple[str, str]:
  """Splits a config's text where it begins to say what was seen."""
  claim, _, seen = f'\n{about.strip()}'.partition('\nSeen')
  return claim.strip(), seen


def _warnings(records) -> str:
  lines = [f'<li>{html.escape(line)}' for line in diagnostics.counted(records)]
  return f'<ul>{"".join(lines)}</ul>' if lines else ''


def _facts(records, summary) -> str:
  right = [r['right'] for r in records if r['right'] is not None]
  known = f'; {sum(right)} of {len(right)} classified right' if right else ''
  return (
    f'<p>Each map explains the class that is predicted{known}. Intervals are '
    '95% bootstrap intervals over images, differences are of the same images; '
    'p-values are corrected by Holm for all comparisons of the config, and '
    f'fewer than {verdicts.FEWEST} images decide nothing. '
    f'{html.escape(summary["machine"])}, JAX {html.escape(summary["jax"])}.</p>'
  )


def _absent(config) -> str:
  """Names the methods of the whole config that were not run."""
  labels = html.escape(', '.join(config.get('absent', ())))
  return f'<p>Not run: {labels}.</p>' if labels else ''


def _seen(text: str) -> str:
  return (
    '<p>Quoted from the config: numbers of the run of its authors, not of this '
    f'one.</p><pre>Seen{html.escape(text.rstrip())}</pre>'
    if text
    else ''
  )


def _verdicts(found) -> str:
  """Returns a line a comparison, beside the word of its claim."""
  rows = [
    [
      (v['claim'], html.escape(v['claim']), 'text'),
      (v['verdict'], v['verdict'], f'text {_kind(v)}'),
      (verdicts.told(c), html.escape(verdicts.told(c)), 'text'),
      (c['clusters'], str(c['clusters']), ''),
      (c['mean'], _ranged(c), ''),
      (c['p'], verdicts.chance(c), ''),
      (c['verdict'], c['verdict'], f'text {_kind(c)}'),
    ]
    for v in found
    for c in v['comparisons']
  ]
  header = (
    'claim',
    'verdict',
    'comparison',
    'examples',
    'effect',
    'p, corrected',
    'by itself',
  )
  return pages.table(header, rows) if rows else ''


def _tuned(config, summary) -> str:
  """Returns a line a point of the grids, the chosen ones marked."""
  if not summary.get('tuned'):
    return ''
  given = config['tuning']
  rows = []
  for label, choice in summary['tuned'].items():
    grid = given['grids'][label]
    for settings, worth in zip(grid, choice['worth'], strict=True):
      best = 'best' if settings == choice['settings'] else ''
      words = ', '.join(f'{k} = {_short(v)}' for k, v in settings.items())
      number = '' if worth is None else _number(worth)
      rows.append(
        [
          (label, html.escape(label), ''),
          (words, html.escape(words), f'text {best}'),
          (worth or 0, number, best),
        ]
      )
  told = (
    f'The first {config["tune"]} images chose settings, and judge '
    f'nothing; the larger the better: {", ".join(given["by"])}, those that a '
    'good map has low with the other sign.'
  )
  chosen = {k: v['settings'] for k, v in summary['tuned'].items()}
  for line in tuning.told(config, chosen):
    told += f' {line}.'
  header = ('method', 'settings', 'mean')
  return f'<p>{html.escape(told)}</p>{pages.table(header, rows)}'


def _kind(verdict) -> str:
  return verdict['verdict'].partition(' ')[0]


def _agreement(summary) -> str:
  """Says in a sentence how far the metrics agree."""
  found = summary.get('agreement')
  if not found:
    return ''
  return (
    f'<p>Each of {len(found["metrics"])} columns puts the '
    f'{found["num_methods"]} methods in an order by their means. Kendall&#39;s '
    f'W of these orders is {found["w"]:.2f}: it is 1 where all of them are the '
    'same, and 0 where they have nothing in common.</p>'
  )


def _means(config, summary) -> str:
  better = metrics.columns(config['metrics'])
  best = {
    n: (min if better[n] == metrics.LOWER else max)(
      (e['mean'] for e in by_method.values() if not math.isnan(e['mean'])),
      default=None,
    )
    for n, by_method in summary['means'].items()
  }
  rows = []
  for m in config['methods']:
    cells = [(m, html.escape(m), '')]
    for n, by_method in summary['means'].items():
      entry = by_method[m]
      kind = 'best' if entry['mean'] == best[n] else ''
      cells.append((entry['mean'], _ranged(entry), kind))
    seconds = summary['seconds'][m]
    cells.append((seconds, f'{seconds:.2f}', ''))
    rows.append(cells)
  arrows = {metrics.LOWER: '↓', metrics.HIGHER: '↑'}
  header = (
    'method',
    *(f'{n} {arrows[better[n]]}' for n in summary['means']),
    'seconds',
  )
  return pages.table(header, rows)


def _differences(methods, summary) -> str:
  """Returns one table a value: row less column, marked where it is clear."""
  parts = []
  for n, by_row in summary['differences'].items():
    rows = []
    for a in methods:
      cells = [(a, html.escape(a), '')]
      for b in methods:
        entry = by_row[a].get(b)
        if entry is None:
          cells.append((0, '', ''))
          continue
        clear = entry['low'] > 0 or entry['high'] < 0
        kind = 'clear' if clear else ''
        cells.append((entry['mean'], _ranged(entry), kind))
      rows.append(cells)
    parts.append(
      f'<details><summary>{html.escape(n)}: row less column, shaded where the '
      f'interval leaves out zero</summary>{pages.table(("", *methods), rows)}'
      '</details>'
    )
  return '\n'.join(parts)


def _maps(folder, config, records) -> str:
  parts = []
  for record in records:
    path = folder / 'maps' / f'{record["index"]:05d}.npz'
    if record['index'] >= config['num_maps'] or not path.is_file():
      continue
    with np.load(path, allow_pickle=False) as f:
      arrays = dict(f)
    image = arrays['image']
    name = record['name']
    figures = [pages.figure(plots.photo(image), name, [f'photo {name}'])]
    for label, row in record['maps'].items():
      if label not in arrays:
        why = html.escape(f'{label}: {row["refused"]}')
        figures.append(f'<figure>{why}</figure>')
        continue
      drawing = contenders.drawing(config['methods'][label]['name'])
      scores = arrays[label].astype(np.float64)
      values = (f'{k} {_number(v)}' for k, v in row['values'].items())
      lines = [label, *values, row['quality']]
      alt = f'{label} of {name}'
      figures.append(
        pages.figure(plots.painted(scores, image, drawing), alt, lines)
      )
    right = {True: ', right', False: ', wrong', None: ''}[record['right']]
    parts.append(
      f'<h3>{html.escape(name)}: {html.escape(record["class"])} '
      f'({record["prob"]:.1%}{right})</h3><div class="maps">'
      f'{"".join(figures)}</div>'
    )
  return '\n'.join(parts)


def _curve_names(records, metric) -> list[str]:
  """Returns the curves of one metric, as 'metric.curve'."""
  names = dict.fromkeys(
    name
    for record in records
    for row in record['maps'].values()
    for name in row['curves']
  )
  return [n for n in names if n.rpartition('.')[0] == metric]


def _text(entry: Mapping[str, Any]) -> str:
  ends = ', '.join(_number(entry[k]) for k in ('low', 'high'))
  return f'{_number(entry["mean"])} [{ends}]'


def _ranged(entry: Mapping[str, Any]) -> str:
  ends = ', '.join(_number(entry[k]) for k in ('low', 'high'))
  return f'{_number(entry["mean"])} <span class="range">[{ends}]</span>'


def _short(value: Any) -> str:
  return f'{value:g}' if isinstance(value, float) else str(value)


def _number(value: float | str) -> str:
  return f'{float(value):#.3g}'
