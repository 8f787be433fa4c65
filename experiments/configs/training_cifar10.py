"""ResNet-18 on CIFAR-10: the recipe of the paper's networks, for accelerators.

Paper: Levine, Singla and Feizi, Certifiably robust interpretation in deep
  learning, 2019, https://arxiv.org/abs/1905.12105; 375 epochs, batch 128,
  momentum .9, weight decay 5e-4, step decay, early stopping.
Claim: as in `training_mnist.py`, for a deeper network: the overlap under attack
  rises with lam, with little loss of accuracy.
Here: softplus activations, which have curvature, and group normalisation,
  which leaves a network a function of one example, in training too. Or
  :batch_norm, which is He et al.'s network: a step normalises by the statistics
  of its batch, maps and the attacks on them too. It ends where 75 epochs bring
  no better loss on 1000 held-out images, and keeps the best parameters. The
  steps of the decay, when it ends, the augmentation, lam and rho are ours. Not
  run: it takes an accelerator.
Command: python -m experiments.train --workdir=out/training_cifar10 \\
  --config=experiments/configs/training_cifar10.py --data_dir=DIR
"""

from experiments.configs import common
from experiments.configs import training_common

_RHO = 0.5


def get_config(which: str = 'group_norm'):
  """Returns the config for 'group_norm' or for 'batch_norm'."""
  norms = {'group_norm': {}, 'batch_norm': {'batch_norm': True}}
  settings = {'activation': 'softplus', **common.choose(which, norms)}
  return training_common.training(
    about=__doc__,
    claims=training_common.LEVINE,
    network={'name': 'resnet18', 'settings': settings},
    data=training_common.data(
      'cifar10',
      train='train[:49000]',
      validation='train[49000:]',
      batch_size=128,
    ),
    augment=True,
    loss=common.use(
      'interpretation',
      lam=0.0,
      rho=_RHO,
      attack={'num_restarts': 1, 'num_steps': 5},
    ),
    optimizer=common.use(
      'sgd',
      learning_rate=0.1,
      momentum=0.9,
      weight_decay=5e-4,
      schedule=common.use('steps', at=(0.5, 0.75), scale=0.1),
    ),
    epochs=375,
    patience=75,
    first_epochs=5,
    judged=training_common.judge(
      resolution=32, attack={'rho': _RHO, 'num_restarts': 3, 'num_steps': 15}
    ),
    sweep={'loss.settings.lam': (0.0, 200.0, 1000.0)},
  )
