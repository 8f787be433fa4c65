"""CASO comes near CAFO as the prediction grows sure: Figure 1, kappa.

Paper: Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019,
  Theorem 5, Figures 1 and 2, Section 4. https://arxiv.org/abs/1902.00407
Claim: with many classes, the two maps agree as p -> 1; kappa matters little.
Here: the 20 photos and EfficientNet-Lite0 (or :squeezenet, or :digits, 250
  digits and LeNet), as they are, blurred, and mixed with grey and with each
  other; lam1 = 0 and the default sparsity.
Seen on photos, 100 versions of 20: rank correlation .89 (.83 to .93), by
  SqueezeNet .84 (.74 to .90). Median cosine below p = .5: .907 (.930), from .5
  to .8 .997 (.997), above .95 .9998 (.9999). Below p = .5 kappa = 1, 10 and 100
  give .885, .907 and .980 (.801, .930, .991): it matters. Residuals are below
  1e-4, of float32. 4 minutes beside other runs.
Seen on digits, 1192 versions of 250 (58 more have p = 1 to rounding, and no
  map): reproduced, rank correlation .90 (.89 to .91); the median cosine is .992
  below p = .5 and .9993 below .8, and 1 - cosine is rounding from .95 on. Below
  p = .5 it is .968, .992, .9997 at kappa = 1, 10, 100: kappa decides how much
  of the curvature is seen. 41 s on two busy cores.
Command: python -m experiments.study --workdir=out/caso_confidence \\
  --config=experiments/configs/caso_confidence.py
"""

from experiments.configs import common


def get_config(which: str = 'efficientnet_lite0'):
  """Returns the config of a network, or of 'digits'."""
  chosen = {
    'model': which,
    'data': 'photos',
    'num_examples': 20,
    'batch_size': 2,
  }
  if which == 'digits':
    chosen = {
      **common.LENET,
      'num_examples': 250,
      'batch_size': 50,
    }
  return common.study(
    'caso_confidence',
    about=__doc__,
    claims=(
      common.claim(
        'CASO comes near CAFO as the prediction grows sure',
        'CASO',
        'Theorem 5, Figure 1',
        ('sureness', 'cosine', 'p', 'rises_with'),
      ),
    ),
    kappas=(10.0, 1.0, 100.0),
    num_steps=24,
    blurs=(1.0, 3.0) if which == 'digits' else (3.0, 6.0),
    mixes=(0.5,),
    bins=(0.0, 0.5, 0.8, 0.95, 0.99, 0.999, 1.0),
    **chosen,
  )
