"""The Hessian of real classifiers: exact and by Lanczos, its rank, its time.

Paper: Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019,
  Theorem 4, Appendix C, Appendix F.1. https://arxiv.org/abs/1902.00407
Claim: the Hessian of a ReLU network is found exactly from its gradients; as the
  prediction grows sure, it comes near a matrix of rank one.
Here: SqueezeNet and EfficientNet-Lite0, 1000 classes; one of the 20 photos, its
  contrast lowered until the prediction is not sure; the seconds are those of
  the whole call, compilation included the first time.
Seen: the top eigenvalue by Lanczos is the exact one to 1e-3 after 4 products in
  5 of 6 cases, after 8 in all, and to 9e-7 after 20. The Hessian is its
  Gauss-Newton part to rounding on both. Not of rank one: at p = .70 the top
  eigenvalue of EfficientNet-Lite0 has .86 of the trace (rank 61, above
  rounding), at p = .38 that of SqueezeNet .58 (17), at p = .08 .21 (195). The
  decomposition takes 25 to 50 s on two busy cores.
Command: python -m experiments.study --workdir=out/caso_hessian \\
  --config=experiments/configs/caso_hessian.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  return common.study(
    'caso_hessian',
    about=__doc__,
    claims=(
      common.claim(
        'the Hessian of a ReLU network is its Gauss-Newton part',
        'CASO',
        'Proposition 1, Theorem 2',
        ('departure', 'Hessian', 1e-4, 'below'),
        rule=common.SEEN,
      ),
      common.claim(
        'twenty products of Lanczos find its top eigenvalue',
        'CASO',
        'Appendix C',
        ('relative error', 'Lanczos', 1e-3, 'below'),
        rule=common.SEEN,
      ),
    ),
    models=('squeezenet', 'efficientnet_lite0'),
    data='photos',
    num_examples=20,
    photo=0,
    strengths=(1.0, 0.5, 0.2),
    products=(4, 8, 12, 20),
    batch_size=8,
  )
