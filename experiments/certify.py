"""Certifies the top K of smoothed maps over a data set, as a config says.

  python -m experiments.certify --workdir=out/certificates \\
      --config=experiments/configs/certificates.py

Maps of the same noise share their draws: twelve of them cost the gradients of
one. A run that was stopped, or killed, goes on where it was. `--workdir` then
holds `config.json`; `records-0.jsonl`, a line an example, with its certificates
by map, bound, radius and K; `summary.json`, with the overlap that
`config.share` of the examples have at least; `certificates.png`, of that
against rho; and, where the maps differ in their draws, `draws.png`, of that
against these.
"""

import functools

import numpy as np

from experiments.core import app
from experiments.core import claims
from experiments.core import examples
from experiments.core import naming
from experiments.core import records
from experiments.core import subsets
from experiments.core import weights
from experiments.core import workdir
from experiments.robustness import certified
from experiments.robustness import passes
from experiments.tables import contenders
from saliency_jax import certificates
from saliency_jax.core import selection

# By name: the settings of a certificate.
BOUNDS = {
  'hoeffding': {'bound': certificates.hoeffding},
  'clopper_pearson': {'bound': certificates.clopper_pearson},
  'empirical_bernstein': {'bound': certificates.empirical_bernstein},
  'lecuyer': {
    'bound': certificates.hoeffding,
    'shift': certificates.privacy_shift,
  },
}


def main(setup: app.Setup) -> None:
  """Certifies `--config` in `--workdir`."""
  del setup  # The seed is the config's, and devices are taken by process.
  config, folder = workdir.read()
  config = weights.recorded(subsets.restrict(config))
  _check(config)
  found = records.complete(
    folder, config, functools.partial(_certify, config, app.local_mesh())
  )
  if found is not None:
    certified.report(config, folder, found)


def _certify(config, mesh, missing, append):
  """Adds the records of some examples, a batch at a time."""
  model = examples.load_model(config)
  source = examples.load_source(config)
  chosen = contenders.choose(config['methods'], model.spec)
  planned = passes.plan(chosen, model.apply, mesh)
  with app.progress(missing, what='examples') as bar:
    for batch in examples.batches(
      config, source, model.spec, missing, mesh.size
    ):
      rows = [{} for _ in batch.indices]
      for one_pass in planned:
        bar.set_postfix_str(', '.join(one_pass.labels))
        found = one_pass.run(model.params, batch.images, batch.keys)
        for label, maps in found.items():
          # Behind the last example it stands again.
          for row, out in zip(rows, maps, strict=False):
            row[label] = _certificates(out, config, config['methods'][label])
      for i, name, row in zip(batch.indices, batch.names, rows, strict=True):
        maps = {label: row[label] for label in config['methods']}
        append({'index': i, 'name': name, 'maps': maps})
      bar.update(len(rows))


def _certificates(out, config, chosen):
  """Returns the certified overlaps `[rho, K]` of one map, by bound."""
  if not np.isfinite(out.scores).all():
    return {'refused': f'{int(out.info.num_nonfinite)} draws are not finite'}
  ks = [selection.count(share, out.scores.size) for share in config['k']]
  return {
    name: certificates.top_k_overlap(
      out,
      np.array(ks),
      rho=config['rho'],
      confidence=config['confidence'],
      **BOUNDS[name],
    ).overlap
    for name in chosen['bounds']
  }


def _check(config):
  """Refuses a config in which a word is wrong, before any work."""
  for label, chosen in config['methods'].items():
    where = f'config.methods.{label}'
    naming.check(f'{where}: name', chosen['name'], passes.KINDS)
    contenders.check(label, chosen)
    for bound in chosen['bounds']:
      naming.check(f'{where}: bound', bound, BOUNDS)
    exact = 'clopper_pearson' in chosen['bounds']
    if exact and chosen['name'] != 'sparsified_map':
      raise ValueError(
        f'{where}: clopper_pearson is for sparsified_map, whose draws are 0 or '
        '1'
      )
  compared = {**config, 'methods': certified.contenders(config)}
  claims.check(compared, [f'overlap at {rho:g}' for rho in config['rho']])


if __name__ == '__main__':
  app.run(main)
