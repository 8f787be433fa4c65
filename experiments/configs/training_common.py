"""What the configs of trainings have in common.

A config has `claims`, on what is measured of the maps, by the point of the
sweep without its seed, 'lam=200.0', the seeds being its examples; `network` and
its settings for `models.create`; `data`, with the splits of training,
validation and test and the size of a batch; `loss`, `optimizer` and their
settings, of the tables of `training/recipes.py`, the loss with `ramps` of what
changes over the training, if anything does; `epochs`, the first
`first_epochs` of them by the plain loss; `max_steps`, which ends a training
earlier (0 does not); `patience`, the validations without a better loss after
which it ends (0 never does, and keeps the last parameters, not the best); how
often to log, validate and save, in steps (0 is once an epoch); `dtype`, in
which the network is computed; `augment`, whether images are cropped and
reflected at random; `judge`, what is measured of the maps on test examples; and
`sweep`, the values that settings take in turn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from experiments.configs import common

# What Levine et al. say of training; a seed is an example.
LEVINE = (
  common.claim(
    'training against the attack raises the overlap',
    'Certificates',
    'Figure 2',
    ('overlap', 'lam=1000.0', 'lam=0.0', 'above'),
  ),
  common.claim(
    'it costs no accuracy',
    'Certificates',
    'Figure 6',
    ('accuracy', 'lam=1000.0', 'lam=0.0', 'not_below', 0.01),
  ),
)
# The attack of the paper on MNIST.
ATTACK = {'rho': 3.08, 'num_restarts': 3, 'num_steps': 15}
PAPER_NET = {'name': 'softplus_net', 'settings': {}}
ADAM = common.use('adam', learning_rate=1e-3)


def data(
  name: str,
  *,
  train: str,
  validation: str,
  test: str = 'test',
  batch_size: int = 512,
) -> dict[str, Any]:
  """Returns the data of a training, as `data.load` names it."""
  return {
    'name': name,
    'train': train,
    'validation': validation,
    'test': test,
    'batch_size': batch_size,
  }


MNIST = data('mnist', train='train[:55000]', validation='train[55000:]')


def judge(
  *,
  num_examples: int = 200,
  num_maps: int = 6,
  batch_size: int = 100,
  resolution: int = 28,
  attack: Mapping[str, Any] | None = None,
  num_samples: int = 0,
  box: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Returns what is measured of the maps, and of boxes.

  Args:
    num_examples: of the test part, from the first on.
    num_maps: examples whose maps are kept for the figure.
    batch_size: examples at once on each device.
    resolution: side of the cells of deletion and insertion.
    attack: settings of the attack on maps; `None` takes the paper's.
    num_samples: draws that certify the maps; 0 certifies none.
    box: settings of `certified_box`, with its `bound`; `None` measures no box.
  """
  found = {
    'num_examples': num_examples,
    'num_maps': num_maps,
    'batch_size': batch_size,
    'resolution': resolution,
    'attack': dict(ATTACK if attack is None else attack),
    'certificate': {
      'num_samples': num_samples,
      'sigma': 0.2,
      'tau': 0.2,
      'k': 0.2,
      'rho': 0.03,
    },
  }
  return found if box is None else {**found, 'box': dict(box)}


def training(
  *,
  about: str,
  sweep: Mapping[str, Any],
  loss: dict[str, Any],
  claims: Sequence[dict[str, Any]] = (),
  network: Mapping[str, Any] = PAPER_NET,
  data: Mapping[str, Any] = MNIST,
  optimizer: Mapping[str, Any] = ADAM,
  judged: Mapping[str, Any] | None = None,
  epochs: int = 30,
  first_epochs: int = 0,
  max_steps: int = 0,
  patience: int = 0,
  dtype: str = 'float32',
  augment: bool = False,
  seed: int = 0,
  log_every: int = 20,
  validate_every: int = 0,
  save_every: int = 0,
) -> ml_collections.ConfigDict:
  """Returns a config: see the top of this file."""
  config = ml_collections.ConfigDict(sort_keys=False)
  values = {
    'launcher': 'train',
    'about': about,
    'claims': tuple(claims),
    'network': network,
    'data': data,
    'loss': loss,
    'optimizer': optimizer,
    'epochs': epochs,
    'first_epochs': first_epochs,
    'max_steps': max_steps,
    'patience': patience,
    'dtype': dtype,
    'augment': augment,
    'seed': seed,
    'log_every': log_every,
    'validate_every': validate_every,
    'save_every': save_every,
    'judge': judge() if judged is None else judged,
  }
  for name, value in values.items():
    config[name] = value
  # Not a ConfigDict, which takes the dots of a setting's path for its own.
  config.sweep = tuple((path, tuple(v)) for path, v in sweep.items())
  return config
