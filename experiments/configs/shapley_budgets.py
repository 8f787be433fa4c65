"""Shapley values of games that are known: error against calls, beside peers.

Paper: none; the estimators are Lundberg and Lee 2017, Mitchell et al. 2022,
  Kolpaczki et al. 2024 and a Gaussian process; shap's and shapiq's are theirs.
Claim: at an equal number of calls the best of ours is at or below the best of
  shap and shapiq in mean squared error, and standard errors of 95% cover at 90
  to 99%.
Here: superpixels of a photo with both networks, a forest with a background set,
  an MLP, tokens that turn each other, and a random game, of 10 to 12 players;
  `p + 2` calls and its doubles up to `2^p`, 20 seeds.
Command: python -m experiments.study --workdir=out/shapley_budgets \\
  --config=experiments/configs/shapley_budgets.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  photo = {'kind': 'photo', 'index': 3, 'num_players': 12}
  return common.study(
    'shapley_budgets',
    about=__doc__,
    seeds=20,
    peers=True,
    games={
      'photo, SqueezeNet': {**photo, 'model': 'squeezenet'},
      'photo, EfficientNet': {**photo, 'model': 'efficientnet_lite0'},
      'forest': {'kind': 'forest', 'row': 3, 'num_background': 20},
      'MLP': {'kind': 'mlp', 'row': 7},
      'tokens': {'kind': 'tokens', 'num_players': 12},
      'random': {'kind': 'random', 'num_players': 10},
    },
  )
