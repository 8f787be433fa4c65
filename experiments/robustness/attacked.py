"""What attacks on many examples say: overlaps, differences, verdicts."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from matplotlib import figure
import numpy as np

from experiments import app
from experiments import files
from experiments import intervals


def summarize(
  config: Mapping[str, Any],
  folder: pathlib.Path,
  found: Sequence[Mapping[str, Any]],
) -> None:
  """Writes, draws and prints the overlaps, their differences, the verdicts."""
  labels, rhos = list(config['contenders']), [f'{r:g}' for r in config['rho']]
  overlaps, left_out = {}, {}
  for rho in rhos:
    kept = [r for r in found if all(r['maps'][m][rho]['found'] for m in labels)]
    left_out[rho] = len(found) - len(kept)
    overlaps[rho] = {
      m: np.array([r['maps'][m][rho]['overlap'] for r in kept]) for m in labels
    }
  means = {
    m: {rho: intervals.mean_interval(overlaps[rho][m]) for rho in rhos}
    for m in labels
  }
  told = lambda v: f'{v.mean:.3f} ({v.low:.3f} to {v.high:.3f})'
  rows = [(m, *(told(means[m][rho]) for rho in rhos)) for m in labels]
  rows.append(('left out', *(str(left_out[rho]) for rho in rhos)))
  print(
    app.table(
      (
        f'overlap of the top {config["k"]:.0%}',
        *(f'rho {rho}' for rho in rhos),
      ),
      rows,
    )
  )
  verdicts = []
  for a, b, claim in config['comparisons']:
    for rho in rhos:
      difference = intervals.mean_interval(overlaps[rho][a] - overlaps[rho][b])
      said = intervals.verdict(claim, difference)
      verdicts.append(
        {
          'a': a,
          'b': b,
          'claim': claim,
          'rho': rho,
          'difference': difference,
          'verdict': said,
        }
      )
      print(f'{a} {claim} {b} at rho {rho}: {told(difference)}, {said}')
  summary = {
    'num_examples': len(found),
    'left_out': left_out,
    'overlaps': means,
    'comparisons': verdicts,
    **app.machine(),
  }
  files.write_json(folder / 'summary.json', summary)
  files.write_figure(folder / 'attacks.png', _figure(config, means))
  print(f'wrote {folder}/: summary.json and attacks.png')


def _figure(config, means):
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
