"""What a sweep of trainings shows: means of the metrics, over the seeds."""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

import numpy as np

from experiments.core import app
from experiments.core import records
from experiments.core import verdicts
from experiments.training import judging


def summarize(
  folder: pathlib.Path,
  config: Mapping[str, Any],
  runs: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
  """Returns the means of each point of the sweep, over its seeds.

  `spread` is the standard deviation over the seeds of the runs' means, `None`
  of one seed; `error` the standard error over all their examples.
  """
  groups: dict[str, list[str]] = {}
  for name in runs:
    parts = [p for p in name.split(',') if not p.startswith('seed=')]
    groups.setdefault(','.join(parts) or 'run', []).append(name)
  rows, by_seed = {}, {}
  for group, names in groups.items():
    columns = {}
    found = [records.read(folder / n / judging.FOLDER).values() for n in names]
    for column in judging.COLUMNS:
      values = [[r[column] for r in f if r[column] is not None] for f in found]
      if all(values):
        columns[column] = _mean(values)
      by_seed.setdefault(column, {})[group] = [
        float(np.mean(v)) if v else np.nan for v in values
      ]
    right = [[_right(folder / n)] for n in names]
    by_seed.setdefault('accuracy', {})[group] = [v for (v,) in right]
    columns['accuracy'] = _mean(right) | {'error': None}
    rows[group] = {'runs': names, 'means': columns}
  return {
    'about': config['about'],
    'num_examples': config['judge']['num_examples'],
    'rows': rows,
    # A network is one example of what a training does, however many digits
    # judge its maps.
    'verdicts': verdicts.judge(config['claims'], by_seed),
  }


def table(summary: Mapping[str, Any]) -> str:
  """Returns a summary as text: mean ± spread over the seeds, and verdicts."""
  columns = ('accuracy', *judging.COLUMNS)
  kept = [
    c for c in columns if all(c in r['means'] for r in summary['rows'].values())
  ]

  def cell(value):
    spread = '' if value['spread'] is None else f' ± {value["spread"]:.4f}'
    return f'{value["mean"]:.4f}{spread}'

  lines = [
    (name, *(cell(row['means'][c]) for c in kept))
    for name, row in summary['rows'].items()
  ]
  means = app.table(('run', *kept), lines)
  judged = summary['verdicts']
  return f'{means}\n{verdicts.table(judged)}' if judged else means


def _right(folder) -> float:
  text = (folder / judging.FOLDER / 'accuracy.json').read_text()
  return json.loads(text)['accuracy']


def _mean(values):
  means = [float(np.mean(v)) for v in values]
  pooled = np.concatenate([np.asarray(v, np.float64) for v in values])
  error = pooled.std(ddof=1) / np.sqrt(pooled.size) if pooled.size > 1 else None
  return {
    'mean': float(np.mean(means)),
    'spread': float(np.std(means, ddof=1)) if len(means) > 1 else None,
    'error': None if error is None else float(error),
  }
