"""LEG on one pixel, the waves and draws of its noise, Lemma 3, the mean.

Paper: Luo, Barut, Jin, Statistically consistent saliency estimation, ICCV 2021,
  Figures 1, 3 and 4, Lemma 3.
  https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
Claim: LEG goes to the gradient as the noise goes to zero, and tells the trend
  where the gradient tells a ripple; LEG-TV at L = 0 is the empirical LEG but
  for a constant; LEG-TV leaves the mean of the map nearly right.
Here: three functions of one pixel; and the score of `leg_known.py` on 14 x 14
  cells. Ours fixes the mean to that of the empirical LEG, so its shift is that
  one's Monte Carlo error.
Command: python -m experiments.study --workdir=out/leg_facts \\
  --config=experiments/configs/leg_facts.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  return common.study(
    'leg_facts',
    about=__doc__,
    sigmas=(0.003, 0.03, 0.1, 0.2),
    num_samples=20000,
    side=14,
    num_known=2000,
    replicates=20,
  )
