"""What a step of each loss costs beside a plain one.

The time of the first step, which compiles, and of later ones, in turns with
plain steps on the same batch; and the passes through the network, forward or
backward: the multiplications of the step's matrix products, those of the dense
layers, over those of a forward pass. Loops that end by their data, such as the
attack's halving after a change of class, count once.
"""

from collections.abc import Mapping
import math
import pathlib
from typing import Any

import jax
from jax.extend import core
import numpy as np

from experiments.core import app
from experiments.core import examples
from experiments.core import timing
from experiments.studies import findings
from experiments.training import feeding
from experiments.training import recipes
from experiments.training import sharding
from saliency_jax import models
from saliency_jax.core import jaxprs


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Times a step of each of `config.losses`, of which one is `plain`."""
  del folder  # It is a matter of minutes.
  mesh = jax.make_mesh(
    (jax.device_count(),), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  # A cached program would make the first call look cheap.
  jax.config.update('jax_enable_compilation_cache', False)
  source = examples.open_source(config['data'], config['split'])
  training = feeding.stack(source)
  network = config['network']
  model = models.create(
    network['name'],
    key=jax.random.key(config['seed']),
    class_names=training.class_names,
    **network['settings'],
  )
  size = config['batch_size']
  batch = feeding.batch(
    training,
    np.arange(size),
    -(-size // mesh.size) * mesh.size,
    sharding.of_batch(mesh),
  )
  one = multiplications(model.apply, model.params, batch.x[0])
  forward = one * len(batch.x)
  runs, firsts, passes = {}, {}, {}
  for label, loss in app.progress(
    config['losses'].items(), what='losses', total=len(config['losses'])
  ):
    settings = {
      'dtype': 'float32',
      'first_epochs': 0,
      'augment': False,
      'optimizer': config['optimizer'],
      'loss': loss,
    }
    trainer = recipes.trainer(settings, model, mesh, num_steps=1)
    args = (trainer.init(model.params), batch, np.int32(config['seed']))
    runs[label] = lambda step=trainer.step, args=args: step(*args)
    passes[label] = multiplications(trainer.step, *args) * mesh.size / forward
    firsts[label], _ = timing.timed(runs[label])
  seconds = timing.in_turns(runs, config['repeats'])
  numbers = {
    label: {
      'first_seconds': firsts[label],
      'seconds': float(np.median(seconds[label])),
      'ratio': float(np.median(np.divide(seconds[label], seconds['plain']))),
      'passes': passes[label],
    }
    for label in runs
  }
  rows = [
    (
      label,
      f'{n["first_seconds"]:.1f} s',
      f'{1000 * n["seconds"]:.1f} ms',
      f'{n["ratio"]:.2f}',
      f'{n["passes"]:.1f}',
    )
    for label, n in numbers.items()
  ]
  header = ('loss', 'first step', 'later', 'over plain', 'passes')
  return findings.Findings(header, rows, numbers, {})


def multiplications(fn: Any, *args: Any) -> int:
  """Counts the multiplications in the matrix products of a program.

  A loop of unknown length counts once, and so does the dearest branch of a
  choice.
  """
  return _count(jax.make_jaxpr(fn)(*args).jaxpr)


def _count(jaxpr: core.Jaxpr) -> int:
  total = 0
  for eqn in jaxpr.eqns:
    inner = [_count(j) for j in jaxprs.subjaxprs(eqn)]
    name = eqn.primitive.name
    if name == 'dot_general':
      (axes, _), _ = eqn.params['dimension_numbers']
      summed = math.prod(eqn.invars[0].aval.shape[axis] for axis in axes)
      total += eqn.outvars[0].aval.size * summed
    elif name == 'cond':
      total += max(inner)
    elif name == 'scan':
      total += eqn.params['length'] * sum(inner)
    else:
      total += sum(inner)
  return total
