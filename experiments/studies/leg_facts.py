"""What LEG is, on small things: one pixel, its noise, and Lemma 3.

A score of one pixel, where LEG is the slope of the best line through it and
goes to the gradient as the noise goes to zero; the waves and the draws of each
covariance; and LEG-TV at L = 0, which is the empirical LEG.
"""

from collections.abc import Mapping
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from experiments.core import statistics
from experiments.studies import findings
from experiments.studies import leg_known
from saliency_jax.core import sampling
from saliency_jax.optimization import leg_tv
from saliency_jax.perturbations import leg
from saliency_jax.solvers import grid

_COVARIANCES = {'paper': leg.paper, 'white': leg.white, 'smooth': leg.smooth}
# Scores of one pixel in [0, 1], explained at `_AT`.
_TOYS = {
  'smooth': lambda x: jax.nn.sigmoid(8 * (x - 0.5)),
  'wavy': lambda x: jax.nn.sigmoid(8 * (x - 0.5)) + 0.05 * jnp.sin(80 * x),
  'flat here': lambda x: jax.nn.relu(x - 0.45),
}
_AT = 0.4


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Measures each fact, and draws it."""
  del folder  # It is a matter of seconds.
  toys = _toys(config)
  known = _known(config)
  rows = [
    (
      f'one pixel, {name}: LEG at sigma {sigma}',
      f'{found["leg"]:.4f} ± {1.96 * found["stderr"]:.4f}',
      f'{toys[name]["gradient"]:.4f}',
    )
    for name in _TOYS
    for sigma, found in zip(config['sigmas'], toys[name]['legs'], strict=True)
  ]
  for name, found in known.items():
    shift = statistics.mean_interval(found['mean_shift'])
    rows += [
      (f'Lemma 3, {name}: LEG-TV at L = 0', f'{found["lemma"]:.1e}', '0'),
      (
        f'mean of the map, {name}, less the true one, over its deviation',
        f'{shift.mean:.3f} ({shift.low:.3f} to {shift.high:.3f})',
        '0',
      ),
    ]
  figures = {
    'toys': _draw_toys(config, toys),
    'waves': _draw_waves(config),
    'noise': _draw_noise(config),
  }
  header = ('what', 'found', 'gradient, or what is claimed')
  columns = {
    'departure from LEG': {n: k['departures'] for n, k in known.items()},
    'size of the shift': {n: np.abs(k['mean_shift']) for n, k in known.items()},
  }
  return findings.Findings(
    header, rows, {'toys': toys, 'known': known}, figures, columns
  )


def _toys(config):
  """Returns the LEG of each toy by sigma, beside its gradient."""
  found = {}
  for name, toy in _TOYS.items():

    def one(sigma, toy=toy):
      out = leg.leg(
        lambda x: toy(x[0, 0, 0]),
        jnp.full((1, 1, 1), _AT),
        key=jax.random.key(config['seed']),
        cells=1,
        sigma=sigma,
        num_samples=config['num_samples'],
        draw=leg.gaussian,
        batch_size=1000,
      )
      return out.info.grid.ravel()[0], out.info.stderr.ravel()[0]

    made = jax.jit(jax.vmap(one))(jnp.asarray(config['sigmas']))
    found[name] = {
      'gradient': float(jax.grad(toy)(_AT)),
      'legs': [
        {'leg': float(g), 'stderr': float(e)}
        for g, e in zip(*made, strict=True)
      ],
    }
  return found


def _known(config):
  """Returns Lemma 3's error and the shift of the mean, by covariance."""
  side = config['side']
  fn, moves = leg_known.known(side, 0.1)
  x = jnp.zeros((side, side, 1))
  keys = jax.random.split(jax.random.key(config['seed']), config['replicates'])
  found = {}
  for name in ('paper', 'white'):
    settings = {
      'cells': side,
      'sigma': leg_known.sigma_of(name, side, 0.1),
      'num_samples': config['num_known'],
      'covariance': _COVARIANCES[name],
      'draw': leg.gaussian,
      'batch_size': 50,
    }

    def both(key, settings=settings):
      # Shares of L_max: at the first, L = 0.
      levels = jnp.array([0.0, 0.05])
      info = leg_tv.leg_tv(fn, x, key=key, level=levels, **settings).info
      return info.leg.grid, *info.grid

    keys = jax.random.split(
      jax.random.key(config['seed']), config['replicates']
    )
    empirical, at_zero, map_ = jax.tree.map(
      np.asarray, jax.jit(jax.vmap(both))(keys)
    )
    centred = lambda a: a - a.mean((1, 2), keepdims=True)
    largest = lambda a: np.abs(a).max((1, 2, 3))
    off = largest(centred(at_zero) - centred(empirical))
    departures = off / largest(centred(empirical))
    true = moves[name]
    found[name] = {
      'lemma': float(departures.max()),
      'departures': departures,
      'mean_shift': (map_.mean((1, 2, 3)) - true.mean()) / true.std(),
    }
  return found


def _draw_toys(config, toys):
  fig = figure.Figure(figsize=(11, 3.2), layout='constrained')
  axis = np.linspace(0, 1, 400)
  for ax, (name, toy) in zip(
    fig.subplots(1, len(_TOYS)), _TOYS.items(), strict=True
  ):
    ax.plot(axis, np.asarray(jax.vmap(toy)(jnp.asarray(axis))), 'k')
    near = np.array([_AT - 0.2, _AT + 0.2])
    slopes = [('gradient', toys[name]['gradient'])]
    slopes += [
      (f'LEG, sigma {sigma}', found['leg'])
      for sigma, found in zip(config['sigmas'], toys[name]['legs'], strict=True)
    ]
    for label, slope in slopes:
      style = '--' if label == 'gradient' else '-'
      ax.plot(near, float(toy(_AT)) + slope * (near - _AT), style, label=label)
    ax.set_title(name)
    ax.set_xlabel('the pixel')
  ax.legend(frameon=False, fontsize=8)
  return fig


def _draw_waves(config):
  """Draws the first eigenvectors of every covariance here: cosines."""
  side = config['side']
  fig = figure.Figure(figsize=(9, 2.4), layout='constrained')
  eigenvalues = grid.exact_eigenvalues(side, side)
  places = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 2), (side - 1, side - 1))
  for ax, (i, j) in zip(fig.subplots(1, len(places)), places, strict=True):
    wave = grid.idct(jnp.zeros((side, side)).at[i, j].set(1))
    ax.imshow(np.asarray(wave), cmap='RdBu_r')
    by = ', '.join(
      f'{name} {_COVARIANCES[name](eigenvalues)[i, j]:.2g}'
      for name in ('paper', 'smooth')
    )
    ax.set_title(f'({i}, {j})\n{by}', fontsize=7)
    ax.set_axis_off()
  return fig


def _draw_noise(config):
  """Draws one draw of each covariance, of one mean variance."""
  side = config['side']
  like = jnp.zeros((side, side))
  eigenvalues = grid.exact_eigenvalues(side, side)
  xi = sampling.normal(jax.random.key(config['seed']), like)
  fig = figure.Figure(figsize=(7.5, 2.6), layout='constrained')
  for ax, (name, covariance) in zip(
    fig.subplots(1, 3), _COVARIANCES.items(), strict=True
  ):
    spectrum = jnp.asarray(covariance(eigenvalues), like.dtype)
    z = grid.idct(jnp.sqrt(spectrum / jnp.mean(spectrum)) * xi)
    ax.imshow(np.asarray(z), cmap='RdBu_r', vmin=-3, vmax=3)
    ax.set_title(name)
    ax.set_axis_off()
  return fig
