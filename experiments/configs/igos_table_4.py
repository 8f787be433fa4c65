"""I-GOS without its total variation, its noise, or its line search.

Paper: Qi, Khorram and Li, Visualizing deep networks by optimizing with
  integrated gradients, AAAI 2020, Table 4. https://arxiv.org/abs/1905.00954
Claim: without TV or noise, insertion at high resolution collapses; a fixed step
  of 1 is a little worse in both. On VGG19, deletion and insertion at 224: I-GOS
  .0336 .5246, no TV .0308 .3712, no noise .0559 .4194, fixed step .0393 .5024;
  at 28: .0899 .5701, .0841 .5181, .0872 .5634, .0906 .5403.
Here: EfficientNet-Lite0 and the 20 photos, at the resolution of the argument,
  28 by default. All with the rescue: without it, photos on which the paper's
  weights give no map would be compared with photos on which they do.
Seen on SqueezeNet, ten photos, at 28: without TV insertion falls from .505 to
  .355, by .150 [.086, .216]: reproduced. Without noise it is .545, with a fixed
  step .487: undecided; deletion .032 against the fixed step's .034, by .002
  [.0001, .006]: reproduced. 6 minutes on two cores.
Command: python -m experiments.evaluate \\
  --config=experiments/configs/igos_table_4.py:224 --workdir=out/igos_table_4
"""

from experiments.configs import common


def get_config(which: str = '28'):
  """Returns the config at one resolution: '224', or '224/squeezenet'."""
  resolution, _, model = which.partition('/')
  side = int(resolution)
  without = {
    'no_tv': {'tv': 0.0},
    'no_noise': {'sigma': 0.0},
    'fixed_step': {'upper': 1.0, 'lower': 1.0, 'forced': True},
  }
  return common.evaluation(
    about=__doc__,
    model=model or 'efficientnet_lite0',
    methods={
      'igos': common.use('igos', resolution=side),
      **{
        name: common.use('igos', resolution=side, **settings)
        for name, settings in without.items()
      },
      'random': common.use('random'),
    },
    metrics={'igos_protocol': common.use('igos_protocol', resolution=side)},
    claims=(
      *(
        common.claim(
          f'at {side} I-GOS inserts more than with {name}',
          'I-GOS',
          'Table 4',
          ('igos_protocol.insertion', 'igos', name, 'above'),
        )
        for name in without
      ),
      common.claim(
        f'at {side} I-GOS deletes more than with fixed_step',
        'I-GOS',
        'Table 4',
        ('igos_protocol.deletion', 'igos', 'fixed_step', 'below'),
      ),
    ),
  )
