"""Figures 2 and 6 on a second data set, Fashion-MNIST.

Paper: Levine, Singla and Feizi, Certifiably robust interpretation in deep
  learning, 2019, https://arxiv.org/abs/1905.12105, Figures 2 and 6.
Claim: as in `training_mnist.py`; the paper does not show this data set.
Here: all settings are those of `training_mnist.py`, `:paper` too. Not run: the
  files have to be fetched.
Command: python -m experiments.train --workdir=out/training_fashion \\
  --config=experiments/configs/training_fashion.py --data_dir=DIR
"""

from experiments.configs import training_mnist


def get_config(which: str = 'small'):
  """Returns the config for 'small' or for 'paper'."""
  config = training_mnist.get_config(which)
  config.about = __doc__
  config.data.name = 'fashion_mnist'
  return config
