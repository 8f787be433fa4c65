"""I-GOS against Mask by the resolution of the mask.

Paper: Qi, Khorram and Li, Visualizing deep networks by optimizing with
  integrated gradients, AAAI 2020, Tables 1 and 2.
  https://arxiv.org/abs/1905.00954
Claim: at every resolution I-GOS is below Mask in deletion and above it in
  insertion, and its insertion rises as the resolution falls. On VGG19, deletion
  and insertion of I-GOS and Mask: at 224 .0336 .5246 and .0482 .4158, at 112
  .0609 .5153 and .0728 .4377, at 28 .0899 .5701 and .1056 .5335, at 14 .1213
  .6387 and .1753 .5647; on ResNet-50 at 7 .1607 .6632 and .2259 .6003. At 224,
  RISE .1082 .5139 and integrated gradients .0663 .2551.
Here: EfficientNet-Lite0 and the 20 photos. Each mask is judged at its own
  resolution, and what has no mask at the image's. I-GOS twice: `igos` with the
  rescue where the paper's weights give no map, `igos_paper` without. The
  paper's weights are known or inferred at 224, 112 and 28, and chosen at 14 and
  7: see `descent.WEIGHTS`. Where a comparison crosses resolutions, areas are
  of different rankings, as they are in the paper. GradCAM is left out.
Seen on SqueezeNet at 28, 14 and 7, ten photos; deletion, insertion of I-GOS and
  Mask: .032, .513 and .027, .472; .058, .528 and .055, .448; .112, .546 and
  .128, .484. I-GOS inserts more by .041, .079 and .062, reproduced at 14 and
  undecided at 28 and 7; deletion is undecided everywhere with the rescue, and
  refuted at 28 and 14 without it (.058, .079). Insertion rises as the
  resolution falls, .513, .528, .546, within the error: undecided. The coarser
  the mask, the less it deletes. 16 minutes on two cores; 224 and 112 not run.
Command: python -m experiments.evaluate \\
  --config=experiments/configs/igos_tables_1_2.py --workdir=out/igos_tables_1_2
  Some resolutions only, on another network:
  --config=experiments/configs/igos_tables_1_2.py:28,14/squeezenet
  The paper's networks, on images of one's own, not run (or resnet50):
  --config=experiments/configs/igos_tables_1_2.py:224,112,28,14,7/vgg19 \\
  --weights=vgg19.pth --config.data=FOLDER --config.num_examples=5000
"""

import itertools

from experiments.configs import common
from saliency_jax.optimization import igos

_RESOLUTIONS = '224,112,28,14,7'


def get_config(which: str = _RESOLUTIONS):
  """Returns the config of some resolutions, from the finest, and a network.

  Args:
    which: '28,14', or '28,14/squeezenet'.
  """
  resolutions, _, model = which.partition('/')
  sides = [int(s) for s in resolutions.split(',')]
  methods = {}
  for side in sides:
    methods |= {
      f'igos_{side}': common.use('igos', resolution=side),
      f'igos_paper_{side}': common.use('igos', resolution=side, **igos.PAPER),
      f'mask_{side}': common.use('mask', resolution=side),
    }
  claims = [
    common.claim(
      f'at every resolution {told} {verb} more than Mask',
      'I-GOS',
      'Tables 1 and 2',
      *(
        (f'igos_protocol.{value}', f'{name}_{s}', f'mask_{s}', direction)
        for s in sides
      ),
    )
    for name, told in (('igos', 'I-GOS'), ('igos_paper', 'I-GOS as printed'))
    for value, verb, direction in (
      ('deletion', 'deletes', 'below'),
      ('insertion', 'inserts', 'above'),
    )
  ]
  if len(sides) > 1:
    claims.append(
      common.claim(
        'the insertion of I-GOS rises as the resolution falls',
        'I-GOS',
        'Tables 1 and 2',
        *(
          ('igos_protocol.insertion', f'igos_{b}', f'igos_{a}', 'above')
          for a, b in itertools.pairwise(sides)
        ),
      )
    )
  if 224 in sides:
    methods |= {
      'rise': common.use('rise', num_masks=1000),
      'integrated_gradients': common.use('integrated_gradients'),
    }
    claims.append(
      common.claim(
        'at 224 I-GOS beats RISE and integrated gradients',
        'I-GOS',
        'Table 1',
        ('igos_protocol.deletion', 'igos_224', 'rise', 'below'),
        ('igos_protocol.deletion', 'igos_224', 'integrated_gradients', 'below'),
        (
          'igos_protocol.insertion',
          'igos_224',
          'integrated_gradients',
          'above',
        ),
      )
    )
  return common.evaluation(
    about=__doc__,
    model=model or 'efficientnet_lite0',
    methods={**methods, 'random': common.use('random')},
    metrics={'igos_protocol': common.use('igos_protocol_own')},
    claims=claims,
  )
