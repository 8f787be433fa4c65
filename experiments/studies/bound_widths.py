"""How wide a box each bound certifies: intervals, CROWN, learned slopes.

Of each network and digit, by each bound: the largest certified cube, the box
that it grows to, and the least margin that an attack finds in that box.
"""

from collections.abc import Mapping, Sequence
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from matplotlib import figure
import numpy as np

from experiments.core import app
from experiments.core import examples
from experiments.core import statistics
from experiments.studies import certified_boxes
from experiments.studies import findings
from experiments.tables import settings as tables
from saliency_jax import scores
from saliency_jax.core import batching
from saliency_jax.optimization import certified_box


class Found(NamedTuple):
  """What is said of one digit by one bound."""

  cube: Float[Array, '']  # Width of the largest certified cube.
  size: Float[Array, '']  # Mean width of the box.
  margin: Float[Array, '']  # What is certified of it.
  attacked: Float[Array, '']  # The least margin that the attack finds in it.


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Measures the boxes of every digit, by every network and bound."""
  del folder  # It is a matter of minutes.
  rows, numbers, found = [], {}, {}
  for name, network in config['networks'].items():
    chosen = {**config, **network}
    model = examples.load_model(chosen)
    source = examples.load_source(chosen)
    found[name] = {}
    for label in network['bounds']:
      settings = config['bounds'][label]
      found[name][label] = _measure(chosen, model, source, settings, label)
    numbers[name], more = _told(name, found[name])
    rows += more
  header = (
    'network',
    'bound',
    'cube',
    'times the first',
    'box',
    'times the first',
    'empty',
    'broken',
  )
  columns = {
    f'width over the first, {name}': _column(bounds)
    for name, bounds in found.items()
  }
  return findings.Findings(
    header, rows, numbers, {'widths': _figure(found)}, columns
  )


def _column(bounds: Mapping[str, Found]):
  """Returns widths over those by the first bound, digit by digit."""
  first = next(iter(bounds.values()))
  return {label: one.size / first.size for label, one in bounds.items()}


def _measure(config, model, source, settings, label):
  """Returns what a bound says of every digit."""
  one = functools.partial(_one, model.apply, settings, config['attack'])
  program = batching.over_batch(one)
  size, first = config['batch_size'], config['first']
  indices = range(first, first + config['num_examples'])
  what = f'{model.spec.name}, {label}, batches'
  out = []
  for start in app.progress(range(0, len(indices), size), what=what):
    (batch,) = examples.batches(
      config, source, model.spec, indices[start : start + size], 1
    )
    made = program(model.params, batch.images, batch.keys)
    out += [
      jax.tree.map(lambda a, i=i: np.asarray(a[i], np.float64), made)
      for i in range(len(batch.indices))
    ]
  return jax.tree.map(lambda *a: np.stack(a), *out)


def _one(apply, settings, attack, params, x, key):
  fn = scores.margins(apply, params, jnp.argmax(apply(params, x)))
  settings = dict(settings)
  name, own = settings.pop('bound'), settings.pop('of_bound', {})
  bound = functools.partial(tables.FUNCTIONS['bound'][name], **own)
  info = certified_box.certified_box(fn, x, bound=bound, **settings).info
  attacked = certified_boxes.least_margin(fn, x, info.box, key=key, **attack)
  return Found(info.size[0], info.size[-1], info.margin, attacked)


def _told(name: str, found: Mapping[str, Found]):
  """Returns numbers and rows of one network."""
  rows, numbers = [], {}
  first = next(iter(found.values()))
  told = lambda v: f'{v.mean:.4f} ({v.low:.4f} to {v.high:.4f})'
  for label, one in found.items():
    n = {
      'cube': statistics.mean_interval(one.cube),
      'size': statistics.mean_interval(one.size),
      'cube_ratio': np.mean(one.cube) / np.mean(first.cube),
      'size_ratio': np.mean(one.size) / np.mean(first.size),
      'least_cube_ratio': np.min(one.cube / first.cube),
      'empty': int(np.sum(~(one.margin > 0) | (one.size <= 0))),
      'broken': int(np.sum(~(one.attacked > 0))),
    }
    numbers[label] = n
    rows.append(
      (
        name,
        label,
        told(n['cube']),
        f'{n["cube_ratio"]:.2f}',
        told(n['size']),
        f'{n["size_ratio"]:.2f}',
        f'{n["empty"]} of {one.cube.size}',
        f'{n["broken"]} of {one.cube.size}',
      )
    )
  return numbers, rows


def _figure(found: Mapping[str, Mapping[str, Found]]):
  """Draws each digit's box by each bound against its box by the first."""
  fig = figure.Figure(figsize=(3.2 * len(found), 3.2), layout='constrained')
  axes: Sequence[Any] = np.ravel(fig.subplots(1, len(found), sharey=True))
  for ax, (name, bounds) in zip(axes, found.items(), strict=True):
    first = next(iter(bounds.values()))
    for marker, (label, one) in zip('.xs+', bounds.items(), strict=False):
      # Hollow: bounds that agree are drawn over each other.
      ax.plot(
        first.size,
        one.size,
        marker,
        label=label,
        markersize=5,
        markerfacecolor='none',
      )
    ax.set_xscale('log')
    ax.set_yscale('log')
    ax.set_title(name)
    ax.set_xlabel(f'mean width by {next(iter(bounds))}')
    ax.legend(frameon=False, fontsize=8)
  axes[0].set_ylabel('mean width of the certified box')
  return fig
