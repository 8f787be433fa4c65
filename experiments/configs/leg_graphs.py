"""LEG-TV on a chain, a volume and regions that touch, where LEG is known.

Paper: Luo, Barut, Jin, Statistically consistent saliency estimation, ICCV 2021,
  whose maps are of the cells of pictures.
  https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
Claim: none of the paper. Asked here: a map of few edges is nearer by LEG-TV
  than by LEG, from the same draws, on graphs of any kind; and the linear
  program is solved to a gap of 1e-3, which HiGHS confirms.
Here: `f(z) = (sin<g,z> + cos<q,z>) / 2`, 200 times, 8 x 8 x 8 cells and 150
  regions of a plane; four calls a node, of orthogonal antithetic draws; `L` by
  the bootstrap at eps = .05.
Rule: nearer if the 95% interval of the paired difference of the relative
  errors, over 20 seeds, lies below zero; fixed before the run.
Command: python -m experiments.study --workdir=out/leg_graphs \\
  --config=experiments/configs/leg_graphs.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  return common.study(
    'leg_graphs',
    about=__doc__,
    chain=200,
    volume=8,
    regions=150,
    sigma=0.1,
    level=0.05,
    replicates=20,
    num_highs=5,
  )
