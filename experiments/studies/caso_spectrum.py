"""How near the Hessian of a loss is to rank one, and to its Gauss-Newton part.

By the number of classes and the confidence: for random logit gradients, and for
a real network whose logits are cut to the likeliest classes. And for networks
of three activations, what is lost by taking the Gauss-Newton part for the
Hessian: in the products, and in the map of CASO.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from experiments.core import app
from experiments.core import examples
from experiments.core import statistics
from experiments.studies import findings
from saliency_jax import models
from saliency_jax import scores
from saliency_jax.core import batching
from saliency_jax.core import lapack
from saliency_jax.core import piecewise_linear
from saliency_jax.optimization import caso

_ROUNDING = 1e-12


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Measures the errors of both approximations."""
  del folder  # It is a matter of minutes.
  numbers = {
    'random': _random(config),
    'network': _network(config),
    'activations': _activations(config),
  }
  rows = [
    (f'{kind}, {r["classes"]} classes', f'{r["prob"]:.4f}', f'{r["error"]:.4f}')
    for kind in ('random', 'network')
    for r in numbers[kind]
  ]
  for name, found in numbers['activations'].items():
    for what in ('departure', 'cosine'):
      mean = statistics.mean_interval(np.array(found[what]))
      rows.append(
        (
          f'{name}: {what} of Gauss-Newton',
          f'{np.mean(found["prob"]):.4f}',
          f'{mean.mean:.2g} ({mean.low:.2g} to {mean.high:.2g})',
        )
      )
  for classes in config['classes']:
    mine = [r for r in numbers['network'] if r['classes'] == classes]
    rank = statistics.rank_correlation(
      *(np.array([r[k] for r in mine]) for k in ('prob', 'error'))
    )
    numbers[f'rank_correlation, {classes}'] = rank._asdict()
    rows.append(
      (
        f'network, {classes} classes: rank correlation of p and error',
        '-',
        f'{rank.mean:.2f} ({rank.low:.2f} to {rank.high:.2f})',
      )
    )
  header = ('logit gradients', 'p', 'error of rank one')
  return findings.Findings(
    header,
    rows,
    numbers,
    {'rank_one': _figure(numbers)},
    _columns(config, numbers['network']),
  )


def _columns(config, found):
  """Returns the errors on the network by the classes kept, a photo a place."""
  of = lambda classes, name: np.array(
    [r[name] for r in found if r['classes'] == classes]
  )
  columns = {
    f'rank one, {n} classes': {'p': of(n, 'prob'), 'error': of(n, 'error')}
    for n in config['classes']
  }
  errors = {f'{n} classes': of(n, 'error') for n in config['classes']}
  return {**columns, 'error of rank one': errors}


def rank_one_error(values: np.ndarray) -> float:
  """Returns `|H - l_1 v_1 v_1'|_F / |H|_F` from the eigenvalues of `H`."""
  squares = np.sort(np.maximum(values, 0)) ** 2
  return float(np.sqrt(squares[:-1].sum() / max(squares.sum(), _ROUNDING)))


def _spectrum(logits_fn, x):
  rows = piecewise_linear.factor(logits_fn, x, batch_size=8)
  gram = jnp.matmul(rows, rows.T, precision=jax.lax.Precision.HIGHEST)
  return lapack.eigvalsh(gram)


def _random(config):
  """Random logits whose gradients are independent and of one size."""
  found = []
  for classes in config['classes']:
    weights = jax.random.normal(
      jax.random.key(config['seed']), (config['size'], classes)
    )
    others = jax.random.normal(jax.random.key(config['seed'] + 1), (classes,))
    spectrum = jax.jit(
      lambda logits, w=weights: _spectrum(
        lambda x: logits + x @ w, jnp.zeros(w.shape[0])
      )
    )
    for prob in config['probs']:
      # The first class has the probability asked for, the others share it.
      rest = jax.nn.logsumexp(others[1:])
      first = rest + np.log(prob / (1 - prob))
      values = np.asarray(spectrum(others.at[0].set(first)), np.float64)
      found.append(
        {'classes': classes, 'prob': prob, 'error': rank_one_error(values)}
      )
  return found


def _network(config):
  """A real network at photos that it is more and less sure of."""
  model = examples.load_model(config)
  source = examples.load_source(config)
  logits_fn = jax.jit(functools.partial(model.apply, model.params))

  # By the order of the classes: compiled once for all photos.
  @functools.partial(jax.jit, static_argnames='classes')
  def cut(x, order, classes):
    kept = order[:classes]
    values = _spectrum(lambda x: logits_fn(x)[kept], x)
    return jax.nn.softmax(logits_fn(x)[kept])[0], values

  found = []
  for i in app.progress(range(config['num_examples']), what='photos'):
    x = jnp.asarray(examples.prepare(source, i, model.spec).image)
    order = jnp.argsort(-logits_fn(x))
    for classes in config['classes']:
      prob, values = cut(x, order, classes)
      found.append(
        {
          'classes': classes,
          'prob': float(prob),
          'error': rank_one_error(np.asarray(values, np.float64)),
        }
      )
  return found


def _activations(config):
  """Small networks of digits: the Hessian against its Gauss-Newton part."""
  found = {}
  for activation in config['activations']:
    chosen = {
      **config,
      **config['small'],
      'fit': {**config['small']['fit'], 'activation': activation},
    }
    model = examples.load_model(chosen)
    source = examples.load_source(chosen)
    indices = list(range(chosen['num_examples']))
    (batch,) = examples.batches(
      {**chosen, 'batch_size': len(indices)}, source, model.spec, indices, 1
    )
    # On half-grey images: sure predictions have no curvature to speak of.
    xs = 0.5 * batch.images
    compare = batching.over_batch(functools.partial(_compare, model))
    numbers = jax.tree.map(np.asarray, compare(model.params, xs, batch.keys))
    finite = np.isfinite(numbers['cosine'])
    found[activation] = {k: v[finite] for k, v in numbers.items()}
  return found


def _compare(model: models.Model, params, x, key):
  logits_fn = functools.partial(model.apply, params)
  label = jnp.argmax(logits_fn(x))
  pairs, info = piecewise_linear.eigenpairs(
    logits_fn, x, key=key, num_pairs=logits_fn(x).size
  )
  loss = scores.loss(model.apply, params, label)
  exact = caso.caso(loss, x, key=key, lam1=0.0)
  approximate = caso.caso(loss, x, lam1=0.0, eigenpairs=pairs)
  a, b = exact.scores.ravel(), approximate.scores.ravel()
  return {
    'prob': info.probs[label],
    'departure': info.departure,
    'cosine': jnp.vdot(a, b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b)),
  }


def _figure(numbers):
  fig = figure.Figure(figsize=(9, 3.6), layout='constrained')
  for ax, kind in zip(fig.subplots(1, 2), ('random', 'network'), strict=True):
    for classes in sorted({r['classes'] for r in numbers[kind]}):
      mine = sorted(
        (1 - r['prob'], r['error'])
        for r in numbers[kind]
        if r['classes'] == classes
      )
      line = 'o-' if kind == 'random' else 'o'
      ax.plot(*zip(*mine, strict=True), line, label=f'{classes} classes')
    ax.set_xscale('log')
    ax.set_xlabel('1 - p')
    ax.set_ylabel('relative error of rank one')
    ax.set_title(f'{kind} logit gradients' if kind == 'random' else kind)
    ax.legend(frameon=False)
  return fig
