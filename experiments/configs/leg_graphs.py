"""LEG-TV on a chain, a volume and regions that touch, where LEG is known.

Paper: Luo, Barut, Jin, Statistically consistent saliency estimation, ICCV 2021,
  whose maps are of the cells of pictures.
  https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
Claim: none of the paper. Asked here: a map of few edges is nearer by LEG-TV
  than by LEG of no fewer calls, on graphs of any kind; and the linear program
  is solved to a gap of 1e-3, which HiGHS confirms.
Here: `f(z) = (sin<g,z> + cos<q,z>) / 2`, 200 times, 8 x 8 x 8 cells and 150
  regions of a plane; four calls a node, of orthogonal antithetic draws. `L` by
  the bootstrap at eps = .05, against LEG of the same draws; and by held-out
  draws (`level='auto'`), against LEG of as many calls as both take, or more.
Seen: by held-out draws reproduced on all three, errors .087, .104, .173 against
  LEG's .206, .254, .206: differences -.119 (-.126 to -.111), -.150 (-.157 to
  -.143), -.033 (-.042 to -.022). By the bootstrap's L, which is for a set that
  holds the true map and not for the nearest map, LEG-TV is nearer than LEG of
  the same draws on the volume alone: .287 and .291, .170 and .307, .401 and
  .290. All gaps are below 1e-3, objectives at most 8.2e-4 above HiGHS's, after
  440, 712 and 728 steps at most. 85 s.
Command: python -m experiments.study --workdir=out/leg_graphs \\
  --config=experiments/configs/leg_graphs.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  return common.study(
    'leg_graphs',
    about=__doc__,
    claims=tuple(
      common.claim(
        f'on a {name} LEG-TV is nearer than LEG',
        'none',
        '',
        (f'error, {name}', 'leg_tv, auto', 'leg, as many calls', 'below'),
      )
      for name in ('chain', 'volume', 'graph')
    ),
    # Other draws, and more, than those of the numbers above.
    seed=1,
    chain=200,
    volume=8,
    regions=150,
    sigma=0.1,
    level=0.05,
    replicates=30,
    num_highs=5,
  )
