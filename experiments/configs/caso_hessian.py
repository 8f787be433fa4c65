"""The Hessian of real classifiers: exact and by Lanczos, its rank, its time.

Paper: Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019,
  Theorem 5, Appendix C, Appendix F.1. https://arxiv.org/abs/1902.00407
Claim: the Hessian of a ReLU network is found exactly from its gradients; as the
  prediction grows sure, it comes near a matrix of rank one.
Here: SqueezeNet and EfficientNet-Lite0, 1000 classes; one of the 20 photos, its
  contrast lowered until the prediction is not sure; the seconds are those of
  the whole call, compilation included the first time.
Command: python -m experiments.study --workdir=out/caso_hessian \\
  --config=experiments/configs/caso_hessian.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  return common.study(
    'caso_hessian',
    about=__doc__,
    models=('squeezenet', 'efficientnet_lite0'),
    data='photos',
    num_examples=20,
    photo=0,
    strengths=(1.0, 0.5, 0.2),
    products=(4, 8, 12, 20),
    batch_size=8,
  )
