"""What the best 6.4% of the cells of each map are worth, as pictures.

Paper: Qi, Khorram and Li, Visualizing deep networks by optimizing with
  integrated gradients, AAAI 2020, Figures 1 and 3 to 6.
  https://arxiv.org/abs/1905.00954
Claim: with the 6.4% of the pixels that I-GOS finds blurred, the classifier is
  lost, and with these alone revealed it is sure again; those of other methods
  do less. The blurred image itself is worth nothing to it.
Here: 50 of 28 x 28 cells; the 20 photos and EfficientNet-Lite0 (or
  :squeezenet), a figure each for the first eight. Baselines: the paper's 51 x
  51 blur, RISE's 11 x 11, and grey.
Seen on six photos, p = .740 on average: without the 6.4% that I-GOS finds it is
  .313, that Mask finds .302, I-GOS++ .382, RISE .571, Grad-CAM .579, integrated
  gradients .692, chance .733. With these alone it is .008 by I-GOS, .140 by
  I-GOS++, .045 by RISE: on this network no 6.4% are enough. The paper's blur is
  worth .002, the 11 x 11 one .073, grey .001. 4 minutes on two cores.
Command: python -m experiments.study --workdir=out/igos_pictures \\
  --config=experiments/configs/igos_pictures.py
"""

from experiments.configs import common


def get_config(model: str = 'efficientnet_lite0'):
  """Returns the config of one network: 'squeezenet' is another."""
  return common.study(
    'best_cells',
    about=__doc__,
    model=model,
    data='photos',
    num_examples=20,
    num_figures=8,
    claims=(
      common.claim(
        'without 6.4% by I-GOS less is left than by others',
        'I-GOS',
        'Figure 1',
        *(
          ('p without the best cells', 'igos', rival, 'below')
          for rival in ('integrated gradients', 'grad_cam', 'rise', 'mask')
        ),
        rule=common.SEEN,
      ),
      common.claim(
        '6.4% by I-GOS alone bring the class back',
        'I-GOS',
        'Figure 1',
        ('p of the best cells alone', 'igos', 'the whole image', 'not_below'),
        rule=common.SEEN,
      ),
      common.claim(
        'the blurred image is worth nothing',
        'I-GOS',
        'Section 4',
        ('p of a baseline', 'blur', 0.01, 'below'),
        rule=common.SEEN,
      ),
    ),
    explained='predicted',
    only='all',
    share=0.064,
    resolution=28,
    baseline='blur',
    baselines=('blur', 'slight_blur', 'grey'),
    methods={
      'integrated gradients': common.use('integrated_gradients'),
      'grad_cam': common.use('grad_cam'),
      'rise': common.use('rise', num_masks=500),
      'mask': common.use('mask', num_steps=150),
      'igos': common.use('igos'),
      'igos_pp': common.use('igos_pp'),
      'random': common.use('random'),
    },
  )
