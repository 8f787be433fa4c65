"""What certificates of many examples say: a table, and its figures."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from matplotlib import figure
import numpy as np

from experiments import app
from experiments import files
from saliency_jax import certificates


def summarize(
  config: Mapping[str, Any],
  folder: pathlib.Path,
  found: Sequence[Mapping[str, Any]],
) -> None:
  """Writes, draws and prints what most of the examples have at least."""
  table, rows, curves = {}, [], {}
  for label, chosen in config['maps'].items():
    refused = sum('refused' in r['maps'][label] for r in found)
    for bound in chosen['bounds']:
      overlaps = np.array(
        [r['maps'][label][bound] for r in found if bound in r['maps'][label]]
      )
      kept = [
        [
          certificates.guaranteed(
            overlaps[:, i, j],
            share=config['share'],
            confidence=config['confidence'],
          )
          for j in range(len(config['k']))
        ]
        for i in range(len(config['rho']))
      ]
      name = f'{label}, {bound}'
      table[name] = {'guaranteed': kept, 'refused': refused}
      curves[name] = [row[0].value for row in kept]
      rows.append(
        (
          name,
          *(
            f'{row[0].value:.3f} ({row[0].low:.3f} to {row[0].high:.3f})'
            for row in kept
          ),
          str(refused),
        )
      )
  header = (
    f'certified top {config["k"][0]:.0%}, {config["share"]:.0%} of images',
    *(f'rho {rho:g}' for rho in config['rho']),
    'refused',
  )
  print(app.table(header, rows))
  summary = {
    'num_examples': len(found),
    'rho': config['rho'],
    'k': config['k'],
    'maps': table,
    **app.machine(),
  }
  files.write_json(folder / 'summary.json', summary)
  files.write_figure(folder / 'certificates.png', _figure(config, curves))
  written = ['summary.json', 'certificates.png']
  if len({chosen['num_samples'] for chosen in config['maps'].values()}) > 1:
    files.write_figure(folder / 'draws.png', draws_figure(config, curves))
    written.append('draws.png')
  print(f'wrote {folder}/: {", ".join(written)}')


def draws_figure(config, curves):
  """Draws the overlap against the draws, a line for each bound and radius."""
  lines = {}
  for label, chosen in config['maps'].items():
    for bound in chosen['bounds']:
      values = curves[f'{label}, {bound}']
      for rho, value in zip(config['rho'], values, strict=True):
        line = lines.setdefault((bound, rho), [])
        line.append((chosen['num_samples'], value))
  bounds = list(dict.fromkeys(bound for bound, _ in lines))
  fig = figure.Figure(figsize=(8, 4), layout='constrained')
  ax = fig.subplots()
  for (bound, rho), points in lines.items():
    ax.plot(
      *zip(*sorted(points), strict=True),
      ('-', '--', ':', '-.')[bounds.index(bound) % 4],
      color=f'C{list(config["rho"]).index(rho) % 10}',
      marker='.',
      label=f'{bound}, rho {rho:g}',
    )
  ax.set_xscale('log', base=2)
  ax.set_xlabel('draws q of the map')
  ax.set_ylabel(f'certified overlap of the top {config["k"][0]:.0%}')
  ax.set_ylim(0, 1)
  fig.legend(loc='outside right center', frameon=False, fontsize=8)
  return fig


def _figure(config, curves):
  fig = figure.Figure(figsize=(8, 4), layout='constrained')
  ax = fig.subplots()
  for i, (name, values) in enumerate(curves.items()):
    style = ('-', '--', ':', '-.')[(i // 10) % 4]
    ax.plot(config['rho'], values, style, marker='.', label=name)
  ax.set_xlabel('rho, in units of the example')
  ax.set_ylabel(f'certified overlap of the top {config["k"][0]:.0%}')
  ax.set_ylim(0, 1)
  fig.legend(loc='outside right center', frameon=False, fontsize=8)
  return fig
