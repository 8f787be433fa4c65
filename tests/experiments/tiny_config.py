"""An evaluation of seconds: a network barely trained, on a few digits."""

from experiments.configs import common


def get_config(parts='all'):
  """Returns it whole, or its 'few' parts that are compared."""
  config = _whole()
  if parts == 'few':
    config.methods = {n: config.methods[n] for n in ('smooth', 'random')}
    del config.metrics['flipping']
  return config


def _whole():
  return common.evaluation(
    about='Tiny: <b>not</b> a claim of any paper.\n\nSeen on a moon: 1 < 2.\n',
    model='lenet',
    data='digits',
    fit={'split': 'train[:640]', 'epochs': 1},
    num_examples=3,
    methods={
      'gradient': common.use('gradient'),
      'smooth': common.use('smooth_grad', num_samples=2),
      'rise': common.use('rise', num_masks=8, cells=4),
      'random': common.use('random'),
    },
    metrics={
      'igos_protocol': common.use('igos_protocol', resolution=7),
      'flipping': common.use('flipping', num_points=5),
    },
    claims=(
      common.claim(
        'smooth <b>beats</b> chance',
        'none',
        'Figure 0',
        ('igos_protocol.deletion', 'smooth', 'random', 'below'),
        ('igos_protocol.insertion', 'smooth', 'random', 'not_below'),
      ),
    ),
  )
