"""Tests for `experiments/study.py` and its studies, at their smallest."""

import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import records
from experiments import study
from experiments.configs import caso_confidence
from experiments.configs import common
from experiments.configs import igos_pictures
from experiments.configs import igos_toy
from experiments.configs import leg_known
from experiments.configs import sanity_cascade
from tests.experiments import launch


class StudyTest(parameterized.TestCase):
  def _run(self, config):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch.run(study.main, config=config, workdir=str(folder))
    self.assertEqual((done.code, done.stderr), (0, ''))
    found = json.loads((folder / 'study.json').read_text())
    self.assertEqual(found['about'], config.about)
    for path in folder.glob('*.png'):
      self.assertIn(b'PNG', path.read_bytes()[:8])
    self.assertEqual(
      json.loads((folder / 'config.json').read_text())['study'], config.study
    )
    self.assertEmpty(records.read(folder))
    return found['numbers'], done.stdout

  def test_leg_known(self):
    config = leg_known.get_config()
    config.update(
      side=6,
      num_samples=(100, 1600),
      replicates=3,
      num_steps=50,
      path=(0.1, 0.3),
      coverage_samples=(100,),
      coverage_replicates=2,
    )
    numbers, table = self._run(config)
    for name in ('paper', 'white'):
      few, many = (
        numbers['errors'][f'leg, {name}, {n}']['mean'] for n in (100, 1600)
      )
      # The root of 16.
      self.assertBetween(few / many, 2, 8)
    self.assertEqual(numbers['coverage']['100']['mcdiarmid']['constant'], 1)
    self.assertIn('leg_tv, best L, paper - white', table)

  def test_caso_confidence(self):
    config = caso_confidence.get_config('digits')
    config.update(num_examples=6, batch_size=6)
    config.fit.update(split='train[:640]', epochs=1)
    numbers, _ = self._run(config)
    self.assertEqual(len(numbers['examples']) + numbers['left_out'], 6 * 5)
    self.assertLess(numbers['left_out'], 10)
    for row in numbers['examples']:
      self.assertBetween(row['prob'], 0.1, 1)
      self.assertBetween(row['cosine, kappa 10.0'], 0, 1 + 1e-5)
      # More of kappa leaves less of the curvature.
      self.assertGreaterEqual(
        row['cosine, kappa 100.0'], row['cosine, kappa 1.0'] - 1e-5
      )
      self.assertLess(row['residual'], 1e-3)
    self.assertBetween(
      numbers['rank_correlations']['cosine, kappa 10.0'], -1, 1
    )
    self.assertFalse(np.isnan(numbers['interval']).any())

  def test_igos_toy(self):
    config = igos_toy.get_config()
    config.num_functions = 20
    numbers, table = self._run(config)
    for gap in numbers['gaps'].values():
      # The grid may miss the least value by a little, the descent too.
      self.assertGreater(min(gap), -1e-2)
      self.assertLess(min(gap), 0.05)
    plain, along = (
      np.mean(numbers['gaps'][k]) for k in ('gradient', 'integrated gradient')
    )
    self.assertAlmostEqual(
      numbers['difference']['mean'], along - plain, places=5
    )
    self.assertIn(numbers['verdict'], table)

  def test_igos_pictures(self):
    config = igos_pictures.get_config('lenet')
    config.update(data='digits', num_examples=3, num_figures=2, share=0.25)
    config.fit = {'split': 'train[:640]', 'epochs': 1}
    config.methods = {name: common.use(name) for name in ('gradient', 'random')}
    numbers, table = self._run(config)
    self.assertLen(numbers['examples'], 3)
    for row in numbers['examples']:
      self.assertSetEqual(set(row['deleted']), {'gradient', 'random'})
      for prob in (*row['revealed'].values(), *row['baselines'].values()):
        self.assertBetween(prob, 0, 1)
    self.assertIn('baseline blur', table)
    # All the cells gone are the baseline, all of them revealed the image.
    config.share = 1.0
    numbers, _ = self._run(config)
    for row in numbers['examples']:
      self.assertAlmostEqual(
        row['deleted']['gradient'], row['baselines']['blur'], places=5
      )
      self.assertAlmostEqual(row['revealed']['gradient'], row['prob'], places=5)

  def test_sanity_cascade(self):
    config = sanity_cascade.get_config()
    config.update(num_examples=3, batch_size=2)
    config.fit.update(split='train[:640]', epochs=1)
    for name in list(config.methods):
      if name not in ('gradient', 'gradient_x_input'):
        del config.methods[name]
    numbers, table = self._run(config)
    depths = len(numbers['layers']) + 1
    for found in numbers['cascades'].values():
      self.assertEqual(np.shape(found['ssim']), (3, depths))
      # No layer is random at first; all of them are at last.
      np.testing.assert_allclose(np.array(found['norm'])[:, 0], 1, rtol=1e-5)
      self.assertLess(np.mean(found['ssim'], 0)[-1], 0.9)
    self.assertIn('gradient_x_input', table)


if __name__ == '__main__':
  absltest.main()
