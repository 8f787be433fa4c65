"""CAFO and CASO by sparsity, beside the gradient cut to the same sparsity.

Paper: Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019,
  Figures 2, 3 and 3c. https://arxiv.org/abs/1902.00407
Claim: more weight on |D|_1 makes maps less noisy; where the confidence is low
  CASO's differs from CAFO's; clipping the gradient to the same sparsity is not
  the same map.
Here: EfficientNet-Lite0 (or :squeezenet) and ten photos, at full and at a fifth
  of their contrast; the loss after a step of length 1 along each map.
Seen: at every sparsity from .5 on the cut gradient raises the loss by more than
  CAFO and CASO do, which shrink the entries that they keep: 2.10 against 1.51
  and 1.48 with 97% zeros, 5.25 and 5.24 without any at low contrast. CASO less
  CAFO is within chance at every sparsity but .99 (-.013, -.037 to .000). CASO's
  support has 92 to 97% of the cut gradient's, 83 to 96% at low contrast. In the
  figures sparser maps are less noisy, and the three rows look alike. 90 s.
Command: python -m experiments.study --workdir=out/caso_sparsity \\
  --config=experiments/configs/caso_sparsity.py
"""

from experiments.configs import common


def get_config(model: str = 'efficientnet_lite0'):
  """Returns the config of one network."""
  return common.study(
    'caso_sparsity',
    about=__doc__,
    model=model,
    data='photos',
    num_examples=10,
    num_figures=3,
    claims=(
      common.claim(
        'CASO raises the loss more than the cut gradient',
        'CASO',
        'Figure 3c',
        ('rise at .97 zeros', 'caso', 'cut gradient', 'above'),
        rule=common.SEEN,
      ),
      common.claim(
        'where the prediction is unsure CASO beats CAFO',
        'CASO',
        'Figure 2',
        ('rise at .97 zeros, low contrast', 'caso', 'cafo', 'above'),
        rule=common.SEEN,
      ),
    ),
    contrasts=(1.0, 0.2),
    sparsities=(0.0, 0.5, 0.75, 0.9, 0.97, 0.99),
    length=1.0,
  )
