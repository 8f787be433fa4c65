"""Tests for `experiments/evaluation/tuning.py`."""

import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from experiments.configs import common
from experiments.core import claims
from experiments.core import records
from experiments.evaluation import tuning

_DELETION, _INSERTION = 'areas.deletion', 'areas.insertion'
_GRID = ({'num_masks': 1}, {'num_masks': 2}, {'num_masks': 3})


def _config(by=(_INSERTION, _DELETION), grids=None):
  return common.evaluation(
    about='',
    num_examples=6,
    methods={
      'rise': common.use('rise', cells=4, num_masks=9),
      'igos': common.use('igos', explains='log_odds'),
      'random': common.use('random'),
    },
    metrics={
      'areas': common.use('igos_protocol'),
      'flips': common.use('flipping'),
    },
    tune=4,
    tuning=common.tuning(by, {'rise': _GRID} if grids is None else grids),
  ).to_dict()


class TuningTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.measured = []

  def _measure(self, values):
    """Returns what measures a point by its settings and the example."""

    def measure(config, folder, missing, append):
      self.assertEqual(folder, self.folder / tuning.FOLDER)
      self.assertEqual(list(config['metrics']), ['areas'])
      self.measured += missing
      for i in missing:
        maps = {
          label: {'values': values(method['settings'], i), 'seconds': 0.0}
          for label, method in config['methods'].items()
        }
        append({'index': i, 'maps': maps})

    return measure

  def test_the_best_mean_of_the_first_examples_is_taken(self):
    def values(settings, i):
      n = settings['num_masks']
      # Of the first example alone the first point would be the best.
      insertion = {1: 5.0 * (i == 0), 2: 2.0, 3: 4.0}[n]
      return {_INSERTION: insertion, _DELETION: {1: 0.0, 2: 0.0, 3: 3.0}[n]}

    config = _config()
    tuning.check(config)
    tuned, choices = tuning.run(config, self.folder, self._measure(values))
    self.assertEqual(self.measured, [0, 1, 2, 3])
    # Insertion less deletion: by insertion alone it would be the third.
    np.testing.assert_allclose(choices['rise'].worth, [1.25, 2, 1])
    self.assertEqual(choices['rise'].settings, {'num_masks': 2})
    want = {
      **config['methods'],
      'rise': common.use('rise', cells=4, num_masks=2),
    }
    self.assertEqual(tuned['methods'], want)
    self.assertEqual(list(claims.judged(tuned)), [4, 5])
    # Given again nothing is measured, and the same is chosen.
    again = tuning.run(config, self.folder, self._measure(None))
    self.assertEqual(again, (tuned, choices))
    self.assertLen(records.read(self.folder / tuning.FOLDER), 4)

  def test_settings_without_a_value_are_not_chosen(self):
    lacking = lambda settings, i: (
      {_DELETION: 1.0} if settings['num_masks'] > 1 or i else {}
    )
    config = _config(by=(_DELETION,))
    _, choices = tuning.run(config, self.folder, self._measure(lacking))
    self.assertEqual(choices['rise'].worth, [None, -1.0, -1.0])
    self.assertEqual(choices['rise'].settings, {'num_masks': 2})

  def test_the_ends_of_a_grid_are_told(self):
    grids = {'rise': _GRID, 'igos': _GRID[:2]}
    config = _config(grids=grids)
    for i, told in enumerate((True, False, True)):
      found = tuning.told(config, {'rise': _GRID[i], 'igos': _GRID[0]})
      self.assertEqual(
        [line.partition(':')[0] for line in found], told * ['rise']
      )

  def test_words_have_no_ends(self):
    grid = [{'baseline': name} for name in ('black', 'grey', 'blur')]
    self.assertFalse(tuning.at_the_end(grid, grid[0]))

  def test_no_settings_have_a_value(self):
    with self.assertRaisesRegex(ValueError, 'grids.rise: no settings have a v'):
      tuning.run(_config(), self.folder, self._measure(lambda *_: {}))

  def test_nothing_to_tune(self):
    config = _config(grids={})
    found = tuning.run(config, self.folder, self._measure(None))
    self.assertEqual(found, (config, {}))
    del config['tuning']
    tuning.check(config)
    found = tuning.run(config, self.folder, self._measure(None))
    self.assertEqual(found, (config, {}))
    self.assertEqual(list(claims.judged(config)), [4, 5])
    config['tune'] = 0
    self.assertEqual(list(claims.judged(config)), [*range(6)])


if __name__ == '__main__':
  absltest.main()
