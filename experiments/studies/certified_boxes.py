"""What can be proven of a decision, beside what the stochastic box claims.

Of each network and digit: the certified box, at first (a cube) and grown; the
stochastic boxes, and the largest multiple of each that verifies; the least
margin that an attack finds in each, of ascents from many points; and the least
of some multiples of the certified box in which the attack changes the decision:
what lies between is not known.
"""

from collections.abc import Mapping, Sequence
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from matplotlib import figure
import numpy as np

from experiments.core import app
from experiments.core import examples
from experiments.core import statistics
from experiments.studies import findings
from experiments.tables import settings as tables
from saliency_jax import attacks
from saliency_jax import scores
from saliency_jax.core import batching
from saliency_jax.core import types
from saliency_jax.optimization import boxes
from saliency_jax.optimization import certified_box
from saliency_jax.optimization import invariant


class Found(NamedTuple):
  """What is said of one box."""

  size: Float[Array, '']  # Mean width.
  margin: Float[Array, '']  # The least that the attack finds in it.
  verified: Float[Array, '']  # Mean width of its largest verified multiple.


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Measures the boxes of every digit by every network."""
  del folder  # It is a matter of minutes.
  found = []
  for seed in config['networks']:
    chosen = {**config, 'fit': {**config['fit'], 'seed': seed}}
    model = examples.load_model(chosen)
    source = examples.load_source(chosen)
    program = batching.over_batch(functools.partial(_one, model.apply, config))
    size, first = config['batch_size'], config['first']
    indices = range(first, first + config['num_examples'])
    bar = app.progress(
      range(0, len(indices), size), what=f'network {seed}, batches'
    )
    for start in bar:
      (batch,) = examples.batches(
        chosen, source, model.spec, indices[start : start + size], 1
      )
      out = program(model.params, batch.images, batch.keys)
      found += [
        {'network': seed, 'index': index}
        | jax.tree.map(lambda a, i=i: np.asarray(a[i]), out)
        for i, index in enumerate(batch.indices)
      ]
  return _findings(found, config)


def least_margin(
  fn: types.MarginsFn,
  x: Float[Array, '...'],
  box: boxes.Box,
  *,
  key: Key[Array, ''],
  num_starts: int,
  num_steps: int,
) -> Float[Array, '']:
  """Returns the least margin that an attack finds within a box.

  Args:
    fn: margins of the decision.
    x: the example.
    box: how far it may move.
    key: of the random corners that ascents start in.
    num_starts: such corners; the middle of the box is one more start.
    num_steps: of each ascent.
  """
  found = attacks.in_box(
    lambda x: -jnp.min(fn(x)),
    x,
    box,
    key=key,
    num_restarts=num_starts + 1,
    num_steps=num_steps,
    batch_size=None,
  )
  return -found.objective


def _one(apply, config, params, x, key):
  """Returns the boxes of one digit, and what the attack does to them."""
  label = jnp.argmax(apply(params, x))
  fn = scores.margins(apply, params, label)
  bound = tables.FUNCTIONS['bound'][config['bound']]
  certify = functools.partial(certified_box.certified_box, fn, x, bound=bound)
  certified = certify().info
  stochastic = [
    invariant.invariant_perturbation(
      scores.prob_margins(apply, params, label),
      x,
      key=jax.random.fold_in(key, 100 + i),
      **settings,
    ).info.box
    for i, settings in enumerate(config['boxes'].values())
  ]

  def attack(box_and_index):
    box, i = box_and_index
    return least_margin(
      fn, x, box, key=jax.random.fold_in(key, i), **config['attack']
    )

  def verified(box):
    scaled = certify(start=box.up, num_rounds=0)
    return scaled.info.size[-1]

  # One program attacks all boxes, and one verifies: to compile them takes
  # longer than to run them.
  scales = jnp.array(config['scales'], x.dtype)
  times = lambda a: jax.vmap(lambda scale: scale * a)(scales)
  rows = [jax.tree.map(lambda a: a[None], box) for box in stochastic]
  attacked = _joined(
    boxes.Box(times(certified.box.up), times(certified.box.up)),
    jax.tree.map(lambda a: a[None], certified.box),
    *rows,
  )
  same = jnp.zeros(len(scales) + 1, jnp.int32)
  indices = jnp.concatenate([same, 1 + jnp.arange(len(rows), dtype=jnp.int32)])
  margins = jax.lax.map(attack, (attacked, indices))
  found = {
    'margin': jnp.min(fn(x)),
    'certified_margin': certified.margin,
    'cube': certified.size[0],
    'broken': margins[: len(scales)] <= 0,
    'boxes': {
      'certified': Found(
        certified.size[-1], margins[len(scales)], certified.size[-1]
      )
    },
  }
  proven = jax.vmap(verified)(_joined(*rows))
  for i, name in enumerate(config['boxes']):
    found['boxes'][name] = Found(
      jnp.mean(stochastic[i].up), margins[len(scales) + 1 + i], proven[i]
    )
  return found


def _joined(*trees):
  return jax.tree.map(lambda *a: jnp.concatenate(a), *trees)


def _findings(found: Sequence[Mapping[str, Any]], config) -> findings.Findings:
  names = ['certified', *config['boxes']]
  column = lambda f: np.array([f(one) for one in found], np.float64)
  told = lambda v: f'{v.mean:.4f} ({v.low:.4f} to {v.high:.4f})'
  rows, numbers = [], {'num': len(found)}
  for name in names:
    of = lambda field, name=name: column(
      lambda one: getattr(one['boxes'][name], field)
    )
    size, verified = of('size'), of('verified')
    numbers[name] = {
      'size': statistics.mean_interval(size),
      'verified': statistics.mean_interval(verified),
      'empty': int(np.sum(verified <= 0)),
      'broken': int(np.sum(of('margin') <= 0)),
    }
    n = numbers[name]
    rows.append(
      (
        name,
        told(n['size']),
        told(n['verified']),
        f'{n["empty"]} of {len(found)}',
        f'{n["broken"]} of {len(found)}',
      )
    )
  scales = list(config['scales'])
  broken = np.array([one['broken'] for one in found])
  numbers['scales'] = scales
  numbers['broken_at_scale'] = np.mean(broken, 0)
  numbers['cube'] = statistics.mean_interval(column(lambda one: one['cube']))
  header = (
    'box',
    'mean width',
    'of what verifies',
    'nothing verifies',
    'broken by the attack',
  )
  fig = figure.Figure(figsize=(8, 3.4), layout='constrained')
  left, right = fig.subplots(1, 2)
  margin = column(lambda one: one['margin'])
  for name in names:
    size = column(lambda one, name=name: one['boxes'][name].size)
    left.plot(margin, size, '.', label=name, markersize=4)
  left.set_yscale('log')
  left.set_xlabel('margin at the digit')
  left.set_ylabel('mean width')
  left.legend(frameon=False, fontsize=8)
  right.plot(scales, numbers['broken_at_scale'], '.-')
  right.set_xscale('log', base=2)
  right.set_ylim(0, 1)
  right.set_xlabel('multiple of the certified box')
  right.set_ylabel('digits on which the attack breaks it')
  broken = {
    name: column(lambda one, name=name: one['boxes'][name].margin <= 0)
    for name in names
  }
  return findings.Findings(
    header,
    rows,
    numbers,
    {'boxes': fig},
    {'broken by an attack': broken},
    {'broken by an attack': [one['index'] for one in found]},
  )
