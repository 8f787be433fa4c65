"""LEG and LEG-TV on a chain, a volume and a graph, where the answer is known.

    f(z) = sin(<g, z>) / 2 + cos(<q, z>) / 2,   z ~ N(0, sigma^2 I),
    LEG = g exp(-sigma^2 <g, g> / 2) / 2,   g of few edges:

the second term is even, and is to the estimate what the rest of a network is.
Every map's linear program is solved by HiGHS too.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize
from scipy import sparse

from experiments.core import app
from experiments.core import statistics
from experiments.studies import findings
from saliency_jax import maskers
from saliency_jax.core import graphs
from saliency_jax.optimization import leg_tv
from saliency_jax.perturbations import leg

# LEG-TV, and the LEG of as many calls.
_PAIRS = (
  ('leg_tv, bootstrap', 'leg'),
  ('leg_tv, auto', 'leg, as many calls'),
)


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Measures the errors of both, and how well the programs were solved."""
  del folder  # It is a matter of minutes.
  rows, numbers = [], {}
  cases = {'chain': _chain, 'volume': _volume, 'graph': _regions}
  for name in app.progress(tuple(cases), what='graphs'):
    found = _measure(*cases[name](config), config)
    errors = found['errors']
    solved = (
      f'{np.max(found["gaps"]):.1e}',
      f'{np.min(found["above"]):.1e} to {np.max(found["above"]):.1e}',
      f'{np.median(found["steps"]):.0f} ({np.max(found["steps"])})',
    )
    gains = {}
    for ours, theirs in _PAIRS:
      gain = statistics.mean_interval(errors[ours] - errors[theirs])
      rows.append(
        (
          f'{name}, {found["nodes"]} nodes, {found["edges"]} edges',
          f'{ours}: {np.mean(errors[ours]):.3f}',
          f'{theirs}: {np.mean(errors[theirs]):.3f}',
          f'{gain.mean:.3f} ({gain.low:.3f} to {gain.high:.3f})',
          *solved,
        )
      )
      gains[f'{ours} - {theirs}'] = gain._asdict()
    numbers[name] = {**found, 'gains': gains}
  header = (
    'graph',
    'error of LEG-TV',
    'of LEG',
    'difference',
    'largest gap',
    'above HiGHS',
    'steps',
  )
  columns = {f'error, {name}': numbers[name]['errors'] for name in cases}
  return findings.Findings(header, rows, numbers, {}, columns)


def _chain(config):
  """Returns the shape of an example, its masker, its edges, and `g`."""
  num = config['chain']
  g = np.zeros(num)
  g[num // 4 : num // 2], g[3 * num // 4 :] = 1, -0.5
  return (num,), maskers.steps, None, graphs.chain(num), g


def _volume(config):
  side = config['volume']
  cube = functools.partial(maskers.grid, cells=side, axes=(0, 1, 2))
  g, shape = np.zeros((side,) * 3), (side,) * 3
  g[: side // 2, side // 4 : 3 * side // 4, side // 2 :] = 1
  return shape, cube, None, graphs.grid(shape), g.ravel()


def _regions(config):
  """Regions of a plane about random points, by the point that is nearest."""
  num, side = config['regions'], 64
  points = np.random.default_rng(0).uniform(size=(num, 2)) * side
  places = np.stack(np.indices((side, side)), -1).reshape(-1, 1, 2) + 0.5
  nearest = np.argmin(np.sum((places - points[None]) ** 2, -1), 1)
  _, labels = np.unique(nearest, return_inverse=True)
  labels = labels.reshape(side, side)
  edges = graphs.of_segments(labels)
  points = points[np.unique(nearest)] / side
  g = np.all((points > 0.2) & (points < 0.6), 1).astype(float)
  return (len(points),), maskers.entries, edges, edges, g


def _measure(shape, masker, given, edges, g, config):
  """Returns the errors over replicates, and what the solver and HiGHS say."""
  sigma, num = config['sigma'], g.size
  q = np.random.default_rng(1).normal(size=num)
  # <g, z> and <q, z> vary by 1.
  unit = lambda u: jnp.asarray(u / np.linalg.norm(u) / sigma, jnp.float32)
  g, q = unit(g), unit(q)
  truth = np.asarray(g) * np.exp(-0.5) / 2

  def fn(x):
    z = x.ravel() - 1
    dot = functools.partial(jnp.vdot, precision=jax.lax.Precision.HIGHEST)
    return (jnp.sin(dot(g, z)) + jnp.cos(dot(q, z))) / 2

  bound = {'masker': masker, 'edges': given, 'sigma': sigma, 'batch_size': 64}
  solve = functools.partial(
    leg_tv.leg_tv, fn, jnp.ones(shape), num_samples=4 * num, **bound
  )
  # LEG alone, of whole matrices that are as many calls as all of LEG-TV's, and
  # of those that choose its level.
  num_samples = 4 * num + -(-512 // (2 * num)) * 2 * num
  rival = functools.partial(
    leg.leg, fn, jnp.ones(shape), num_samples=num_samples, **bound
  )

  def one(key):
    info = solve(key=key, radius=leg_tv.bootstrap, level=config['level']).info
    auto = solve(key=key, level='auto').info
    maps = {
      'leg': info.leg.grid,
      'leg_tv, bootstrap': info.grid,
      'leg_tv, auto': auto.grid,
      'leg, as many calls': rival(key=key).info.grid,
    }
    return maps, info.radius, info.solver, auto.solver, auto.leg.num_calls

  keys = jax.random.split(jax.random.key(config['seed']), config['replicates'])
  found = jax.jit(lambda keys: jax.lax.map(one, keys))(keys)
  maps, radius, solver, auto, num_calls = jax.tree.map(np.asarray, found)
  if num_calls[0] > 1 + num_samples:
    raise ValueError(f'LEG has {num_samples} calls, LEG-TV {num_calls[0]}')
  maps = {
    name: a.reshape(len(keys), num).astype(np.float64)
    for name, a in maps.items()
  }
  optima = [
    _highs(u, float(r), sigma**2, edges)
    for u, r in zip(
      maps['leg'][: config['num_highs']], radius[:, 0], strict=False
    )
  ]
  objective = solver.objective[: len(optima), 0]
  scale = np.linalg.norm(truth)
  return {
    'nodes': num,
    'edges': len(edges),
    'errors': {
      name: np.linalg.norm(a - truth, axis=1) / scale
      for name, a in maps.items()
    },
    'gaps': np.concatenate([solver.relative_gap, auto.relative_gap]),
    'steps': np.concatenate([solver.steps, auto.steps]),
    'above': objective / np.array(optima) - 1,
  }


def _highs(g, radius, variance, edges):
  """Returns the optimum, in the potential `p` of what the bound bounds.

  `D^{+T} S (u - g) = Dp` for `p = (D'D)^+ S (u - g)`: `u = g + D'Dp / sigma^2`.
  """
  m, p = len(edges), g.size
  rows = np.repeat(np.arange(m), 2)
  ends = np.tile([-1.0, 1.0], m)
  d = sparse.csr_matrix((ends, (rows, edges.ravel())), (m, p))
  moves, b = d @ (d.T @ d) / variance, d @ g
  eye, none = sparse.eye(m), sparse.csr_matrix((m, m))
  parts = [[moves, -eye], [-moves, -eye], [d, none], [-d, none]]
  return optimize.linprog(
    np.concatenate([np.zeros(p), np.ones(m)]),
    A_ub=sparse.vstack([sparse.hstack(part) for part in parts]),
    b_ub=np.concatenate([-b, b, np.full(2 * m, radius)]),
    bounds=[(0, 0)] + [(None, None)] * (p - 1) + [(0, None)] * m,
    method='highs',
  ).fun
