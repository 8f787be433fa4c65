"""Certifies the top K of smoothed maps over a data set, as a config says.

  python -m experiments.certify --workdir=out/certificates \\
      --config=experiments/configs/certificates.py

A run that was stopped, or killed, goes on where it was. `--workdir` then holds
`config.json`; `records-0.jsonl`, a line an example, with its certificates by
map, bound, radius and K; `summary.json`, with the overlap that `config.share`
of the examples have at least; `certificates.png`, of that against rho; and,
where the maps differ in their draws, `draws.png`, of that against these.
"""

from collections.abc import Mapping, Sequence
import functools
import pathlib
from typing import Any

import jax
from matplotlib import figure
import numpy as np

from experiments import app
from experiments import examples
from experiments import files
from experiments import records
from experiments import workdir
from saliency_jax import certificates
from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax.certificates import overlap
from saliency_jax.certificates import smoothed_maps

MAPS = {
  'scaled': certificates.scaled_map,
  'quadratic': certificates.quadratic_map,
  'sparsified': certificates.sparsified_map,
  'relaxed': certificates.relaxed_map,
}
BASES = {
  'magnitude': smoothed_maps.magnitude,
  'channel_magnitude': smoothed_maps.channel_magnitude,
}
# By name: the variance of the draws to a bound.
BOUNDS = {
  'hoeffding': lambda variance: certificates.hoeffding,
  'clopper_pearson': lambda variance: certificates.clopper_pearson,
  'empirical_bernstein': lambda variance: functools.partial(
    certificates.empirical_bernstein, variance=variance
  ),
  'lecuyer': lambda variance: certificates.hoeffding,
}


def main(setup: app.Setup) -> None:
  """Certifies `--config` in `--workdir`."""
  config, folder = workdir.read()
  _check(config)
  found = records.complete(
    folder, config, functools.partial(_certify, config, setup.mesh)
  )
  _summarize(config, folder, found)


def _certify(config, mesh, missing, append):
  """Adds the records of some examples, a batch at a time."""
  model = examples.load_model(config)
  source = examples.load_source(config)
  programs = {
    label: explainer.build(
      _method(chosen), model.apply, scores.max_logit, mesh=mesh
    )
    for label, chosen in config['maps'].items()
  }
  with app.progress(missing, what='examples') as bar:
    for batch in examples.batches(
      config, source, model.spec, missing, mesh.size
    ):
      rows = [{} for _ in batch.indices]
      for label, program in programs.items():
        bar.set_postfix_str(label)
        out = program(model.params, batch.images, keys=batch.keys)
        out = jax.tree.map(np.asarray, out)
        for i, row in enumerate(rows):
          one = jax.tree.map(lambda a, i=i: a[i], out)
          row[label] = _certificates(one, config, config['maps'][label])
      for i, name, row in zip(batch.indices, batch.names, rows, strict=True):
        append({'index': i, 'name': name, 'maps': row})
      bar.update(len(rows))


def _method(chosen):
  settings = {k: v for k, v in chosen.items() if k not in ('map', 'bounds')}
  settings['base'] = BASES[settings.get('base', 'magnitude')]
  return functools.partial(MAPS[chosen['map']], **settings)


def _certificates(out, config, chosen):
  """Returns the certified overlaps `[rho, K]` of one map, by bound."""
  if not np.isfinite(out.scores).all():
    return {'refused': 'scores are NaN or infinite'}
  ks = [max(1, round(share * out.scores.size)) for share in config['k']]
  variance = np.ravel(out.info.variance)
  return {
    name: certificates.top_k_overlap(
      out.scores,
      np.array(ks),
      rho=config['rho'],
      sigma=chosen['sigma'],
      num_samples=chosen['num_samples'],
      confidence=config['confidence'],
      bound=BOUNDS[name](variance),
      floor=(
        overlap.privacy_floor if name == 'lecuyer' else overlap.gaussian_floor
      ),
    ).overlap
    for name in chosen['bounds']
  }


def _summarize(
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
    files.write_figure(folder / 'draws.png', _draws_figure(config, curves))
    written.append('draws.png')
  print(f'wrote {folder}/: {", ".join(written)}')


def _draws_figure(config, curves):
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


def _check(config):
  """Refuses a config in which a word is wrong, before any work."""
  for label, chosen in config['maps'].items():
    named = [
      ('map', chosen['map'], MAPS),
      ('base', chosen.get('base', 'magnitude'), BASES),
      *(('bound', bound, BOUNDS) for bound in chosen['bounds']),
    ]
    for what, got, known in named:
      if got not in known:
        raise ValueError(
          f'config.maps.{label}: {what} {got!r}, expected one of '
          + ', '.join(known)
        )
    if 'clopper_pearson' in chosen['bounds'] and chosen['map'] != 'sparsified':
      raise ValueError(
        f'config.maps.{label}: clopper_pearson is for sparsified maps, whose '
        'draws are 0 or 1'
      )


if __name__ == '__main__':
  app.run(main)
