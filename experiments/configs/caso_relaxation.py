"""CASO's l1 problem against the l0 problem it relaxes; proximal rates.

Paper: Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019,
  Definition 1, Appendices B and E. https://arxiv.org/abs/1902.00407
Claim: under a restricted eigenvalue condition the l1 problem's solution is near
  that of the l0 problem; the proximal gradient converges faster than the
  subgradient method.
Here: LeNet and 100 digits at half their brightness. Sixteen coarse features
  (blocks of 7 x 7 pixels that move together), where every support of 2 and of 4
  is tried; the gain of a support is that of its best point. The restricted
  eigenvalue is the least over these supports of 2 lam2 I - H, in units of 2
  kappa, which it cannot be below. Rates at sparsity .75 in all 784 pixels, at
  kappa = .1; the subgradient's steps are those for strongly convex objectives.
Seen: the support of the l1 map has .9999 (.9996 to 1.0000) of the best gain
  with 4 entries at kappa = 10, .994 (.973 to .999) at kappa = .1, and is the
  best one on .97 and .91 of the digits; the restricted eigenvalue is 1.01 and
  1.6 times its bound. A gap of 1e-3 takes FISTA 4 products, the proximal
  gradient 8, the subgradient method more than 128 (.017 after them). A minute.
Command: python -m experiments.study --workdir=out/caso_relaxation \\
  --config=experiments/configs/caso_relaxation.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  return common.study(
    'caso_relaxation',
    about=__doc__,
    **common.LENET,
    # Not the examples of the numbers above.
    first=100,
    num_examples=100,
    claims=(
      common.claim(
        "the l1 map's support has .95 of the best gain",
        'CASO',
        'Definition 1, Appendix B',
        ('gain', '4 of 16 entries, kappa 0.1', 0.95, 'above'),
      ),
      common.claim(
        'proximal steps converge faster than the subgradient method',
        'CASO',
        'Appendix E',
        ('gap after 16 products', 'FISTA', 'subgradient', 'below'),
        ('gap after 16 products', 'proximal gradient', 'subgradient', 'below'),
      ),
    ),
    brightness=0.5,
    grid=(4, 4),
    counts=(2, 4),
    kappas=(10.0, 0.1),
    rate_kappa=0.1,
    sparsity=0.75,
    checkpoints=(1, 2, 4, 8, 16, 32, 64, 128),
    reference_steps=1000,
  )
