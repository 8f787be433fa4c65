"""What a certificate of a photo takes, once its draws are there.

Of one photo's sparsified map: the certified overlap of every K at some radii,
the radius of every K, and what `certify_map` says of one K. The first call is
told apart from later ones, of which the median counts; the processor's seconds
are what others on the machine move less.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any

import jax
import numpy as np

from experiments.core import examples
from experiments.core import timing
from experiments.studies import findings
from saliency_jax import certificates
from saliency_jax import scores


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Times the certificates of one photo, in turns."""
  del folder  # It takes a minute.
  smoothed = _smoothed(config)
  n = smoothed.scores.size
  ks, rhos = 1 + np.arange(n), np.linspace(0, config['rho'], config['radii'])
  exact = {'bound': certificates.clopper_pearson}
  runs = {
    'every K, Hoeffding': functools.partial(
      certificates.top_k_overlap, smoothed, ks, rho=rhos
    ),
    'every K, exact': functools.partial(
      certificates.top_k_overlap, smoothed, ks, rho=rhos, **exact
    ),
    'radius of every K': functools.partial(
      certificates.overlap_radius, smoothed, ks, **exact
    ),
    'certify_map': functools.partial(
      certificates.certify_map, smoothed, rho=rhos
    ),
  }
  firsts = {name: timing.timed(run)[0] for name, run in runs.items()}
  rows, numbers = [], {'entries': n, 'radii': len(rhos)}
  columns = {'processor seconds': {}}
  for name, found in timing.by_both_clocks(runs, config['repeats']).items():
    wall, processor = np.array(found).T
    columns['processor seconds'][name] = processor
    numbers[name] = {
      'first': firsts[name],
      'later': float(np.median(wall)),
      'processor': float(np.median(processor)),
    }
    rows.append((name, *(f'{s:.2f} s' for s in numbers[name].values())))
  header = ('certificate', 'first call', 'later', 'of the processor')
  return findings.Findings(header, rows, numbers, {}, columns)


def _smoothed(config):
  """Returns the sparsified map of the first photo, on the host."""
  model = examples.load_model(config)
  source = examples.load_source(config)
  (batch,) = examples.batches(config, source, model.spec, [0], 1)

  def explain(params, x, key):
    return certificates.sparsified_map(
      scores.max_logit(model.apply, params),
      x,
      key=key,
      num_samples=config['num_samples'],
    )

  found = jax.jit(explain)(model.params, batch.images[0], batch.keys[0])
  return jax.tree.map(np.asarray, found)
