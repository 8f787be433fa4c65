"""Maps of photos, and the 80% of the pixels that matter least in red.

Paper: Ikeno and Hara, Maximizing invariant data perturbation with stochastic
  optimization, 2018, https://arxiv.org/abs/1807.05077, Figures 2 to 4.
Claim: the stochastic box's maps show the object with less noise than those of
  the gradient, SmoothGrad and integrated gradients.
Here: SqueezeNet and eight of the photos; the stochastic box with 200 steps of
  16 draws, a width a pixel, at the weight of a violation of .01. The noise is
  measured on ranks, as the maps' scales differ: what a blur of 4 pixels keeps
  over what it takes away (white noise: .005).
Seen on eight photos: signal over noise 1.40 (.91 to 1.84) for the box, more
  than the gradient's .78 (paired difference .62, .29 to .93), not more than
  SmoothGrad's 1.61 (-.22, -.45 to .03); 21.5 for occlusion, whose windows are
  blurs themselves; integrated gradients' ranks have none (.002, chance .005),
  as their sign changes from pixel to pixel. In the figures the box of the dog
  is the dog's; that of the beaker is hardly more than chance. 7 minutes on two
  busy cores.
Command: python -m experiments.study --workdir=out/invariant_pictures \\
  --config=experiments/configs/invariant_pictures.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  stochastic = {
    'num_steps': 200,
    'num_samples': 16,
    'per_channel': False,
    'batch_size': 8,
  }
  return common.study(
    'invariant_pictures',
    about=__doc__,
    model='squeezenet',
    data='photos',
    num_examples=8,
    num_figures=4,
    claims=tuple(
      common.claim(
        f'maps of the box are less noisy than {rival}',
        'Invariant',
        'Figures 2 to 4',
        ('signal over noise', 'invariant', rival, 'above'),
        rule=common.SEEN,
      )
      for rival in ('gradient', 'smooth_grad', 'integrated_gradients')
    ),
    quantile=0.8,
    blur=4.0,
    methods={
      'invariant': common.use(
        'invariant_perturbation', target=0.01, **stochastic
      ),
      'gradient': common.use('gradient'),
      'smooth_grad': common.use('smooth_grad'),
      'integrated_gradients': common.use('integrated_gradients'),
      'occlusion': common.use('occlusion'),
      'random': common.use('random'),
    },
  )
