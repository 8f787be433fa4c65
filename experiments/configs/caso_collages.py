"""Two objects in one image: does the map highlight the one it explains?

Paper: Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019,
  Section 5 (objects of more than one class). https://arxiv.org/abs/1902.00407
Claim: the map of a class highlights the object of that class.
Here: 20 collages of two of the photos, side by side at half the width, and
  EfficientNet-Lite0 (or :squeezenet); each explained for both photos' classes,
  however little of their probability is left. The share of the best 10% of the
  pixels that lies in the explained half, the mean of a collage's two
  explanations.
Seen: reproduced by every method, to very different degrees. The explained half
  has, of the best pixels, .959 (.905 to .985) by Grad-CAM, .680 by SmoothGrad,
  .670 by smooth CAFO, .621 by the gradient, .617 by integrated gradients, .616
  by CAFO and .586 (.554 to .625) by CASO, whose second order takes away .030
  (standard error .005); half of them by chance. The explained class has p = .04
  (median). In the figure only Grad-CAM's maps leave no doubt. 2 minutes.
Command: python -m experiments.study --workdir=out/caso_collages \\
  --config=experiments/configs/caso_collages.py
"""

from experiments.configs import common


def get_config(model: str = 'efficientnet_lite0'):
  """Returns the config of one network."""
  return common.study(
    'collages',
    about=__doc__,
    model=model,
    data='photos',
    num_examples=20,
    num_shown=3,
    top=0.1,
    claims=(
      *(
        common.claim(
          f'the map of a class by {name} highlights its object',
          'CASO',
          'Section 5',
          ('share in the explained half', name, 0.5, 'above'),
        )
        for name in ('cafo', 'caso')
      ),
      common.claim(
        'CASO highlights it more than the gradient',
        'CASO',
        'Section 5',
        ('share in the explained half', 'caso', 'gradient', 'above'),
        rule=common.SEEN,
      ),
    ),
    methods={
      'gradient': common.use('gradient'),
      'smooth_grad': common.use('smooth_grad'),
      'integrated_gradients': common.use('integrated_gradients'),
      'grad_cam': common.use('grad_cam'),
      'cafo': common.use('cafo'),
      'caso': common.use('caso'),
      'smooth_cafo': common.use('smooth_cafo'),
      'random': common.use('random'),
    },
  )
