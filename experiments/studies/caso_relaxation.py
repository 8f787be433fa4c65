"""CASO's l1 problem against what it relaxes, and the rates of its solvers.

Two questions on networks of digits. In a dozen coarse features, where all
supports can be tried: how much of the best gain with k entries (the l0 problem)
does the support of the l1 map have? And in all pixels: how many products do the
proximal gradient, FISTA and the subgradient method take?
"""

from collections.abc import Mapping
import functools
import itertools
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from experiments.core import examples
from experiments.core import statistics
from experiments.studies import findings
from saliency_jax import scores
from saliency_jax.core import batching
from saliency_jax.core import curvature
from saliency_jax.core import lapack
from saliency_jax.core import selection
from saliency_jax.optimization import caso
from saliency_jax.solvers import proximal

_SOLVERS = ('subgradient', 'proximal gradient', 'FISTA')


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Tries all supports of every example, and runs the three solvers."""
  del folder  # It is a matter of minutes.
  model = examples.load_model(config)
  source = examples.load_source(config)
  first = config['first']
  indices = list(range(first, first + config['num_examples']))
  (batch,) = examples.batches(
    {**config, 'batch_size': len(indices)}, source, model.spec, indices, 1
  )
  # Half as bright: a sure prediction has neither gradient nor curvature.
  xs = config['brightness'] * batch.images
  predict = functools.partial(scores.predict, model.apply)
  labels = batching.over_batch(predict)(model.params, xs)
  args = (model.params, xs, labels, batch.keys)

  def over_examples(one, *settings):
    program = batching.over_batch(
      functools.partial(one, model.apply, config, *settings)
    )
    return jax.tree.map(np.asarray, program(*args))

  rows, relaxed = [], {}
  for kappa, count in itertools.product(config['kappas'], config['counts']):
    label = f'{count} of {math.prod(config["grid"])} entries, kappa {kappa}'
    relaxed[label] = found = over_examples(_relax, kappa, count)
    share = statistics.mean_interval(found['share'])
    rows.append(
      (
        label,
        f'{share.mean:.4f} ({share.low:.4f} to {share.high:.4f})',
        f'{np.mean(found["same"]):.2f}',
        f'{np.median(found["restricted"]):.3g}',
      )
    )
  gaps = over_examples(_rates)
  at = np.array(config['checkpoints'])
  for name in _SOLVERS:
    typical = np.median(gaps[name], 0)
    close = at[typical < 1e-3]
    rows.append(
      (
        f'{name}: products to a gap of 1e-3',
        f'{close[0]}' if close.size else f'more than {at[-1]}',
        f'gap {typical[-1]:.1e} at last',
        '',
      )
    )
  header = (
    'problem',
    'gain, of the best support',
    'same support',
    'restricted eigenvalue',
  )
  numbers = {'relaxation': relaxed, 'gaps': gaps, 'products': at}
  columns = {
    'gain': {label: found['share'] for label, found in relaxed.items()},
    **{
      f'gap after {num} products': {n: g[:, i] for n, g in gaps.items()}
      for i, num in enumerate(at)
    },
  }
  return findings.Findings(
    header, rows, numbers, {'rates': _figure(at, gaps)}, columns
  )


def _relax(apply, config, kappa, count, params, x, label, key):
  """Compares the supports of the l1 and the l0 problem in coarse features."""
  rows, columns = config['grid']
  loss = scores.loss(apply, params, label)

  def fn(d):
    # Blocks of the image move together.
    wide = jnp.repeat(d.reshape(rows, columns), x.shape[1] // columns, 1)
    return loss(x + jnp.repeat(wide, x.shape[0] // rows, 0)[..., None])

  zero = jnp.zeros(rows * columns, x.dtype)
  g, h = jax.grad(fn)(zero), jax.hessian(fn)(zero)
  lam2 = jnp.maximum(lapack.eigvalsh(h)[-1], 0) / 2 + kappa
  curved = 2 * lam2 * jnp.eye(zero.size) - h
  supports = jnp.asarray(
    list(itertools.combinations(range(zero.size), count)), jnp.int32
  )

  def look(support):
    """Returns the best gain on a support, and its least eigenvalue."""
    part = curved[jnp.ix_(support, support)]
    gain = jnp.vdot(g[support], lapack.solve(part, g[support])) / 2
    return gain, lapack.eigvalsh(part)[0]

  gains, least = jax.vmap(look)(supports)
  d = caso.caso(
    fn,
    zero,
    key=key,
    sparsity=1 - count / zero.size,
    lam2=lam2,
    num_steps=200,
  ).scores
  chosen = jnp.sort(jax.lax.top_k(jnp.abs(d), count)[1])
  return {
    'share': look(chosen)[0] / jnp.max(gains),
    'same': jnp.all(chosen == supports[jnp.argmax(gains)]).astype(g.dtype),
    'restricted': jnp.min(least) / (2 * kappa),
  }


def _rates(apply, config, params, x, label, key):
  """Returns each solver's relative gap after some numbers of products."""
  fn = scores.loss(apply, params, label)
  gradient, product = curvature.hvp_fn(fn, x)
  (values, _), top = curvature.top_eigenvalue(product, x, key=key, num_steps=12)
  lam2 = jnp.maximum(values[0], 0) / 2 + config['rate_kappa']
  curved = lambda d: 2 * lam2 * d - product(d)
  lam1 = proximal.least_threshold(
    gradient, selection.count(config['sparsity'], gradient.size)
  )

  def objective(d):
    dot = lambda a, b: jnp.vdot(a, b, precision=jax.lax.Precision.HIGHEST)
    return dot(d, curved(d)) / 2 - dot(gradient, d) + lam1 * jnp.sum(jnp.abs(d))

  # The largest eigenvalue of `curved` is at most this.
  step = 1 / (2 * lam2 - jnp.minimum(top.least, 0))
  at = config['checkpoints']

  def subgradient(carry, i):
    d, best = carry
    slope = curved(d) - gradient + lam1 * jnp.sign(d)
    # Steps for a strongly convex objective: 2 / (modulus (i + 2)).
    d = d - jnp.minimum(step, 1 / (config['rate_kappa'] * (i + 2))) * slope
    best = jnp.minimum(best, objective(d))
    return (d, best), best

  def descent(d, _):
    d = proximal.shrink(d - step * (curved(d) - gradient), step * lam1)
    return d, objective(d)

  start = jnp.zeros_like(x)
  last = at[-1]
  _, sub = jax.lax.scan(
    subgradient, (start, objective(start)), jnp.arange(last, dtype=x.dtype)
  )
  _, plain = jax.lax.scan(descent, start, None, last)

  def fista(num_steps):
    return objective(
      proximal.fista(
        lambda d: curved(d) - gradient,
        proximal.lasso(lam1),
        start,
        step=step,
        num_steps=num_steps,
        affine=True,
      ).value
    )

  best = fista(config['reference_steps'])
  values = {
    'subgradient': sub[jnp.array(at) - 1],
    'proximal gradient': plain[jnp.array(at) - 1],
    'FISTA': jnp.stack([fista(n) for n in at]),
  }
  return {k: (v - best) / jnp.abs(best) for k, v in values.items()}


def _figure(at, gaps):
  fig = figure.Figure(figsize=(5, 3.6), layout='constrained')
  ax = fig.subplots()
  for name in _SOLVERS:
    low, middle, high = np.quantile(gaps[name], (0.25, 0.5, 0.75), axis=0)
    floor = 1e-8
    (line,) = ax.loglog(at, np.maximum(middle, floor), 'o-', label=name)
    ax.fill_between(
      at,
      np.maximum(low, floor),
      np.maximum(high, floor),
      color=line.get_color(),
      alpha=0.2,
      linewidth=0,
    )
  ax.set_xlabel('products with the Hessian')
  ax.set_ylabel('relative gap of the objective')
  ax.legend(frameon=False)
  return fig
