"""CASO against CAFO by the confidence of the prediction.

Every example as it is, blurred, mixed with grey and mixed with the next one, to
lower its confidence: the cosine between the maps, the distance of their
directions, and what the curvature is.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np
from scipy import ndimage
from scipy import stats

from experiments.core import app
from experiments.core import examples
from experiments.core import statistics
from experiments.studies import findings
from saliency_jax import scores
from saliency_jax.core import batching
from saliency_jax.optimization import caso


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Compares the maps of every example in every version."""
  del folder  # It is a matter of minutes.
  model = examples.load_model(config)
  source = examples.load_source(config)
  images = [
    examples.prepare(source, i, model.spec).image
    for i in range(config['num_examples'])
  ]
  versions = _versions(images, config['blurs'], config['mixes'])
  compare = batching.over_batch(
    functools.partial(_compare, config, model.apply)
  )
  found, size = [], config['batch_size']
  for start in app.progress(range(0, len(versions), size), what='batches'):
    batch = versions[start : start + size]
    xs = jnp.asarray(np.stack([x for _, x in batch]))
    keys = jax.random.split(jax.random.key(config['seed'] + start), len(batch))
    numbers = jax.tree.map(np.asarray, compare(model.params, xs, keys))
    for i, (version, _) in enumerate(batch):
      found.append(
        {
          'version': version,
          # Versions of one image follow each other in steps of all images.
          'image': (start + i) % len(images),
          **{k: float(v[i]) for k, v in numbers.items()},
        }
      )
  return _findings(found, config)


def _versions(images, blurs, mixes):
  """Returns `(what, image)`: each image as it is and with less to see."""
  versions = [('as it is', x) for x in images]
  for sigma in blurs:
    versions += [
      (f'blur {sigma}', ndimage.gaussian_filter(x, (sigma, sigma, 0)))
      for x in images
    ]
  for share in mixes:
    versions += [
      (f'{share} grey', (1 - share) * x + share * 0.5) for x in images
    ]
    versions += [
      (f'{share} other', (1 - share) * x + share * other)
      for x, other in zip(images, images[1:] + images[:1], strict=True)
    ]
  return [(what, x.astype(np.float32)) for what, x in versions]


def _compare(config, apply, params, x, key):
  """Returns the numbers of one example."""
  fn = scores.loss(apply, params, scores.predict(apply, params, x))
  dense = {'lam1': 0.0, 'num_steps': config['num_steps']}
  kappas = config['kappas']
  first = caso.cafo(fn, x, lam1=0.0)
  second = [caso.caso(fn, x, key=key, kappa=kappa, **dense) for kappa in kappas]
  sparse_first = caso.cafo(fn, x)
  sparse_second = caso.caso(fn, x, key=jax.random.fold_in(key, 1))
  info = second[0].info
  numbers = {
    f'cosine, kappa {kappa}': _cosine(first.scores, out.scores)
    for kappa, out in zip(kappas, second, strict=True)
  }
  numbers |= {
    'sparse cosine': _cosine(sparse_first.scores, sparse_second.scores),
    'eigenvalue': info.eigenvalue,
    'residual': info.residual,
    'sparse residual': sparse_second.info.residual,
    'curvature': info.eigenvalue / (info.eigenvalue + 2 * kappas[0]),
    'prob': jnp.max(jax.nn.softmax(apply(params, x))),
  }
  return numbers


def _cosine(a, b):
  dot = functools.partial(jnp.vdot, precision=jax.lax.Precision.HIGHEST)
  return dot(a, b) / jnp.sqrt(dot(a, a) * dot(b, b))


def _findings(found, config):
  main = f'cosine, kappa {config["kappas"][0]}'
  # Where p is 1 but for rounding, the loss has no gradient and no map.
  num, found = len(found), [r for r in found if np.isfinite(r[main])]
  prob = np.array([r['prob'] for r in found])
  edges = np.array(config['bins'])
  rows = []
  for low, high in zip(edges[:-1], edges[1:], strict=True):
    mine = [r for r in found if low <= r['prob'] <= high]
    if mine:
      rows.append(
        (
          f'p {low} to {high}',
          f'{len(mine)}',
          *(
            f'{np.median([r[k] for r in mine]):.4f}'
            for k in (main, 'sparse cosine', 'curvature')
          ),
          f'{np.max([r["residual"] for r in mine]):.1e}',
        )
      )
  columns = {
    k: np.array([r[k] for r in found])
    for k in found[0]
    if k not in ('version', 'image', 'prob', 'residual', 'sparse residual')
  }
  trend = {k: float(stats.spearmanr(prob, v)[0]) for k, v in columns.items()}
  images = [r['image'] for r in found]
  rank = statistics.rank_correlation(prob, columns[main], np.array(images))
  rows.append(
    (
      'rank correlation of p and cosine',
      f'{len(found)}',
      f'{rank.mean:.2f} ({rank.low:.2f} to {rank.high:.2f})',
      f'{trend["sparse cosine"]:.2f}',
      f'{trend["curvature"]:.2f}',
      '',
    )
  )
  rows.append(
    ('left out, p is 1 to rounding', f'{num - len(found)}', *[''] * 4)
  )
  header = (
    'confidence',
    'examples',
    'cosine',
    'sparse cosine',
    'share of curvature',
    'largest residual',
  )
  fig = figure.Figure(figsize=(9, 3.5), layout='constrained')
  axes = fig.subplots(1, 2)
  axes[0].scatter(1 - prob, columns[main], s=8)
  axes[0].set_ylabel('cosine of CASO and CAFO')
  axes[1].scatter(1 - prob, np.sqrt(2 - 2 * np.minimum(columns[main], 1)), s=8)
  axes[1].set_ylabel('distance of their directions')
  for ax in axes:
    ax.set_xscale('log')
    ax.set_xlabel('1 - p')
  numbers = {
    'examples': found,
    'left_out': num - len(found),
    'rank_correlations': trend,
    'interval': (rank.low, rank.high),
  }
  return findings.Findings(
    header,
    rows,
    numbers,
    {'confidence': fig},
    {'sureness': {'p': prob, 'cosine': columns[main]}},
    {'sureness': images},
  )
