"""What certificates of many examples say: a table, and its figures."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from matplotlib import figure
import numpy as np

from experiments.core import app
from experiments.core import claims
from experiments.core import files
from experiments.core import verdicts
from saliency_jax import certificates

_STYLES = ('-', '--', ':', '-.')


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
  # What is drawn is of the first K.
  curves = {
    name: [row[0].value for row in entry['guaranteed']]
    for name, entry in summary['maps'].items()
  }
  files.write_json(folder / 'summary.json', summary)
  files.write_figure(folder / 'certificates.png', draw(config, curves))
  written = ['summary.json', 'certificates.png']
  num_draws = {_num_draws(chosen) for chosen in config['methods'].values()}
  if len(num_draws) > 1:
    files.write_figure(folder / 'draws.png', draw_by_draws(config, curves))
    written.append('draws.png')
  print(f'wrote {folder}/: {", ".join(written)}')


def summarize(
  config: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
  """Returns what `config.share` of the examples have at least.

  `guaranteed` is of `[rho, K]`, for each map and bound.
  """
  judging = claims.judged(config)
  records = [r for r in records if r['index'] in judging]

  def guaranteed(overlaps):
    return certificates.guaranteed(
      overlaps, share=config['share'], confidence=config['confidence']
    )

  maps = {}
  for label, chosen in config['methods'].items():
    mine = [r['maps'][label] for r in records]
    for bound in chosen['bounds']:
      overlaps = np.array([r[bound] for r in mine if bound in r])
      maps[f'{label}, {bound}'] = {
        'guaranteed': [
          [guaranteed(overlaps[:, i, j]) for j in range(len(config['k']))]
          for i in range(len(config['rho']))
        ],
        'refused': sum('refused' in r for r in mine),
      }
  return {
    'num_examples': len(records),
    'rho': config['rho'],
    'k': config['k'],
    'maps': maps,
    'verdicts': verdicts.judge(config['claims'], _columns(config, records)),
  }


def contenders(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
  """Returns each map and its bounds by what claims call them."""
  return {
    f'{label}, {bound}': (label, bound)
    for label, chosen in config['methods'].items()
    for bound in chosen['bounds']
  }


def _columns(config, records):
  """Returns the overlaps of the first K by radius, map and bound."""

  def of(label, bound, i):
    maps = (r['maps'][label] for r in records)
    return np.array([m[bound][i][0] if bound in m else np.nan for m in maps])

  return {
    f'overlap at {rho:g}': {
      name: of(*pair, i) for name, pair in contenders(config).items()
    }
    for i, rho in enumerate(config['rho'])
  }


def table(config: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
  """Returns the certificates of the first K as text, a line a map and bound."""
  told = lambda v: f'{v.value:.3f} ({v.low:.3f} to {v.high:.3f})'
  rows = [
    (name, *(told(row[0]) for row in e['guaranteed']), str(e['refused']))
    for name, e in summary['maps'].items()
  ]
  header = (
    f'certified top {config["k"][0]:.0%}, {config["share"]:.0%} of images',
    *(f'rho {rho:g}' for rho in config['rho']),
    'refused',
  )
  return app.table(header, rows)


def draw(
  config: Mapping[str, Any], curves: Mapping[str, Sequence[float]]
) -> figure.Figure:
  """Draws the overlap against rho, a line a map and bound."""
  fig, ax = _axes(config)
  for i, (name, values) in enumerate(curves.items()):
    style = _STYLES[(i // 10) % 4]
    ax.plot(config['rho'], values, style, marker='.', label=name)
  ax.set_xlabel('rho, in units of the example')
  fig.legend(loc='outside right center', frameon=False, fontsize=8)
  return fig


def draw_by_draws(
  config: Mapping[str, Any], curves: Mapping[str, Sequence[float]]
) -> figure.Figure:
  """Draws the overlap against the draws, a line for each bound and radius."""
  lines = {}
  for label, chosen in config['methods'].items():
    for bound in chosen['bounds']:
      values = curves[f'{label}, {bound}']
      for rho, value in zip(config['rho'], values, strict=True):
        line = lines.setdefault((bound, rho), [])
        line.append((_num_draws(chosen), value))
  bounds = list(dict.fromkeys(bound for bound, _ in lines))
  fig, ax = _axes(config)
  for (bound, rho), points in lines.items():
    ax.plot(
      *zip(*sorted(points), strict=True),
      _STYLES[bounds.index(bound) % 4],
      color=f'C{list(config["rho"]).index(rho) % 10}',
      marker='.',
      label=f'{bound}, rho {rho:g}',
    )
  ax.set_xscale('log', base=2)
  ax.set_xlabel('draws q of the map')
  fig.legend(loc='outside right center', frameon=False, fontsize=8)
  return fig


def _num_draws(chosen):
  return chosen['settings']['num_samples']


def _axes(config):
  fig = figure.Figure(figsize=(8, 4), layout='constrained')
  ax = fig.subplots()
  ax.set_ylabel(f'certified overlap of the top {config["k"][0]:.0%}')
  ax.set_ylim(0, 1)
  return fig, ax
