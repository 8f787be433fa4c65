"""Does a certificate hold where the strongest attack looks for its end?

Of each network and image: the certified overlap of sparsified SmoothGrad's top
K within rho; the neighbour that the attack finds, against the smoothed map of
magnitudes, which it can differentiate; and the overlap of the certified top K
with that of the map of the neighbour, from many more draws. An overlap below
its certificate is a violation; a certain one, if no entry within two standard
errors of the last place would mend it. By chance the confidence allows some.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np
from scipy import stats

from experiments.core import app
from experiments.core import examples
from experiments.core import statistics
from experiments.studies import findings
from saliency_jax import attacks
from saliency_jax import certificates
from saliency_jax import scores
from saliency_jax import transforms
from saliency_jax.core import batching
from saliency_jax.core import selection
from saliency_jax.gradients import smoothgrad


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Attacks every image of every network at every radius."""
  del folder  # It is a matter of minutes.
  found = []
  for place, seed in enumerate(config['networks']):
    chosen = {**config, 'fit': {**config['fit'], 'seed': seed}}
    model = examples.load_model(chosen)
    # Digits of its own, so that all trials are independent.
    num = config['num_examples']
    source = examples.load_source({**chosen, 'num_examples': (place + 1) * num})
    program = batching.over_batch(functools.partial(_one, model.apply, config))
    indices = list(range(place * num, (place + 1) * num))
    size = config['batch_size']
    bar = app.progress(
      range(0, len(indices), size), what=f'network {seed}, batches'
    )
    for start in bar:
      (batch,) = examples.batches(
        chosen, source, model.spec, indices[start : start + size], 1
      )
      for rho in config['rho']:
        out = program((model.params, rho), batch.images, batch.keys)
        out = jax.tree.map(np.asarray, out)
        for i, index in enumerate(batch.indices):
          one = jax.tree.map(lambda a, i=i: a[i], out)
          found.append(
            {
              'network': seed,
              'index': index,
              'rho': rho,
              **_judge(one, config, rho),
            }
          )
  return _findings(found, config)


def _one(apply, config, shared, x, key):
  """Returns the maps of an example and of its attacked neighbour."""
  params, rho = shared
  logits_fn = functools.partial(apply, params)
  fn = scores.max_logit(apply, params, jnp.argmax(logits_fn(x)))
  keys = [jax.random.fold_in(key, i) for i in range(4)]
  settings = {'sigma': config['sigma'], 'batch_size': config['draw_batch']}
  clean = certificates.sparsified_map(
    fn,
    x,
    key=keys[0],
    tau=config['tau'],
    num_samples=config['num_samples'],
    **settings,
  )
  smooth = functools.partial(
    transforms.absolute(smoothgrad.smooth_grad),
    key=keys[1],
    num_samples=config['attack_samples'],
    **settings,
  )
  adversary = attacks.top_k_attack(
    logits_fn,
    x,
    rho=rho,
    key=keys[2],
    # Its draws stay as they are from point to point.
    method=lambda fn, x, *, key: smooth(fn, x),
    objective=functools.partial(
      attacks.top_k_share, k=selection.count(config['k'], x.size)
    ),
    **config['attack'],
  )
  moved = certificates.sparsified_map(
    fn,
    adversary.x,
    key=keys[3],
    tau=config['tau'],
    num_samples=config['num_new_samples'],
    **settings,
  )
  return {
    'clean': clean,
    'moved': moved.scores,
    'stderr': moved.info.stderr,
    'feasible': adversary.feasible,
    'norm': adversary.norm,
  }


def _judge(out, config, rho):
  """Returns the certificate of one example, and what the attack left."""
  clean, moved, stderr = (
    np.ravel(a).astype(np.float64)
    for a in (out['clean'].scores, out['moved'], out['stderr'])
  )
  k = selection.count(config['k'], clean.size)
  certificate = certificates.top_k_overlap(
    out['clean'],
    k,
    rho=rho,
    confidence=config['confidence'],
    bound=certificates.clopper_pearson,
  )
  top = np.argsort(-clean, kind='stable')[:k]
  last = np.sort(moved)[-k]
  # Entries that tie for the last place are in the top.
  stay = moved[top] >= last
  maybe = moved[top] + 2 * stderr[top] >= last
  return {
    'certified': float(np.ravel(certificate.overlap)[0]),
    'overlap': float(np.mean(stay)),
    'at_most': float(np.mean(maybe)),
    'feasible': bool(out['feasible']),
    'norm': float(out['norm']),
  }


def _findings(found, config):
  rows, numbers, columns = [], {'trials': found, 'by_rho': {}}, {}
  for rho in config['rho']:
    mine = [r for r in found if r['rho'] == rho and r['feasible']]
    broken = sum(r['overlap'] < r['certified'] for r in mine)
    surely = sum(r['at_most'] < r['certified'] for r in mine)
    allowed = int(stats.binom.ppf(0.99, len(mine), 1 - config['confidence']))
    certified, overlap = (
      statistics.mean_interval(np.array([r[k] for r in mine]))
      for k in ('certified', 'overlap')
    )
    columns[f'rho {rho}'] = np.array(
      [r['overlap'] < r['certified'] for r in mine], bool
    )
    rows.append(
      (
        f'rho {rho}',
        f'{len(mine)}',
        *(
          f'{v.mean:.3f} ({v.low:.3f} to {v.high:.3f})'
          for v in (certified, overlap)
        ),
        f'{broken} ({surely} for certain)',
        f'{allowed}',
      )
    )
    numbers['by_rho'][str(rho)] = {
      'trials': len(mine),
      'left_out': sum(r['rho'] == rho for r in found) - len(mine),
      'violations': broken,
      'certain': surely,
      'allowed': allowed,
    }
  header = (
    'radius',
    'trials',
    'certified overlap',
    'overlap under attack',
    'below it',
    'allowed',
  )
  return findings.Findings(
    header,
    rows,
    numbers,
    {'evidence': _figure(found, config)},
    {'certificate is broken': columns},
  )


def _figure(found, config):
  fig = figure.Figure(figsize=(4.6, 4.2), layout='constrained')
  ax = fig.subplots()
  for rho in config['rho']:
    mine = [r for r in found if r['rho'] == rho and r['feasible']]
    ax.scatter(
      [r['certified'] for r in mine],
      [r['overlap'] for r in mine],
      s=10,
      label=f'rho {rho}',
    )
  ax.plot([0, 1], [0, 1], 'k--', linewidth=1)
  ax.set_xlabel('certified overlap')
  ax.set_ylabel('overlap under attack')
  ax.legend(frameon=False)
  return fig
