"""LEG and LEG-TV of a score whose LEG is known, sparse in variation, bounded.

    f(z) = sin(<g, z>) / 2 + cos(<q, z>) / 2,   z ~ N(0, S),
    LEG = g exp(-g'Sg / 2) / 2 :

the second term is even, and is to the estimate what the rest of a network is.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from experiments.core import statistics
from experiments.studies import findings
from saliency_jax.core import sampling
from saliency_jax.optimization import leg_tv
from saliency_jax.perturbations import leg
from saliency_jax.perturbations import moves as moving
from saliency_jax.solvers import flows
from saliency_jax.solvers import grid

_COVARIANCES = {'paper': leg.paper, 'white': leg.white}
_RADII = {
  'bootstrap': leg_tv.bootstrap,
  'mcdiarmid': leg_tv.mcdiarmid,
  'paper': leg_tv.paper,
}
_SETTINGS = {
  'colours': leg.grey,
  'antithetic': False,
  'clip': False,
  'stretch': leg.nearest,
  'draw': leg.gaussian,
  'batch_size': 50,
}


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Measures errors by the number of draws, and the coverage of each `L`."""
  del folder  # It is a matter of minutes.
  errors = {
    (name, n): _errors(name, n, config)
    for name in _COVARIANCES
    for n in config['num_samples']
  }
  inside = _intervals(config)
  covers = {n: _coverage(n, config) for n in config['coverage_samples']}
  rows, numbers = [], {'errors': {}, 'coverage': {}, 'differences': {}}
  for (name, n), found in errors.items():
    for estimator, values in found.items():
      mean = statistics.mean_interval(values)
      rows.append((f'{estimator}, {name}', f'{n}', _text(mean)))
      numbers['errors'][f'{estimator}, {name}, {n}'] = mean._asdict()
  columns = {}
  for estimator in ('leg', 'leg_tv', 'leg_tv, best L'):
    for n in config['num_samples']:
      paper, white = (errors[name, n][estimator] for name in _COVARIANCES)
      mean = statistics.mean_interval(paper - white)
      columns[f'error of {n} draws, {estimator}'] = {
        'paper': paper,
        'white': white,
      }
      rows.append((f'{estimator}, paper - white', f'{n}', _text(mean)))
      numbers['differences'][f'{estimator}, {n}'] = mean._asdict()
  for n, found in covers.items():
    columns[f'coverage of {n} draws'] = {
      name: one.pop('draws') for name, one in found.items()
    }
    for name, one in found.items():
      what = (
        f'{name} L = {one["radius"]:.2g} covers; {one["constant"]:.0%} of maps '
        'constant'
      )
      rows.append((what, f'{n}', _text(one['covers'])))
    numbers['coverage'][n] = found
  numbers['intervals'] = inside._asdict()
  rows.append(("a cell's 95% interval covers", 'default', _text(inside)))
  return findings.Findings(
    ('what', 'draws', 'mean'),
    rows,
    numbers,
    {'errors': _figure(errors, config['num_samples'])},
    columns,
  )


def _text(interval):
  return f'{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})'


def known(side: int, sigma: float):
  """Returns `(f, g, LEG by covariance)` on a grid of `side` cells a side."""
  g = np.zeros((side, side), np.float32)
  third = side // 3
  g[third : 2 * third, third : 2 * third] = 1
  g[2 * third :, : third // 2] = -0.5
  q = np.random.default_rng(0).normal(size=g.shape).astype(np.float32)

  on = grid.operator(side, side)

  def variance(u, name):
    spectrum = jnp.asarray(_COVARIANCES[name](on.eigenvalues), jnp.float32)
    return float(jnp.sum(u * on.filtered(jnp.asarray(u), spectrum)))

  # <g, z> and <q, z> vary by about 1 under independent noise.
  g /= np.sqrt(variance(g, 'white')) * sigma
  q /= np.sqrt(variance(q, 'white')) * sigma
  moves = {
    name: g
    * np.exp(-variance(g, name) * sigma_of(name, side, sigma) ** 2 / 2)
    / 2
    for name in _COVARIANCES
  }

  def fn(x):
    z = x[:, :, 0]
    dot = functools.partial(jnp.vdot, precision=jax.lax.Precision.HIGHEST)
    return (jnp.sin(dot(g, z)) + jnp.cos(dot(q, z))) / 2

  return fn, moves


def sigma_of(name, side, sigma):
  """Returns the scale with which a cell varies by `sigma` on average."""
  return sigma / float(
    np.sqrt(np.mean(_COVARIANCES[name](grid.exact_eigenvalues(side, side))))
  )


def _errors(name, n, config):
  """Returns the relative error of each estimator, over the replicates."""
  side, sigma = config['side'], config['sigma']
  fn, moves = known(side, sigma)
  x = jnp.zeros((side, side, 1))
  keys = jax.random.split(jax.random.key(config['seed']), config['replicates'])

  def radius(evidence, share):
    # The bootstrap's for the first map, then along the path: one set of draws.
    first = leg_tv.bootstrap(evidence, config['level'])
    path = leg_tv.relative(evidence, jnp.abs(share))
    return jnp.where(share < 0, first, path)

  def solve(key):
    return leg_tv.leg_tv(
      fn,
      x,
      key=key,
      radius=radius,
      level=jnp.array([-1.0, *config['path']]),
      cells=side,
      sigma=sigma_of(name, side, sigma),
      num_samples=n,
      covariance=_COVARIANCES[name],
      num_steps=config['num_steps'],
      **_SETTINGS,
    ).info

  found = jax.jit(lambda keys: jax.lax.map(solve, keys))(keys)
  one, path = found.grid[:, 0], found.grid[:, 1:]
  solved = np.asarray(found.solver.converged)
  # The mean of a LEG-TV map is free; LEG's mean is not, but is left out too.
  centred = lambda g: g - np.mean(g, (-2, -1), keepdims=True)
  truth = centred(moves[name])
  error = lambda g: (
    np.linalg.norm(centred(np.asarray(g)[..., 0]) - truth, axis=(-2, -1))
    / np.linalg.norm(truth)
  )
  shift = np.abs(np.mean(one, (1, 2, 3)) - np.mean(moves[name])) / np.max(
    np.abs(moves[name])
  )
  return {
    'leg': error(found.leg.grid),
    'leg_tv': error(one),
    'leg_tv, best L': np.min(error(path), 1),
    'shift of the mean': shift,
    'leg_tv, share solved to its tolerance': np.mean(
      [np.mean(solved[:, 0], 1), np.mean(solved[:, 1:], (1, 2))], axis=0
    ),
  }


def _intervals(config):
  """Returns how many cells' intervals cover, at the defaults, by replicate."""
  side, sigma = config['side'], config['sigma']
  fn, moves = known(side, sigma)
  x, truth = jnp.zeros((side, side, 1)), moves['white'][:, :, None]

  def one(key):
    info = leg.leg(fn, x, key=key, cells=side, sigma=sigma).info
    inside = jnp.abs(info.grid - truth) <= info.margin
    return jnp.mean(inside.astype(jnp.float32))

  key = sampling.draw_key(jax.random.key(config['seed']), 2)
  keys = jax.random.split(key, config['interval_replicates'])
  covers = jax.jit(lambda keys: jax.lax.map(one, keys))(keys)
  return statistics.mean_interval(np.asarray(covers, np.float64))


def _coverage(n, config):
  """Returns how often `|D^{+T}(y - S LEG)|_inf <= L`, for each `L`."""
  side = config['side']
  sigma = sigma_of('paper', side, config['sigma'])
  fn, moves = known(side, config['sigma'])
  on = grid.operator(side, side)
  spectrum = sigma**2 * jnp.asarray(leg.paper(on.eigenvalues), jnp.float32)
  moment = on.filtered(jnp.asarray(moves['paper']), spectrum)
  x = jnp.zeros((side, side, 1))
  moves = moving.of_image(
    x, side, *(_SETTINGS[name] for name in ('colours', 'stretch', 'clip'))
  )
  design = leg.Design(
    sigma=sigma,
    keep=0.5,
    num_samples=n,
    covariance=leg.paper,
    **{name: _SETTINGS[name] for name in ('antithetic', 'draw', 'batch_size')},
  )

  def one(key):
    info, num_terms, term, _ = leg.estimate(fn, x, key, moves, design)
    reach = jax.vmap(lambda y: flows.largest(on.pinv_adjoint(y)), in_axes=-1)
    evidence = leg_tv.Evidence(
      on, info.moment, reach(info.moment), num_terms, term, key, 50
    )
    away = reach(info.moment - moment[:, :, None])[0]
    radii = {k: f(evidence, config['level'])[0] for k, f in _RADII.items()}
    return away, evidence.largest[0], radii

  keys = jax.random.split(
    sampling.draw_key(jax.random.key(config['seed']), 1),
    config['coverage_replicates'],
  )
  away, largest, radii = jax.jit(lambda keys: jax.lax.map(one, keys))(keys)
  found = {}
  for name, radius in radii.items():
    covers = np.asarray(away <= radius, np.float64)
    found[name] = {
      'covers': statistics.mean_interval(covers),
      'draws': covers > 0.5,
      'radius': float(np.mean(radius)),
      # From L_max on a map is constant.
      'constant': float(np.mean(radius >= largest)),
    }
  return found


def _figure(errors, counts):
  fig = figure.Figure(figsize=(6, 4), layout='constrained')
  ax = fig.subplots()
  for name in _COVARIANCES:
    for estimator, style in (
      ('leg', ':'),
      ('leg_tv', '-'),
      ('leg_tv, best L', '--'),
    ):
      found = [
        statistics.mean_interval(errors[name, n][estimator]) for n in counts
      ]
      means = np.array([v.mean for v in found])
      ends = np.array([(v.mean - v.low, v.high - v.mean) for v in found]).T
      ax.errorbar(
        counts, means, ends, fmt=f'{style}o', label=f'{estimator}, {name}'
      )
  ax.set_xscale('log')
  ax.set_yscale('log')
  ax.set_xlabel('evaluations')
  ax.set_ylabel('relative error')
  ax.legend(frameon=False)
  return fig
