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
Seen: at sigma = .003 LEG is the gradient to its error (1.68 ± .05 of 1.71, 4.87
  ± .13 of 5.05); with a ripple, it is 1.86 at .03 where the gradient is 5.05,
  and the trend at .1; behind a kink, where the gradient is 0, it sees the slope
  from .03 on (.045, then .30). Lemma 3 holds to the last bit. The mean is off
  by -.004 (-.020 to .009) of the map's deviation with the paper's covariance,
  .001 (-.014 to .016) with independent noise. 15 s.
Command: python -m experiments.study --workdir=out/leg_facts \\
  --config=experiments/configs/leg_facts.py
"""

from experiments.configs import common


def get_config():
  """Returns the config: see the top of this file."""
  return common.study(
    'leg_facts',
    about=__doc__,
    claims=(
      common.claim(
        'LEG-TV at L = 0 is LEG but for a constant',
        'LEG',
        'Lemma 3',
        ('departure from LEG', 'paper', 1e-4, 'below'),
        ('departure from LEG', 'white', 1e-4, 'below'),
      ),
      common.claim(
        'LEG-TV leaves the mean of the map nearly right',
        'LEG',
        'Lemma 3',
        ('size of the shift', 'paper', 0.05, 'below'),
        ('size of the shift', 'white', 0.05, 'below'),
      ),
    ),
    # Other draws than those of the numbers above.
    seed=2,
    sigmas=(0.003, 0.03, 0.1, 0.2),
    num_samples=20000,
    side=14,
    num_known=2000,
    replicates=40,
  )
