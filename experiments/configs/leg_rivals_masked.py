"""Images without the tenth that LEG and its rivals score highest, in black.

Paper: Luo, Barut, Jin, Statistically consistent saliency estimation, ICCV 2021,
  Figure 7: the top 10% of the pixels masked.
  https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
Claim: what LEG scores highest is the object itself, more than what LIME, SHAP,
  C-Shapley and Grad-CAM do.
Here: 78 of 28 x 28 cells; 30 digits of a package and LeNet; or :photos,
  EfficientNet-Lite0 and six photos; or :squeezenet, the same with SqueezeNet.
  Methods as `leg_common.py` has them, about 3000 calls each; a figure each for
  six.
Seen on 30 digits: p = .997; without the tenth, and by it alone: LIME .017 and
  .967, KernelSHAP .122 and .943, leg_auto .574 and .565, C-Shapley .662 and
  .711, LEG .736 and .376, LEG0 .771 and .341, chance .991 and .196, Grad-CAM
  .994 and .202: LEG is refuted against LIME and KernelSHAP, undecided against
  C-Shapley, reproduced against Grad-CAM and chance. 30 other digits had the
  same order but for C-Shapley's and LEG's. So it is LIME and KernelSHAP whose
  tenth is the digit. 2 minutes beside other runs.
Command: python -m experiments.study --workdir=out/leg_rivals_masked \\
  --config=experiments/configs/leg_rivals_masked.py
  (:photos or :squeezenet after `.py`, and a folder of its own; or the paper's
  network, :vgg19 --weights=vgg19.pth --config.data=FOLDER, not run.)
"""

from experiments.configs import common
from experiments.configs import leg_common


def get_config(which: str = 'digits'):
  """Returns the config for 'digits', 'photos', 'squeezenet' or 'vgg19'."""
  choices = {'digits': common.LENET, **leg_common.ON_PHOTOS}
  chosen = common.choose(which, choices)
  on_photos = which != 'digits'
  return common.study(
    'best_cells',
    about=__doc__,
    num_figures=6,
    # Of digits others than those of the numbers above.
    first=0 if on_photos else 30,
    claims=tuple(
      common.claim(
        f'without the tenth by LEG less is left than by {rival}',
        'LEG',
        'Figure 7',
        ('p without the best cells', 'leg', rival, 'below'),
      )
      for rival in leg_common.RIVALS
    ),
    explained='predicted',
    only='all',
    share=0.1,
    resolution=28,
    baseline='black',
    baselines=('black',),
    methods=leg_common.methods(on_photos=on_photos),
    **{**chosen, 'num_examples': 6 if on_photos else 30},
  )
