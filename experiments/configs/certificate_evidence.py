"""Certificates against the strongest attack: do they hold as often as said?

Paper: Levine, Singla and Feizi, Certifiably robust interpretation in deep
  learning, 2019, Theorem 2 and its empirical form.
  https://arxiv.org/abs/1905.12105
Claim: with probability .95 over the draws of the map, every perturbation of
  norm rho leaves the certified part of the top K of the population's map.
Here: three networks (the paper's MNIST net, trained from three seeds) and 32
  digits of its own each; K = n/5, q = 1024 draws certify by Clopper-Pearson,
  and 8192 others stand for the population at the neighbour. The attack has
  three restarts of 20 steps against the smoothed magnitude, of 32 draws.
Seen: it holds. 96 trials a radius (288 in all, none left out), with 10
  violations allowed at each: none found, none near. At .03, .1 and .3 the
  certified overlap is .497, .268 and .018 on average, the overlap under attack
  .958, .956 and .952, that of two maps of one image: the attack, of 32 draws,
  hardly moves a map smoothed by .5, and the certificates are far from tight.
  When the three networks had the same digits it was the same. 18 minutes beside
  other runs.
Command: python -m experiments.study --workdir=out/certificate_evidence \\
  --config=experiments/configs/certificate_evidence.py
"""

from experiments.configs import common

_RADII = (0.03, 0.1, 0.3)


def get_config():
  """Returns the config: see the top of this file."""
  return common.study(
    'certificate_evidence',
    about=__doc__,
    **common.SOFTPLUS_NET,
    claims=tuple(
      common.claim(
        f'attacks within {rho} break under 5% of the certificates',
        'Certificates',
        'Theorem 2',
        ('certificate is broken', f'rho {rho}', 0.05, 'below'),
      )
      for rho in _RADII
    ),
    networks=(0, 1, 2),
    num_examples=32,
    batch_size=8,
    k=0.2,
    tau=0.2,
    sigma=0.5,
    rho=_RADII,
    confidence=0.95,
    num_samples=1024,
    num_new_samples=8192,
    attack_samples=32,
    draw_batch=32,
    attack={'num_restarts': 3, 'num_steps': 20, 'batch_size': None},
  )
