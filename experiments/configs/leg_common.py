"""The rivals of LEG's Figures 6 to 8, about 3000 calls each.

LEG and LEG0 are LEG-TV on 28 x 28 cells with K_L = .1 and .02, from the same
draws; `leg_auto` has K_L = .1 and the noise that leaves half of the score, and
is no party to any claim. C-Shapley is the regression of the authors' code, 3136
balls of the 28 x 28 cells. LIME and KernelSHAP have 14 x 14 cells for players,
as 28 x 28 would leave them less than four calls a player; on photos
`lime_segments` has 50 superpixels, more like the players of LIME's paper, and
is no party to any claim. What is hidden is black.
"""

from typing import Any

from experiments.configs import common

# Of digits: among what each is tuned. A cell more or less changes the number of
# calls of the balls alone.
_NOISE = tuple({'sigma': sigma} for sigma in (0.05, 0.1, 0.2, 'auto'))
_CELLS = tuple({'cells': cells} for cells in (7, 10, 14, 28))
GRIDS = {
  'leg': _NOISE,
  'leg0': _NOISE,
  'lime': _CELLS,
  'kernel_shap': _CELLS,
  'c_shapley': _CELLS,
}
RIVALS = ('lime', 'kernel_shap', 'c_shapley', 'grad_cam', 'random')

# A word after a config's colon to what it runs on.
_PHOTOS = {'data': 'photos', 'num_examples': 20}
ON_PHOTOS = {
  'photos': {'model': 'efficientnet_lite0', **_PHOTOS},
  'squeezenet': {'model': 'squeezenet', **_PHOTOS},
  'vgg19': {'model': 'vgg19', **_PHOTOS},
}


def methods(*, on_photos: bool) -> dict[str, dict[str, Any]]:
  """Returns LEG, LEG0 and their rivals, by label.

  Args:
    on_photos: whether it is not digits that are explained.
  """
  sigma = 0.05 if on_photos else 0.2
  leg = {'cells': 28, 'num_samples': 3136, 'sigma': sigma}
  lime = {'num_samples': 3000}
  found = {
    'leg': common.use('leg_tv', level=0.1, **leg),
    'leg0': common.use('leg_tv', level=0.02, **leg),
    'leg_auto': common.use('leg_tv', level=0.1, **{**leg, 'sigma': 'auto'}),
    'lime': common.use('lime', cells=14, **lime),
    'kernel_shap': common.use('kernel_shap', cells=14, num_samples=3000),
    'c_shapley': common.use('ball_regression', cells=28),
    'grad_cam': common.use('grad_cam'),
    'random': common.use('random'),
  }
  if on_photos:
    found['lime_segments'] = common.use('lime', segments=50, **lime)
  return found
