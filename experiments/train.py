"""Trains networks, as a config says, on all devices of all processes.

  python -m experiments.train --config=experiments/configs/training_digits.py \\
      --workdir=out/training_digits
  python -m experiments.train --config=experiments/configs/training_mnist.py \\
      --data_dir=DIR --workdir=out/training_mnist

A config may sweep settings: each point of the sweep is a run with a folder of
its own, `lam=200,seed=0`. A run that was stopped, or killed, goes on when its
command is given again, with the parameters it would have had: bit for bit on
one machine. Its folder holds `config.json`; `metrics.jsonl`, and `events/` for
TensorBoard; `checkpoints/`; `model.npz`, which `models.load` reads; and
`judged/`, what the attack does to its maps. `--workdir` then holds
`summary.json` and the figures of the sweep. Several processes share it.

Every run starts from random parameters, or from the parameters of
`--init_from`: the folder of a run, or its `model.npz`.
"""

from collections.abc import Mapping
import copy
import functools
import itertools
import pathlib
from typing import Any

from absl import flags
import jax

from experiments.core import app
from experiments.core import examples
from experiments.core import files
from experiments.core import records
from experiments.core import workdir
from experiments.training import feeding
from experiments.training import figures
from experiments.training import judging
from experiments.training import looping
from experiments.training import recipes
from experiments.training import summaries
from saliency_jax import models

_SPLIT = flags.DEFINE_bool(
  'split_params', False, 'Split parameters over the devices (FSDP).'
)
_NUM_PARTS = flags.DEFINE_integer(
  'num_parts', 1, 'Parts of a batch that each device takes in turn.'
)
_INIT_FROM = flags.DEFINE_string(
  'init_from',
  None,
  'Start from a trained network: the folder of a run, or its model.npz.',
)


def main(setup: app.Setup) -> None:
  """Trains the points of `--config` in `--workdir`, and judges them."""
  config, folder = workdir.read()
  config = _recorded(config)
  if _NUM_PARTS.value < 1:
    raise ValueError(f'--num_parts is {_NUM_PARTS.value}, expected at least 1')
  runs = points(config)
  for name, point in runs.items():
    _check(point)
    _run(point, folder / name, setup.mesh)
  if app.is_first():
    summary = summaries.summarize(folder, config, runs)
    files.write_json(folder / 'summary.json', summary)
    figures.write(folder, summary, list(runs))
    print(summaries.table(summary))
    print(f'wrote {folder}/: summary.json, figures, a folder for each run')


def points(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
  """Returns the runs of a config by the name of their folder.

  Raises:
    ValueError: a setting is swept that is not there.
  """
  sweep, found = dict(config['sweep']), {}
  for values in itertools.product(*sweep.values()):
    point, names = copy.deepcopy({**config, 'sweep': ()}), []
    for path, value in zip(sweep, values, strict=True):
      *parents, last = path.split('.')
      node = functools.reduce(lambda n, k: n.get(k, {}), parents, point)
      if last not in node:
        raise ValueError(f'config.sweep: the config has no setting {path!r}')
      node[last] = value
      # A value that is a whole part of the config has a name of its own.
      named = value['name'] if isinstance(value, Mapping) else value
      names.append(f'{last}={named}')
    found[','.join(names) or 'run'] = point
  return found


def _run(
  config: dict[str, Any], folder: pathlib.Path, mesh: jax.sharding.Mesh
) -> None:
  """Trains and judges one network, or what is missing of that."""
  folder.mkdir(parents=True, exist_ok=True)
  # Trained once, a network can be judged anew: its maps have their own folder.
  records.keep_config(folder, {**config, 'judge': None})
  if not judging.is_judged(config, folder):
    if not (folder / 'trained').is_file():
      looping.train(_prepare(config, folder, mesh))
      app.wait_for_all('trained')
      if app.is_first():
        files.write_bytes(folder / 'trained', b'')
    test = _examples(config, 'test')
    judging.judge(config, folder, models.load(folder), test)
  app.wait_for_all('judged')


def _recorded(config):
  """Returns a config that knows, by its digest, the network it starts from."""
  path = _INIT_FROM.value
  if path is None:
    return config
  try:
    return {**config, 'init_from': files.digest(models.file_of(path))}
  except OSError as e:
    raise ValueError(f'--init_from {path!r}: {e.strerror or e}') from None


def _prepare(config, folder, mesh) -> looping.Run:
  training, validation = (
    _examples(config, part) for part in ('train', 'validation')
  )
  network = config['network']
  model = models.create(
    network['name'],
    key=jax.random.key(config['seed']),
    class_names=training.class_names,
    **network['settings'],
  )
  if _INIT_FROM.value is not None:
    model = models.start_from(model, _INIT_FROM.value)
  if training.images.shape[1:] != model.spec.input_shape:
    raise ValueError(
      f'{config["data"]["name"]!r} has images of {training.images.shape[1:]}, '
      f'{network["name"]} takes {model.spec.input_shape}'
    )
  per_epoch = feeding.num_steps(
    len(training.labels), config['data']['batch_size']
  )
  num_steps = config['max_steps'] or config['epochs'] * per_epoch
  trainer = recipes.trainer(
    config,
    model,
    mesh,
    num_steps=num_steps,
    num_parts=_NUM_PARTS.value,
    split=_SPLIT.value,
  )
  whole = mesh.size * _NUM_PARTS.value
  size = -(-config['data']['batch_size'] // whole) * whole
  return looping.Run(
    config, folder, mesh, model, trainer, training, validation, num_steps, size
  )


def _examples(config, part) -> feeding.Examples:
  data = config['data']
  return feeding.stack(examples.open_source(data['name'], data[part]))


def _check(config) -> None:
  """Refuses a config in which a number is wrong, before any work."""
  for name, least in (
    ('epochs', 1),
    ('first_epochs', 0),
    ('max_steps', 0),
    ('patience', 0),
    ('log_every', 0),
    ('validate_every', 0),
    ('save_every', 0),
  ):
    if config[name] < least:
      raise ValueError(
        f'config.{name} is {config[name]}, expected at least {least}'
      )
  size = config['data']['batch_size']
  if size < 1:
    raise ValueError(f'config.data.batch_size is {size}, expected at least 1')
  recipes.loss(config['loss'])
  recipes.ramped(config['loss'], 1)
  recipes.optimizer(config['optimizer'], 1)


if __name__ == '__main__':
  app.run(main)
