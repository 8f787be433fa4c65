"""The Hessian nears rank one as p -> 1 and the classes grow; smooth networks.

Paper: Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019,
  Theorem 4, Appendices F.1 and F.3. https://arxiv.org/abs/1902.00407
Claim: the relative error of the Hessian's best approximation of rank one falls
  as the confidence grows and as the classes grow, to 1000; where the network is
  smooth, the Gauss-Newton part is not the Hessian.
Here: Gaussian logit gradients of 1024 entries; SqueezeNet at the 20 photos,
  its logits cut to the likeliest 10, 100 and all 1000 classes; and LeNet with
  ReLU, softplus and sigmoid-gated (SiLU) activations on 100 digits at half
  their brightness.
Seen: random gradients reproduce both claims: with 10, 100 and 1000 classes the
  error falls from .64, .59, .30 at p = .2 to .28, .15, .064 at .9999, and no
  further. SqueezeNet has the first (rank correlation -.63, -.84 to -.24; 20
  photos, an interval alone), loosely: above p = .97 the error is still .11 to
  .41; the classes make no difference (.002, -.005 to .014), as those past the
  tenth have no probability to speak of. Smooth networks depart from the
  Gauss-Newton part by .46 (softplus) and .44 (SiLU) of the product, ReLU's by
  3e-8; CASO's map at lam1 = 0 shows little of it (cosine .9995 and .9999 on
  average, .985 at least; p = .997, median). 9 minutes beside other runs.
Command: python -m experiments.study --workdir=out/caso_spectrum \\
  --config=experiments/configs/caso_spectrum.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  return common.study(
    'caso_spectrum',
    about=__doc__,
    claims=(
      common.claim(
        'the Hessian nears rank one as p nears 1',
        'CASO',
        'Theorem 4, Appendix F.1',
        ('rank one, 1000 classes', 'error', 'p', 'falls_with'),
      ),
      common.claim(
        'the Hessian nears rank one as the classes grow',
        'CASO',
        'Theorem 4, Appendix F.1',
        ('error of rank one', '1000 classes', '10 classes', 'below'),
        rule=common.SEEN,
      ),
    ),
    classes=(10, 100, 1000),
    size=1024,
    probs=(0.2, 0.5, 0.8, 0.95, 0.99, 0.999, 0.9999),
    model='squeezenet',
    data='photos',
    num_examples=20,
    activations=('relu', 'softplus', 'silu'),
    small={**common.LENET, 'num_examples': 100},
  )
