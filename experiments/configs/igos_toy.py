"""The integrated gradient passes a local optimum in a plane of two masks.

Paper: Qi, Khorram and Li, Visualizing deep networks by optimizing with
  integrated gradients, AAAI 2020, Figure 2. https://arxiv.org/abs/1905.00954
Claim: descent along the gradient stops in the local optimum that is nearest;
  along the integrated gradient it reaches a better one.
Here: the paper's function is not given; 500 functions are drawn, each with a
  shallow well near the whole image and a deep one near the baseline. Both
  directions have the same line search, so that only the direction differs.
Seen: refuted. Within .05 of the least value: the plain gradient on .81 (.77 to
  .84) of the functions, the integrated on .42 (.38 to .47); the latter's gap is
  larger by .10 (.09 to .12). What passes the nearer well is the long first step
  of the line search (with steps of 1 at most, plain .51, integrated .07): the
  integrated direction is no descent direction near a well, where the search
  then stops. There are functions on which it is right: see the figure.
Command: python -m experiments.study --workdir=out/igos_toy \\
  --config=experiments/configs/igos_toy.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  return common.study(
    'igos_toy',
    about=__doc__,
    claims=(
      common.claim(
        'the integrated gradient ends nearer the least value',
        'I-GOS',
        'Figure 2',
        ('gap to the least value', 'integrated gradient', 'gradient', 'below'),
      ),
    ),
    num_functions=500,
    num_steps=15,
    path_steps=20,
    search={
      'upper': 200.0,
      'lower': 1e-5,
      'decay': 0.2,
      'slope': 1e-4,
      'forced': False,
    },
  )
