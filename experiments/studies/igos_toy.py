"""Two wells in a plane: does the integrated gradient pass the nearer one?

Functions of two mask values with a shallow well near the whole image (1, 1) and
a deep one near the baseline (0, 0): descent by the library's own search, along
the gradient and along the integrated gradient, from (1, 1).
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from matplotlib import figure
import numpy as np

from experiments.core import statistics
from experiments.studies import findings
from saliency_jax.optimization import descent

_SIDE = 101  # Points of the grid that finds the least value.
_CLOSE = 0.05  # What is nearer to the least value than this counts as there.


class Wells(NamedTuple):
  """The function `1 - sum_i depth_i exp(-|m - centre_i|^2 / 2 width_i^2)`."""

  centres: Float[Array, '2 2']
  depths: Float[Array, '2']
  widths: Float[Array, '2']


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Descends on `config.num_functions` functions, drawn at random."""
  del folder  # It is a matter of seconds.
  keys = jax.random.split(
    jax.random.key(config['seed']), config['num_functions']
  )
  wells = jax.vmap(_draw)(keys)
  least = np.asarray(jax.jit(jax.vmap(lambda w: jnp.min(_grid(w))))(wells))
  steps = {'gradient': 1, 'integrated gradient': config['path_steps']}
  paths = {
    name: np.asarray(
      jax.jit(jax.vmap(functools.partial(_descend, config, num)))(wells)
    )
    for name, num in steps.items()
  }
  gaps = {
    name: np.asarray(jax.vmap(_value)(wells, path[:, -1])) - least
    for name, path in paths.items()
  }
  rows, numbers = [], {'least': least, 'gaps': gaps}
  for name, gap in gaps.items():
    there = statistics.mean_interval((gap < _CLOSE).astype(float))
    numbers[name] = there._asdict()
    rows.append((name, _text(there), _text(statistics.mean_interval(gap))))
  difference = statistics.mean_interval(
    gaps['integrated gradient'] - gaps['gradient']
  )
  numbers |= {'difference': difference._asdict()}
  rows.append(('integrated - plain', '', _text(difference)))
  header = ('direction', 'share at the least', 'gap to it')
  return findings.Findings(
    header,
    rows,
    numbers,
    {'toy': _figure(wells, paths, gaps)},
    {'gap to the least value': gaps},
  )


def _draw(key: Key[Array, '']) -> Wells:
  """Draws a shallow well near (1, 1) and a deep one near (0, 0)."""
  near, far, depth, width = jax.random.split(key, 4)
  return Wells(
    jnp.stack(
      [
        jax.random.uniform(near, (2,), minval=0.5, maxval=0.9),
        jax.random.uniform(far, (2,), minval=0.05, maxval=0.45),
      ]
    ),
    jax.random.uniform(
      depth,
      (2,),
      minval=jnp.array([0.2, 0.6]),
      maxval=jnp.array([0.5, 1.0]),
    ),
    jax.random.uniform(width, (2,), minval=0.1, maxval=0.3),
  )


def _value(wells, mask):
  squares = jnp.sum((mask[None] - wells.centres) ** 2, -1)
  return 1 - jnp.sum(
    wells.depths * jnp.exp(-squares / (2 * wells.widths**2)), -1
  )


def _grid(wells):
  axis = jnp.linspace(0, 1, _SIDE)
  at = jnp.stack(jnp.meshgrid(axis, axis, indexing='ij'), -1)
  value = functools.partial(_value, wells)
  return jax.vmap(jax.vmap(value))(at)


def _descend(config, path_steps, wells):
  """Returns the masks from (1, 1) on, a row a step."""
  value = functools.partial(_value, wells)

  def advance(mask, _):
    mask, _ = descent.descend(
      value,
      lambda mask, part, draw: value(part * mask),
      lambda mask: 0 * jnp.sum(mask),
      mask,
      weight_path=(1.0,),
      num_steps=1,
      path_steps=path_steps,
      search=descent.Search(**config['search']),
      batch_size=None,
      combine=lambda mask: mask[None],
    )
    return mask, mask

  start = jnp.ones(2)
  _, masks = jax.lax.scan(advance, start, None, config['num_steps'])
  return jnp.concatenate([start[None], masks])


def _text(interval):
  return f'{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})'


def _figure(wells, paths, gaps):
  """Draws the functions on which the two directions differ most."""
  apart = gaps['gradient'] - gaps['integrated gradient']
  order = np.argsort(-apart)
  picks = {'for it': order[0], 'as it goes': 0, 'against it': order[-1]}
  fig = figure.Figure(figsize=(12, 3.8), layout='constrained')
  for ax, (what, i) in zip(fig.subplots(1, 3), picks.items(), strict=True):
    one = jax.tree.map(lambda a, i=i: a[i], wells)
    axis = np.linspace(0, 1, _SIDE)
    ax.contourf(axis, axis, np.asarray(_grid(one)).T, 20, cmap='Greys_r')
    for (name, path), mark in zip(paths.items(), 'os', strict=True):
      label = f'{name}: {abs(gaps[name][i]):.2f}'
      ax.plot(*path[i].T, marker=mark, markersize=4, label=label)
    ax.set_title(f'function {i}: {what}', fontsize=10)
    ax.set_aspect('equal')
    ax.legend(title='gap to the least', fontsize=8, title_fontsize=8)
  return fig
