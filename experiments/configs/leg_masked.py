"""Photos without the tenth that each map scores highest, in black.

Paper: Luo, Barut, Jin, Statistically consistent saliency estimation, ICCV 2021,
  Figure 7: the top 10% of the pixels masked.
  https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
Claim: what LEG-TV scores highest is the object itself: without it the class is
  lost, more than without what other maps score highest.
Here: 78 of 28 x 28 cells; ten photos and EfficientNet-Lite0 (or :squeezenet),
  LEG and LEG-TV on 14 x 14 cells from 784 images; a figure each for six.
Seen: p = .727 on average; without the tenth it is .330 by RISE, Grad-CAM .436,
  LEG .505, gradient .518, LEG-TV .532 (.310 to .733), SmoothGrad .549, chance
  .631: the class is weakened, not lost, and ten photos do not order the others
  behind RISE and Grad-CAM. Other draws gave LEG-TV .405 and .365, LEG .400 and
  .426. What LEG-TV finds lies about the object in pieces, which alone are worth
  .002 (RISE's .056, Grad-CAM's .072). 5 minutes beside other runs.
Command: python -m experiments.study --workdir=out/leg_masked \\
  --config=experiments/configs/leg_masked.py
"""

from experiments.configs import common


def get_config(model: str = 'efficientnet_lite0'):
  """Returns the config of one network."""
  leg = {'cells': 14, 'num_samples': 784}
  return common.study(
    'best_cells',
    about=__doc__,
    model=model,
    data='photos',
    num_examples=10,
    num_figures=6,
    claims=tuple(
      common.claim(
        f'without its tenth less is left than by {rival}',
        'LEG',
        'Figure 7',
        ('p without the best cells', 'leg_tv', rival, 'below'),
        rule=common.SEEN,
      )
      for rival in ('grad_cam', 'gradient', 'smooth_grad', 'rise', 'random')
    ),
    explained='predicted',
    only='all',
    share=0.1,
    resolution=28,
    baseline='black',
    baselines=('black',),
    methods={
      'leg_tv': common.use('leg_tv', **leg),
      'leg': common.use('leg', **leg),
      'gradient': common.use('gradient'),
      'smooth_grad': common.use('smooth_grad'),
      'grad_cam': common.use('grad_cam'),
      'rise': common.use('rise', num_masks=500),
      'random': common.use('random'),
    },
  )
