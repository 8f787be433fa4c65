"""Tests for `experiments/certify.py`, on a few digits."""

import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import certify
from experiments.configs import common
from experiments.core import records
from experiments.robustness import certified
from tests.experiments import launch


def _config(**changes):
  settings = {'sigma': 0.5, 'num_samples': 256, 'batch_size': 64}
  return common.certification(
    **{
      'about': 'Tiny.',
      'model': 'lenet',
      'data': 'digits',
      'fit': {'split': 'train[:640]', 'epochs': 1},
      'num_examples': 3,
      'batch_size': 2,
      'rho': (0.001, 0.1),
      'methods': {
        'sparse': {
          **common.use('sparsified_map', **settings),
          'bounds': ('hoeffding', 'clopper_pearson', 'lecuyer'),
        },
        'relaxed': {
          **common.use('relaxed_map', **settings),
          'bounds': ('empirical_bernstein',),
        },
      },
      **changes,
    }
  )


class CertifyTest(parameterized.TestCase):
  def _run(self, folder, **changes):
    return launch.run(
      certify.main, config=_config(**changes), workdir=str(folder)
    )

  def test_certifies_and_goes_on(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = self._run(folder, num_examples=1)
    self.assertEqual((done.code, done.stderr), (0, ''))
    first = records.read(folder)
    done = self._run(folder)
    self.assertEqual((done.code, done.stderr), (0, ''))
    found = records.read(folder)
    self.assertEqual(list(found), [0, 1, 2])
    self.assertEqual(found[0], first[0])
    for record in found.values():
      by_bound = record['maps']['sparse']
      paper, exact, lecuyer = (np.array(v) for v in by_bound.values())
      self.assertEqual(paper.shape, (2, 3))  # Radii and K.
      self.assertTrue(np.all(exact >= paper))
      self.assertTrue(np.all(paper >= lecuyer))
      self.assertTrue(np.all(exact[0] >= exact[1]))
      # 256 draws leave something to certify, and not all.
      self.assertBetween(exact[0].max(), 0.01, 0.99)
    summary = json.loads((folder / 'summary.json').read_text())
    row = summary['maps']['sparse, clopper_pearson']['guaranteed'][0][0]
    # At least 60% of three examples is all but the worst.
    values = [
      r['maps']['sparse']['clopper_pearson'][0][0] for r in found.values()
    ]
    self.assertEqual(row['value'], sorted(values)[1])
    self.assertIn(b'PNG', (folder / 'certificates.png').read_bytes()[:8])
    self.assertFalse((folder / 'draws.png').exists())

  def test_no_such_method_of_a_config(self):
    done = launch.run(
      certify.main, config=_config(), workdir='unused', methods=['dense']
    )
    self.assertEqual(done.code, 1)
    self.assertIn("--methods is 'dense', expected one of sparse", done.stderr)

  def test_draws_the_overlap_against_the_draws(self):
    config = _config(
      methods={
        f'q {q}': {
          **common.use('sparsified_map', num_samples=q),
          'bounds': ('hoeffding', 'clopper_pearson'),
        }
        for q in (256, 64)
      }
    ).to_dict()
    curves = {
      'q 256, hoeffding': [0.5, 0.2],
      'q 256, clopper_pearson': [0.6, 0.3],
      'q 64, hoeffding': [0.1, 0.0],
      'q 64, clopper_pearson': [0.2, 0.1],
    }
    (ax,) = certified.draw_by_draws(config, curves).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    self.assertLen(lines, 4)
    self.assertEqual(lines['hoeffding, rho 0.001'], [[64, 0.1], [256, 0.5]])
    self.assertEqual(lines['clopper_pearson, rho 0.1'], [[64, 0.1], [256, 0.3]])

  @parameterized.parameters(
    ('name', 'rise', "name is 'rise', expected one of scaled_map"),
    ('settings', {'base': 'grad'}, "base is 'grad', expected magnitude or"),
    ('bounds', ('sure',), "bound is 'sure', expected one of hoeffding"),
    ('name', 'scaled_map', 'clopper_pearson is for sparsified_map'),
  )
  def test_refuses(self, field, value, message):
    methods = {'a': {**_config().methods.sparse.to_dict(), field: value}}
    folder = self.enterContext(tempfile.TemporaryDirectory())
    done = self._run(folder, methods=methods)
    self.assertEqual(done.code, 1)
    self.assertRegex(done.stderr, f'^error: config.methods.a: .*{message}')


if __name__ == '__main__':
  absltest.main()
