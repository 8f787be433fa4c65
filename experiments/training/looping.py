"""The loop of one training: steps, validation, checkpoints, what is written."""

import contextlib
import pathlib
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.core import app
from experiments.training import checkpoints
from experiments.training import curves
from experiments.training import feeding
from experiments.training import recipes
from experiments.training import sharding
from saliency_jax import models
from saliency_jax.models import types

# Seeds of the draws of validation; a step draws from the seed of its run.
_VALIDATION_SEED = 10**6


class Run(NamedTuple):
  """One training.

  Attributes:
    config: its settings.
    folder: where it writes.
    mesh: all devices.
    model: at its start.
    trainer: the compiled parts.
    training: the examples of steps.
    validation: the examples of validation.
    num_steps: of the whole training.
    size: to which batches are filled up.
  """

  config: dict[str, Any]
  folder: pathlib.Path
  mesh: jax.sharding.Mesh
  model: types.Model
  trainer: recipes.Trainer
  training: feeding.Examples
  validation: feeding.Examples
  num_steps: int
  size: int


class Progress(NamedTuple):
  """What early stopping remembers.

  Attributes:
    best: the least loss of a validation.
    since: validations after that one.
  """

  best: Any = np.float32(np.inf)
  since: Any = np.int32(0)


def train(run: Run) -> None:
  """Takes the steps that are missing, and leaves the trained network."""
  config, patience = run.config, run.config['patience']
  per_epoch = feeding.num_steps(
    len(run.training.labels), config['data']['batch_size']
  )
  first_steps = config['first_epochs'] * per_epoch
  state, progress = _start(run)
  start = int(state.step)
  with (
    contextlib.closing(
      checkpoints.keeper(run.folder / 'checkpoints')
    ) as keeper,
    curves.writing(run.folder, start) as write,
    app.progress(
      range(start + 1, run.num_steps + 1), what=run.folder.name
    ) as bar,
  ):
    waiting, begin = [], time.perf_counter()
    for step in bar:
      if patience and progress.since >= patience:
        break
      due = {
        what: step % (config[f'{what}_every'] or per_epoch) == 0
        or step == run.num_steps
        for what in ('log', 'validate', 'save')
      }
      advance = run.trainer.first if step <= first_steps else run.trainer.step
      batch = _batch(run, run.training, config['seed'], step - 1)
      state, metrics = advance(state, batch, config['seed'])
      waiting.append((step, metrics))
      if any(due.values()):
        # The numbers come first: a checkpoint is the sign that all is there.
        bar.set_postfix_str(_log(run, write, waiting, begin, per_epoch))
        waiting = []
      if due['validate']:
        loss = _validate(run, write, step, state.params)
        better = loss < progress.best
        since = np.int32(0 if better else progress.since + 1)
        progress = Progress(np.minimum(progress.best, np.float32(loss)), since)
        if better and patience:
          _export(run, state.params)
      if due['save']:
        keeper.save(step, (state, _everywhere(run, progress)))
      if not waiting:
        begin = time.perf_counter()
  if not patience:
    _export(run, state.params)


def _start(run):
  """Returns state and progress of the newest checkpoint, or new ones."""
  progress = Progress()
  like = jax.tree.map(
    lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=_whole(run)),
    progress,
  )
  found = checkpoints.restore(
    run.folder / 'checkpoints', (run.trainer.like, like)
  )
  if found is None:
    return run.trainer.init(run.model.params), progress
  state, progress = found
  return state, Progress(*(np.asarray(a)[()] for a in progress))


def _batch(run, examples, seed, step):
  chosen = feeding.rows(
    len(examples.labels), run.config['data']['batch_size'], seed=seed, step=step
  )
  place = sharding.of_batch(run.mesh)
  return feeding.batch(examples, chosen, run.size, place)


def _log(run, write, waiting, begin, per_epoch):
  """Writes the metrics of some steps, and returns the last loss as text."""
  found = jax.device_get(waiting)
  seconds = (time.perf_counter() - begin) / len(found)
  for step, metrics in found:
    values = {k: float(v) for k, v in metrics._asdict().items()}
    if not np.isfinite(values['loss'] + values['grad_norm']):
      raise ValueError(
        f'{run.folder.name}: the loss of step {step} is {values["loss"]}, the '
        f'norm of its gradient {values["grad_norm"]}: lower the learning rate '
        'or the weight of the penalty'
      )
    about = {
      'epoch': step / per_epoch,
      'learning_rate': float(run.trainer.rate(step - 1)),
      'seconds': seconds,
    }
    write(step, 'train', values | about)
  return f'loss {values["loss"]:.3f}'


def _validate(run, write, step, params):
  """Returns the mean loss of the examples that are held out."""
  num = feeding.num_steps(
    len(run.validation.labels), run.config['data']['batch_size']
  )
  sums = [
    run.trainer.validate(
      params,
      _batch(run, run.validation, None, i),
      np.int32(_VALIDATION_SEED + i),
    )
    for i in range(num)
  ]
  total = jax.tree.map(lambda *a: float(np.sum(a)), *jax.device_get(sums))
  values = {k: v / total.weight for k, v in total.terms._asdict().items()}
  values['accuracy'] = values.pop('correct')
  write(step, 'validation', values)
  return values['loss']


def _export(run, params):
  """Writes the network as the file that `models.load` reads."""
  gather = jax.jit(lambda a: a, out_shardings=_whole(run))
  params = jax.device_get(gather(params))
  if app.is_first():
    path = run.folder / models.FILE
    settings = run.config['network']['settings']
    models.save(path, run.model._replace(params=params), settings)


def _everywhere(run, tree):
  """Returns host numbers as arrays that every device has."""
  return jax.tree.map(
    lambda a: jax.make_array_from_callback((), _whole(run), lambda _: a), tree
  )


def _whole(run):
  return jax.sharding.NamedSharding(run.mesh, jax.P())
