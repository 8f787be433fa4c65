"""The rivals of LEG's Figures 6 to 8, about 3000 calls each.

LEG and LEG0 are LEG-TV on 28 x 28 cells with K_L = .1 and .02, from the same
draws; `leg_auto` has K_L = .1 and the noise that leaves half of the score, and
is no party to any claim. C-Shapley is the regression of the authors' code, 3136
balls of the 28 x 28 cells. LIME and KernelSHAP have 14 x 14 cells for players,
as 28 x 28 would leave them less than four calls a player. What is hidden is
black.
"""

from typing import Any

from experiments.configs import common

RIVALS = ('lime', 'kernel_shap', 'c_shapley', 'grad_cam', 'random')


def methods(sigma: float) -> dict[str, dict[str, Any]]:
  """Returns LEG, LEG0 and their rivals, by label.

  Args:
    sigma: of LEG's noise.
  """
  leg = {'cells': 28, 'num_samples': 3136, 'sigma': sigma}
  return {
    'leg': common.use('leg_tv', level=0.1, **leg),
    'leg0': common.use('leg_tv', level=0.02, **leg),
    'leg_auto': common.use('leg_tv', level=0.1, **{**leg, 'sigma': 'auto'}),
    'lime': common.use('lime', cells=14, num_samples=3000),
    'kernel_shap': common.use('kernel_shap', cells=14, num_samples=3000),
    'c_shapley': common.use('ball_regression', cells=28),
    'grad_cam': common.use('grad_cam'),
    'random': common.use('random'),
  }
