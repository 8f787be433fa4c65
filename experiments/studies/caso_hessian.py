"""The Hessian of real classifiers: exact, by Lanczos, and of what rank.

One photo a network, so explained that its prediction is sure, and again mixed
with grey until it is not: the top eigenvalue by the exact decomposition and by
Lanczos after every number of products; the rank; the share of the top
eigenvalue (Theorem 5: the Hessian is of rank one as p -> 1); the departure from
piecewise linearity; the time of the decomposition (Appendix C).
"""

from collections.abc import Mapping
import functools
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from experiments.core import app
from experiments.core import examples
from experiments.studies import findings
from saliency_jax import scores
from saliency_jax.core import curvature
from saliency_jax.core import piecewise_linear


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Decomposes the Hessian of each network at each strength of the photo."""
  del folder  # It is a matter of minutes.
  rows, numbers = [], {}
  for name in config['models']:
    chosen = {**config, 'model': name}
    model = examples.load_model(chosen)
    source = examples.load_source(chosen)
    image = examples.prepare(source, config['photo'], model.spec).image
    run_one = jax.jit(functools.partial(_one, model.apply, config))
    for strength in app.progress(config['strengths'], what=name):
      x = jnp.asarray(0.5 + strength * (image - 0.5))
      start = time.perf_counter()
      found = jax.block_until_ready(run_one(model.params, x))
      seconds = time.perf_counter() - start
      found = jax.tree.map(np.asarray, found)
      off = np.abs(found['lanczos'] / found['exact'][0] - 1)
      within = [
        n for n, e in zip(config['products'], off, strict=True) if e < 1e-3
      ]
      products = min(within, default=-1)
      numbers[f'{name}, {strength}'] = {
        **found,
        'products': list(config['products']),
        'relative_errors': off,
        'products_to_1e-3': products,
        'seconds': seconds,
      }
      total = np.sum(found['exact'])
      rows.append(
        (
          f'{name}, {strength:.2f} of the contrast',
          f'{found["prob"]:.4f}',
          f'{found["exact"][0]:.4g}',
          f'{off[-1]:.1e}',
          f'{products}',
          f'{int(found["rank"])}',
          f'{found["exact"][0] / total:.3f}',
          f'{found["departure"]:.1e}',
          f'{seconds:.0f} s',
        )
      )
  header = (
    'network, photo',
    'p',
    'top eigenvalue',
    'Lanczos off by',
    'products to 1e-3',
    'rank',
    'share of the top',
    'departure',
    'exact, seconds',
  )
  columns = {
    'departure': {
      'Hessian': np.array([n['departure'] for n in numbers.values()])
    },
    'relative error': {
      'Lanczos': np.array([n['relative_errors'][-1] for n in numbers.values()])
    },
  }
  return findings.Findings(
    header, rows, numbers, {'lanczos': _figure(numbers)}, columns
  )


def _one(apply, config, params, x):
  logits_fn = functools.partial(apply, params)
  label = jnp.argmax(logits_fn(x))
  pairs, info = piecewise_linear.eigenpairs(
    logits_fn,
    x,
    key=jax.random.key(config['seed']),
    num_pairs=1,
    batch_size=config['batch_size'],
  )
  _, product = curvature.hvp_fn(scores.loss(apply, params, label), x)
  start = jax.random.normal(jax.random.key(config['seed'] + 1), x.shape)
  # The spaces are nested: the shorter runs are part of the longest, but only
  # their last eigenvalue is returned.
  lanczos = [
    curvature.lanczos(product, start, num_steps=n).value.values[0]
    for n in config['products']
  ]
  return {
    'prob': info.probs[label],
    'exact': info.values,
    'rank': info.rank,
    'departure': info.departure,
    'lanczos': jnp.stack(lanczos),
    'pairs': pairs.values,
  }


def _figure(numbers):
  fig = figure.Figure(figsize=(6, 4), layout='constrained')
  ax = fig.subplots()
  for name, found in numbers.items():
    ax.semilogy(
      found['products'],
      np.maximum(found['relative_errors'], 1e-8),
      'o-',
      label=name,
    )
  ax.set_xlabel('products with the Hessian')
  ax.set_ylabel('relative error of the top eigenvalue')
  ax.legend(frameon=False)
  return fig
