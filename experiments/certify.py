"""Certifies the top K of smoothed maps over a data set, as a config says.

  python -m experiments.certify --workdir=out/certificates \\
      --config=experiments/configs/certificates.py

A run that was stopped, or killed, goes on where it was. `--workdir` then holds
`config.json`; `records-0.jsonl`, a line an example, with its certificates by
map, bound, radius and K; `summary.json`, with the overlap that `config.share`
of the examples have at least; `certificates.png`, of that against rho; and,
where the maps differ in their draws, `draws.png`, of that against these.
"""

import functools

import jax
import numpy as np

from experiments.core import app
from experiments.core import examples
from experiments.core import records
from experiments.core import workdir
from experiments.robustness import certified
from saliency_jax import certificates
from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax.certificates import smoothed_maps
from saliency_jax.core import selection

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
