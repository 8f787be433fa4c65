"""The tables of the READMEs, from the configs' claims and the kept results."""

from collections.abc import Iterator, Mapping
import pathlib
from typing import Any, NamedTuple

from experiments.core import claims as claiming
from experiments.core import files
from experiments.core import verdicts
from experiments.reproduction import runs
from experiments.reproduction import stored

BEGIN, END = '<!-- generated: verdicts -->', '<!-- end -->'
NOT_RUN = 'not run'
_WORDS = (
  verdicts.REPRODUCED,
  verdicts.REFUTED,
  verdicts.UNDECIDED,
  verdicts.INTERVAL,
  verdicts.SEEN,
  NOT_RUN,
)


class Row(NamedTuple):
  """A claim of a run, and its verdict where it was run."""

  run: runs.Run
  claim: Mapping[str, Any]
  verdict: Mapping[str, Any] | None
  minutes: float
  data: str

  @property
  def word(self) -> str:
    """Of the claim: one of `verdicts`, or that it was not run."""
    return NOT_RUN if self.verdict is None else self.verdict['verdict']


def rows(results: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
  """Yields every claim of every run, in their order.

  A result of other comparisons than the config has now is none of its claim.
  """
  for run in runs.ALL:
    result = results.get(run.name, {'verdicts': [], 'minutes': run.minutes})
    kept = {
      _key(v, map(_parts, v['comparisons'])): v for v in result['verdicts']
    }
    config = runs.config_of(run.name)
    data = config.get('data', 'functions')
    data = data if isinstance(data, str) else data['name']
    for claim in config['claims']:
      decides = map(claiming.parts, claim['decides'])
      found = kept.get(_key(claim, decides))
      yield Row(run, claim, found, result['minutes'], data)


def claims(found: list[Row]) -> str:
  """Returns the table of all claims, one of each paper."""
  parts = []
  for paper, source in claiming.PAPERS.items():
    mine = [row for row in found if row.claim['paper'] == paper]
    title = source if paper == 'none' else f'{paper}: {source}'
    parts.append(f'### {title[0].upper()}{title[1:]}')
    lines = ['| claim | verdict | effect | command |', '|---|---|---|---|']
    parts.append('\n'.join(lines + [_line(row) for row in mine]))
  return '\n\n'.join(parts)


def papers(found: list[Row]) -> str:
  """Returns the table of how many claims of each paper came to what."""
  lines = [f'| paper | {" | ".join(_WORDS)} |', '|---|' + '---|' * len(_WORDS)]
  for paper, source in claiming.PAPERS.items():
    words = [row.word for row in found if row.claim['paper'] == paper]
    title = source if paper == 'none' else f'{paper} ({source})'
    counts = ' | '.join(str(words.count(word)) for word in _WORDS)
    lines.append(f'| {title} | {counts} |')
  return '\n'.join(lines)


def put(path: pathlib.Path, text: str) -> None:
  """Puts a text between the markers of a file.

  Raises:
    ValueError: the file has no markers.
  """
  before, begin, rest = path.read_text().partition(f'{BEGIN}\n')
  _, end, after = rest.partition(f'{END}\n')
  if not (begin and end):
    raise ValueError(f'{path.name} has no lines {BEGIN} and {END}')
  whole = f'{before}{begin}\n{text}\n\n{end}{after}'
  files.write_bytes(path, whole.encode())


def write(root: pathlib.Path = runs.ROOT) -> None:
  """Writes both tables."""
  found = list(rows(stored.read()))
  put(root / 'experiments' / 'README.md', claims(found))
  put(root / 'README.md', papers(found))


def _key(claim, comparisons):
  return (claim['claim'], claim['where'], claim['rule'], *comparisons)


def _parts(c):
  """Returns what `claims.parts` does, of a comparison that was made."""
  named = (c['metric'], c['a'], c['b'], c['direction'])
  return (*named, c.get('margin', 0.0))


def _line(row):
  where = f' ({"; ".join(filter(None, (row.claim["where"], row.data)))})'
  took = f'{row.minutes:.0f}' if row.minutes >= 1 else '1'
  cells = (
    row.claim['claim'] + where,
    _verdict(row),
    _effect(row),
    f'`{row.run.name}`, {took} min',
  )
  return f'| {" | ".join(cells)} |'


def _verdict(row):
  """Returns the word, and how many comparisons say what."""
  if row.verdict is None or len(row.verdict['comparisons']) == 1:
    return row.word
  words = [c['verdict'] for c in row.verdict['comparisons']]
  if len(set(words)) == 1 and words[0] == row.word:
    return row.word
  counts = [f'{words.count(w)} {w}' for w in _WORDS if w in words]
  return f'{row.word}: {", ".join(counts)}'


def _effect(row):
  """Returns the effect that decides: of all, the one that supports least."""
  if row.verdict is None:
    return ''

  def support(c):
    side = claiming.DIRECTIONS[c['direction']]
    holds = side * float(c['mean']) + c.get('margin', 0) > 0
    return (1 if holds else -1) * (1 - (c['p'] or 0))

  c = min(row.verdict['comparisons'], key=support)
  against = f'`{c["b"]}`' if isinstance(c['b'], str) else f'{c["b"]:g}'
  trend = c['direction'] in claiming.TRENDS
  compared = f'`{c["a"]}` {"with" if trend else "less"} {against}'
  by = f', margin {c["margin"]:g}' if c.get('margin') else ''
  n = c['clusters']
  return f'{c["metric"]}, {compared}: {verdicts.effect(c)}, n = {n}{by}'
