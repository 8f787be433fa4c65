"""The time of a map: I-GOS, Mask and RISE.

Paper: Qi, Khorram and Li, Visualizing deep networks by optimizing with
  integrated gradients, AAAI 2020, Table 3. https://arxiv.org/abs/1905.00954
Claim: I-GOS takes less time than Mask, and Mask less than RISE: 5.6 to 6.1 s,
  14 to 17 s and 62 s, on ResNet-50 and a 1080 Ti.
Here: EfficientNet-Lite0 (or :squeezenet) and ten of the photos; every program
  is compiled before it is timed, all on the same machine; the numbers of steps
  and of masks are the papers' (15 of 20 gradients, 500, and 4000 masks).
Seen on SqueezeNet: reproduced, by smaller factors: I-GOS 5.0 s at 224 and 4.9 s
  at 28, Mask 7.0 s, RISE 16.5 s. (I-GOS makes 300 gradients, in batches, and a
  line search; Mask 500 gradients, one after the other.) 6 minutes.
Command: python -m experiments.evaluate --workdir=out/igos_table_3 \\
  --config=experiments/configs/igos_table_3.py
"""

from experiments.configs import common
from saliency_jax.optimization import igos


def get_config(model: str = 'efficientnet_lite0'):
  """Returns the config of one network."""
  return common.evaluation(
    about=__doc__,
    model=model,
    num_examples=10,
    methods={
      'igos_224': common.use('igos', resolution=224, **igos.PAPER),
      'igos_28': common.use('igos', resolution=28, **igos.PAPER),
      'mask': common.use('mask'),
      'rise': common.use('rise', num_masks=4000),
    },
    metrics={'igos_protocol': common.use('igos_protocol')},
    claims=(
      *(
        common.claim(
          f'I-GOS at {side} takes less time than Mask',
          'I-GOS',
          'Table 3',
          ('seconds', f'igos_{side}', 'mask', 'below'),
        )
        for side in (224, 28)
      ),
      common.claim(
        'Mask takes less time than RISE',
        'I-GOS',
        'Table 3',
        ('seconds', 'mask', 'rise', 'below'),
      ),
    ),
  )
