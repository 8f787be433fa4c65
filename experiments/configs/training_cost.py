"""What training against the attack on maps costs, beside plain training.

Paper: Levine, Singla and Feizi, Certifiably robust interpretation in deep
  learning, 2019, https://arxiv.org/abs/1905.12105.
Claim: none of the paper.
Here: the paper's MNIST net with the paper's attack (3 restarts of 15 steps) and
  with the smaller one (1 restart of one step) of `training_mnist.py`, at the
  batch of 32 of that config (:512 for the paper's); and the losses of
  `training_baselines.py`. A pass is one through the network; a plain step takes
  three, one forward, and one for the gradients of each of a layer's input and
  weights.
Seen at the batch of 32, time over a plain step (5.1 ms), passes, and first
  step: input_gradient 1.5, 6, 2.0 s; curvature 2.8, 12, 2.7 s; classification
  10.4, 24, 2.4 s; interpretation with the smaller attack 10.2, 28, 5.8 s, with
  the paper's 253, 255, 6.6 s; plain 1, 3, 1.2 s. 37 s.
Command: python -m experiments.study --workdir=out/training_cost \\
  --config=experiments/configs/training_cost.py
"""

from experiments.configs import common
from experiments.configs import training_common
from experiments.configs import training_mnist


def get_config(batch_size: str = '32'):
  """Returns the config of a batch size."""
  rho = training_common.ATTACK['rho']
  attack = {k: v for k, v in training_common.ATTACK.items() if k != 'rho'}
  interpretation = lambda attack: common.use(
    'interpretation', lam=200.0, rho=rho, attack=attack
  )
  return common.study(
    'training_cost',
    about=__doc__,
    network=training_common.PAPER_NET,
    data='digits',
    split='train',
    batch_size=int(batch_size),
    optimizer=training_common.ADAM,
    losses={
      'plain': common.use('plain'),
      'input_gradient': common.use('input_gradient', lam=0.1),
      'curvature': common.use('curvature', lam=0.1),
      'classification': common.use('classification', rho=rho, num_steps=10),
      'interpretation, smaller attack': interpretation(training_mnist.SMALLER),
      "interpretation, the paper's attack": interpretation(attack),
    },
    repeats=5,
  )
