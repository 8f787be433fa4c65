"""A training of seconds, on a few digits."""

from experiments.configs import common
from experiments.configs import training_common


def get_config():
  return training_common.training(
    about='Tiny.',
    network={'name': 'softplus_net', 'settings': {}},
    data=training_common.data(
      'digits',
      train='train[:52]',
      validation='train[52:70]',
      test='test[:20]',
      batch_size=12,
    ),
    loss=common.use('plain'),
    epochs=20,
    log_every=3,
    judged=training_common.judge(
      num_examples=3,
      num_maps=2,
      batch_size=1,
      resolution=7,
      attack={'rho': 3.08, 'num_restarts': 1, 'num_steps': 2},
      num_samples=64,
    ),
    sweep={'seed': (0,)},
  )
