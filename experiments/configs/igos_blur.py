"""I-GOS against two blurs: the paper's 51 x 51 and RISE's 11 x 11.

Paper: Qi, Khorram and Li, Visualizing deep networks by optimizing with
  integrated gradients, AAAI 2020, Section 4. https://arxiv.org/abs/1905.00954
Claim: the image must be blurred until the classifier does not know it: the
  paper takes a kernel of 51 x 51 pixels, where others take 11 x 11.
Here: EfficientNet-Lite0 (or :squeezenet) and the 20 photos; masks found and
  judged with either blur. The last point of a deletion curve is what the blur
  itself is worth: see also `igos_pictures.py`.
Seen: reproduced. Judged by 51 x 51, masks found with it delete .076 and insert
  .579, those found with 11 x 11 .100 and .530: -.024 (-.047 to -.009) and .049
  (.018 to .088). Judged by 11 x 11, whose image is often known still, each is
  better by its own blur: deletion .208 and .154. 5 minutes.
Command: python -m experiments.evaluate --workdir=out/igos_blur \\
  --config=experiments/configs/igos_blur.py
"""

from experiments.configs import common


def get_config(model: str = 'efficientnet_lite0'):
  """Returns the config of one network."""
  return common.evaluation(
    about=__doc__,
    model=model,
    methods={
      'igos, 51': common.use('igos'),
      'igos, 11': common.use('igos', baseline='slight_blur'),
      'random': common.use('random'),
    },
    metrics={
      'judged by 51': common.use('igos_protocol'),
      'judged by 11': common.use('igos_protocol', baseline='slight_blur'),
    },
    claims=(
      common.claim(
        'masks found by the 51 x 51 blur are better',
        'I-GOS',
        'Section 4',
        ('judged by 51.deletion', 'igos, 51', 'igos, 11', 'below'),
        ('judged by 51.insertion', 'igos, 51', 'igos, 11', 'above'),
      ),
      common.claim(
        'judged by 11 x 11 they delete less',
        'none',
        '',
        ('judged by 11.deletion', 'igos, 51', 'igos, 11', 'above'),
      ),
    ),
  )
