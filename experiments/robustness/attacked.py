"""What attacks on many examples say: overlaps, differences, verdicts."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from matplotlib import figure
import numpy as np

from experiments.core import app
from experiments.core import claims
from experiments.core import files
from experiments.core import statistics
from experiments.core import verdicts


def report(
  config: Mapping[str, Any],
  folder: pathlib.Path,
  records: Sequence[Mapping[str, Any]],
) -> None:
  """Writes, draws and prints what the records of a run say."""
  summary = {**summarize(config, records), **app.machine()}
  print(table(config, summary))
  if summary['verdicts']:
    print(verdicts.table(summary['verdicts']))
  files.write_json(folder / 'summary.json', summary)
  files.write_figure(folder / 'attacks.png', draw(config, summary['overlaps']))
  print(f'wrote {folder}/: summary.json and attacks.png')


def summarize(
  config: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
  """Returns the mean overlaps, their paired differences and the verdicts.

  An example on which one contender found nothing is left out for all.
  """
  judging = claims.judged(config)
  records = [r for r in records if r['index'] in judging]
  labels, rhos = list(config['methods']), [f'{r:g}' for r in config['rho']]
  overlaps, left_out = {}, {}
  for rho in rhos:
    kept = [
      r for r in records if all(r['maps'][m][rho]['feasible'] for m in labels)
    ]
    left_out[rho] = len(records) - len(kept)
    overlaps[rho] = {
      m: np.array([r['maps'][m][rho]['overlap'] for r in kept]) for m in labels
    }

  return {
    'num_examples': len(records),
    'left_out': left_out,
    'overlaps': {
      m: {rho: statistics.mean_interval(overlaps[rho][m]) for rho in rhos}
      for m in labels
    },
    'verdicts': verdicts.judge(
      config['claims'],
      {f'overlap at {rho}': by_label for rho, by_label in overlaps.items()},
    ),
  }


def table(config: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
  """Returns the mean overlaps as text, a line a contender."""
  rhos = list(summary['left_out'])
  rows = [
    (label, *(_told(by_rho[rho]) for rho in rhos))
    for label, by_rho in summary['overlaps'].items()
  ]
  rows.append(('left out', *(str(n) for n in summary['left_out'].values())))
  header = (
    f'overlap of the top {config["k"]:.0%}',
    *(f'rho {r}' for r in rhos),
  )
  return app.table(header, rows)


def draw(
  config: Mapping[str, Any],
  means: Mapping[str, Mapping[str, statistics.Interval]],
) -> figure.Figure:
  """Draws the overlaps against the radius, a line a contender."""
  fig = figure.Figure(figsize=(8, 4), layout='constrained')
  ax = fig.subplots()
  for label, by_rho in means.items():
    values = list(by_rho.values())
    middle = np.array([v.mean for v in values])
    below = middle - np.array([v.low for v in values])
    above = np.array([v.high for v in values]) - middle
    ax.errorbar(
      config['rho'], middle, (below, above), marker='.', capsize=2, label=label
    )
  ax.set_xlabel(f'rho ({config["ball"]}), in units of the example')
  ax.set_ylabel(f'overlap of the top {config["k"]:.0%} after the attack')
  ax.set_ylim(0, 1)
  fig.legend(loc='outside right center', frameon=False, fontsize=8)
  return fig


def _told(v: statistics.Interval) -> str:
  return f'{v.mean:.3f} ({v.low:.3f} to {v.high:.3f})'
