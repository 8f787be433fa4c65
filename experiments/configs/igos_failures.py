"""Where I-GOS fails: classes that the classifier does not see.

Paper: Qi, Khorram and Li, Visualizing deep networks by optimizing with
  integrated gradients, AAAI 2020, Figure 7. https://arxiv.org/abs/1905.00954
Claim: where the prediction is wrong or the confidence below .01, the map of the
  true class shows nothing of it, and revealing its best cells gives no
  confidence.
Here: the photos that SqueezeNet classifies wrongly (or another network, by the
  argument), each explained for its true class.
Seen: six photos, p of the true class .110 on average (.024 to .20); I-GOS takes
  it to .012, and its best 6.4% alone raise it to .234, well above the photo's
  own on two of them: where the class is second or third, the map is of the
  object, and revealing it decides for it. Where it is not seen at all (a shoe
  at .024) they are worth .000. In part reproduced. 4 minutes on two cores.
Command: python -m experiments.study --workdir=out/igos_failures \\
  --config=experiments/configs/igos_failures.py
"""

from experiments.configs import common
from experiments.configs import igos_pictures


def get_config(model: str = 'squeezenet'):
  """Returns the config of one network."""
  config = igos_pictures.get_config(model)
  config.update(about=__doc__, explained='true', only='wrong')
  methods = ('integrated gradients', 'grad_cam', 'mask', 'igos', 'igos_pp')
  chosen = {name: config.methods[name].to_dict() for name in methods}
  config.claims = (
    common.claim(
      'of a wrong prediction the best cells are worth nothing',
      'I-GOS',
      'Figure 7',
      ('p of the best cells alone', 'igos', 0.01, 'not_above'),
      rule=common.SEEN,
    ),
  )
  fields = {k: v for k, v in config.items() if k not in ('study', 'launcher')}
  return common.study(
    'best_cells', **{**fields, 'methods': chosen, 'baselines': ('blur',)}
  )
