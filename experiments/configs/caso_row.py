"""First and second order beside the maps they are compared with.

Paper: Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019,
  Section 5. https://arxiv.org/abs/1902.00407
Claim: CASO's maps are cleaner than the maps of gradient, SmoothGrad and
  integrated gradients; smoothing helps both orders. Shown by pictures in the
  paper, asked here of deletion and insertion too.
Here: EfficientNet-Lite0 (or :squeezenet) and the 20 photos; the report has a
  row of maps for each.
Seen, when insertion began from OpenCV's blur and not from RISE's own: smoothing
  helps both orders (reproduced: insertion .454 to .573 for CASO, to .568 for
  CAFO); the second order helps neither (-.0002, -.007 to .005, and .005, -.008
  to .018: undecided). CASO inserts less than SmoothGrad (-.123,
  refuted) and no more than the gradient, integrated gradients and chance
  (undecided). Its maps look cleaner because most of their entries are zero: so
  do CAFO's. 8 minutes.
Command: python -m experiments.evaluate --workdir=out/caso_row \\
  --config=experiments/configs/caso_row.py
  The paper's networks, on images of one's own, not run (or se_resnet50):
  --config=experiments/configs/caso_row.py:resnet50 --weights=resnet50.pth \\
  --config.data=FOLDER --config.num_examples=1000
"""

from experiments.configs import common

_INSERTION = 'rise_protocol.insertion'
_RIVALS = ('gradient', 'smooth_grad', 'integrated_gradients', 'cafo', 'random')


def get_config(model: str = 'efficientnet_lite0'):
  """Returns the config of one network."""
  return common.evaluation(
    about=__doc__,
    model=model,
    methods={
      'gradient': common.use('gradient'),
      'smooth_grad': common.use('smooth_grad'),
      'integrated_gradients': common.use('integrated_gradients'),
      'cafo': common.use('cafo'),
      'caso': common.use('caso'),
      'smooth_cafo': common.use('smooth_cafo'),
      'smooth_caso': common.use('smooth_caso'),
      'random': common.use('random'),
    },
    metrics={
      'igos_protocol': common.use('igos_protocol'),
      'rise_protocol': common.use('rise_protocol'),
    },
    claims=(
      *(
        common.claim(
          f'CASO inserts more than {rival}',
          'CASO',
          'Section 5',
          (_INSERTION, 'caso', rival, 'above'),
        )
        for rival in _RIVALS
      ),
      common.claim(
        'smoothing helps CASO and CAFO',
        'CASO',
        'Section 5',
        (_INSERTION, 'smooth_caso', 'caso', 'above'),
        (_INSERTION, 'smooth_cafo', 'cafo', 'above'),
      ),
      common.claim(
        'smooth CASO inserts more than smooth CAFO',
        'CASO',
        'Section 5',
        (_INSERTION, 'smooth_caso', 'smooth_cafo', 'above'),
      ),
    ),
  )
