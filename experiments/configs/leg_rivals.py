"""LEG and LEG0 against LIME, SHAP, C-Shapley and Grad-CAM on one grid of cells.

Paper: Luo, Barut, Jin, Statistically consistent saliency estimation, ICCV 2021,
  Figures 6 and 8.
  https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
Claim: blacking out the cells of largest size, of every map brought to 28 x 28
  cells and of about 3000 calls each, the probability falls fastest by SHAP and
  LEG0, then by LEG, Grad-CAM, C-Shapley and LIME; LEG's key sizes are smaller
  than those of LIME, C-Shapley and Grad-CAM.
Here: MNIST's test digits and LeNet trained on 4000 others, with --data_dir; or
  :photos, EfficientNet-Lite0 and photos. Methods as `leg_common.py` has them.
  The log odds ratio and the log probability are means over 0 to 40% of cells.
Rule: see `common.py`; one family by Holm's procedure, of 30 images at least,
  fewer give intervals alone; fixed before the run.
Command: python -m experiments.evaluate --workdir=out/leg_rivals \\
  --config=experiments/configs/leg_rivals.py --data_dir=FOLDER
  (:photos after `.py`, and a folder of its own.)
"""

from experiments.configs import common
from experiments.configs import leg_common


def get_config(which: str = 'digits'):
  """Returns the config for 'digits', or for 'photos'."""
  on_digits = common.choose(which, {'digits': True, 'photos': False})
  chosen = {'model': 'efficientnet_lite0', 'data': 'photos', 'num_examples': 20}
  if on_digits:
    chosen = {
      'model': 'lenet',
      'data': 'mnist',
      'fit': {'split': 'train[:4000]', 'epochs': 12},
      'num_examples': 100,
      'batch_size': 10,
    }
  return common.evaluation(
    about=__doc__,
    methods=leg_common.methods(0.2 if on_digits else 0.05),
    metrics={'sensitivity': common.use('sensitivity', resolution=28)},
    comparisons=tuple(
      (f'sensitivity.{value}', ours, rival, 'below')
      for value in ('log_odds_ratio', 'key_size')
      for ours in ('leg', 'leg0')
      for rival in leg_common.RIVALS
    ),
    holm=True,
    fewest=30,
    **chosen,
  )
