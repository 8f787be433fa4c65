"""The linear program of LEG-TV against HiGHS: optimum, time and steps.

Empirical LEGs of photos, and grids of noise. Ours, in float32, on one photo's
three channels and on all the grids at once; HiGHS, in float64, on one grid
after the other. What ours says of its gap is compared with how far it is above
HiGHS's optimum. Then its part of a whole map, model calls included.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np
from scipy import optimize
from scipy import sparse

from experiments.core import app
from experiments.core import examples
from experiments.core import timing
from experiments.studies import findings
from saliency_jax import scores
from saliency_jax.optimization import leg_tv
from saliency_jax.perturbations import leg
from saliency_jax.solvers import flows
from saliency_jax.solvers import grid
from saliency_jax.solvers import total_variation


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Solves the programs of each size."""
  del folder  # It is a matter of minutes.
  model = examples.load_model(config)
  source = examples.load_source(config)
  prepared = [
    examples.prepare(source, i, model.spec).image
    for i in range(config['num_examples'])
  ]
  rows, numbers = [], {}
  for case in app.progress(config['cases'], what='sizes of the grid'):
    grids = _grids(model, prepared, case, config)
    found = _solve(grids, case, config)
    name = f'{case["cells"]} x {case["cells"]}'
    numbers[name] = found
    rows += _rows(name, found)
  whole = _whole(model, prepared[0], config)
  rows += [
    (
      f'a map by {name}',
      f'calls {found["calls"]:.2f} s',
      f'{found["whole"]:.2f} s',
      f'solve {found["solve"] / found["whole"]:.1%}',
      f'{found["first_call"]:.1f} s',
      f'{found["gap"]:.1e}',
      _steps(found['steps']),
    )
    for name, found in whole.items()
  ]
  header = (
    'programs',
    'HiGHS',
    'ours',
    'ratio',
    'first call',
    'largest gap, and above HiGHS',
    'steps to 1e-3',
  )
  gaps = np.concatenate([np.ravel(n['gaps']) for n in numbers.values()])
  return findings.Findings(
    header,
    rows,
    {**numbers, 'maps': whole},
    {'steps': _draw(numbers)},
    {'gap': {'ours': gaps}},
  )


def _grids(model, images, case, config):
  """Returns empirical LEGs, three channels a photo, and noise, `[n, h, w]`."""

  def of_photo(x, key):
    logits = model.apply(model.params, x)
    out = leg.leg(
      scores.prob(model.apply, model.params, jnp.argmax(logits)),
      x,
      key=key,
      cells=case['cells'],
      sigma=config['sigma'],
      num_samples=config['num_calls'],
      covariance=leg.paper,
      colours=leg.joint,
      draw=leg.gaussian,
      batch_size=config['batch_size'],
    )
    return jnp.moveaxis(out.info.grid, -1, 0)

  of_photo = jax.jit(of_photo)
  key = jax.random.key(config['seed'])
  found = [
    of_photo(jnp.asarray(x), jax.random.fold_in(key, i))
    for i, x in enumerate(images[: case['num_photos']])
  ]
  shape = (case['num_noise'], case['cells'], case['cells'])
  noise = jax.random.normal(jax.random.fold_in(key, len(images)), shape)
  return jnp.concatenate([*found, noise])


def _solve(grids, case, config):
  """Solves the programs of one size by both."""
  reach = jax.vmap(lambda g: flows.largest(grid.difference(g)))(grids)
  radii = config['level'] * reach
  solve = jax.jit(
    jax.vmap(
      functools.partial(
        total_variation.tv_box, num_steps=config['num_steps'], tolerance=1e-3
      )
    )
  )
  first, _ = timing.timed(lambda: solve(grids[:3], radii[:3]))
  found = {'first_call': first}
  timed = timing.in_turns(
    {
      'photo': lambda: solve(grids[:3], radii[:3]),
      'all': lambda: solve(grids, radii),
    },
    config['repeats'],
  )
  found |= {name: float(np.median(s)) for name, s in timed.items()}
  info = jax.tree.map(np.asarray, solve(grids, radii).info)
  found |= {
    'num': len(grids),
    'gaps': info.relative_gap,
    'steps': info.steps_to_tolerance,
    # Of the box, whose sides are the radii.
    'violations': info.violation / np.asarray(radii),
  }
  if case['highs']:
    optima, seconds = zip(
      *(
        _highs(g, r)
        for g, r in zip(np.asarray(grids), np.asarray(radii), strict=True)
      ),
      strict=True,
    )
    found['highs'] = seconds
    found['above'] = info.objective / np.array(optima) - 1
  return found


def _highs(g, radius):
  """Returns the optimum and the seconds: `-t <= Du <= t`, `D(u - g)` boxed."""
  h, w = g.shape
  one = lambda n: sparse.diags([-1.0, 1.0], [0, 1], (n - 1, n))
  d = sparse.vstack(
    [sparse.kron(one(h), sparse.eye(w)), sparse.kron(sparse.eye(h), one(w))],
    format='csr',
  )
  m, p = d.shape
  b = d @ g.ravel().astype(np.float64)
  eye, none = sparse.eye(m), sparse.csr_matrix((m, m))
  rows = [[d, -eye], [-d, -eye], [d, none], [-d, none]]
  program = functools.partial(
    optimize.linprog,
    np.concatenate([np.zeros(p), np.ones(m)]),
    A_ub=sparse.vstack([sparse.hstack(row) for row in rows]),
    b_ub=np.concatenate([np.zeros(2 * m), b + radius, radius - b]),
    # The first entry is fixed, as the mean has no effect.
    bounds=[(0, 0)] + [(None, None)] * (p - 1) + [(0, None)] * m,
    method='highs',
  )
  seconds, result = timing.timed(lambda: program().fun)
  return result, seconds


def _whole(model, x, config):
  """Times whole maps, their bare model calls, and the solve of their LEG."""
  x = jnp.asarray(x)
  size = config['batch_size']
  images = jnp.broadcast_to(x, (size, *x.shape)) + 0.0
  forward = jax.jit(jax.vmap(model.apply, (None, 0)))
  fn = scores.prob(
    model.apply, model.params, jnp.argmax(model.apply(model.params, x))
  )

  def calls():
    for _ in range(-(-config['num_calls'] // size)):
      out = jax.block_until_ready(forward(model.params, images))
    return out

  def time_map(covariance, colours):
    program = jax.jit(
      functools.partial(
        leg_tv.leg_tv,
        fn,
        cells=28,
        sigma=config['sigma'],
        num_samples=config['num_calls'],
        covariance=covariance,
        colours=colours,
        draw=leg.gaussian,
        batch_size=size,
      )
    )
    whole = lambda: program(x, key=jax.random.key(config['seed']))
    first, (_, info) = timing.timed(whole)
    solve = jax.jit(
      functools.partial(
        leg_tv.leg_tv_of_moment,
        num_terms=1,
        sigma=config['sigma'],
        covariance=covariance,
      )
    )
    timed = timing.in_turns(
      {
        'whole': whole,
        'calls': calls,
        'solve': lambda: solve(info.leg.moment),
      },
      config['repeats'],
    )
    return {
      **{name: float(np.median(s)) for name, s in timed.items()},
      'first_call': first,
      'gap': float(jnp.max(info.solver.relative_gap)),
      'steps': np.asarray(info.solver.steps_to_tolerance),
    }

  return {
    "the paper's covariance, 3 channels": time_map(leg.paper, leg.joint),
    'independent noise, grey': time_map(leg.white, leg.grey),
  }


def _rows(name, found):
  """Returns a row of one photo, and one of all the grids at once."""
  highs = found.get('highs')
  gap = f'{np.max(found["gaps"]):.1e}'
  if 'above' in found:
    gap += f', {np.max(found["above"]):.1e}'
  steps = _steps(found['steps'])
  rows = []
  for what, num in (('photo', 3), ('all', found['num'])):
    theirs = None if highs is None else sum(highs[:num])
    rows.append(
      (
        f'{name}, {num} at once',
        '-' if theirs is None else f'{theirs:.2f} s',
        f'{found[what]:.3f} s',
        '-' if theirs is None else f'{theirs / found[what]:.1f}',
        f'{found["first_call"]:.1f} s' if what == 'photo' else '-',
        gap,
        steps,
      )
    )
    if num == found['num']:
      break
  return rows


def _steps(steps):
  """Returns the median and the range, and how many were not enough."""
  enough = steps[steps > 0]
  told = 'none'
  if enough.size:
    told = f'{np.median(enough):.0f} ({np.min(enough)} to {np.max(enough)})'
  short = steps.size - enough.size
  return f'{told}, {short} not converged' if short else told


def _draw(numbers):
  """Draws the steps to a gap of 1e-3, by the size of the grid."""
  fig = figure.Figure(figsize=(5, 3.2), layout='constrained')
  ax = fig.subplots()
  for at, found in enumerate(numbers.values()):
    steps = found['steps']
    spread = np.linspace(-0.2, 0.2, len(steps))
    ax.plot(at + spread, steps, '.', color='#4477aa')
  ax.set_xticks(range(len(numbers)), list(numbers))
  ax.set_ylabel('steps to a relative gap of 1e-3')
  ax.set_ylim(bottom=0)
  return fig
