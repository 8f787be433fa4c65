"""Tests for `experiments/explanation/certifying.py`."""

import contextlib
import io
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from experiments.explanation import certifying
from experiments.explanation import sheets
from saliency_jax import certificates
from saliency_jax.core import types


class CertifyingTest(absltest.TestCase):
  def test_adds_a_map_where_none_is_smoothed(self):
    of = certifying.with_a_map
    self.assertEqual(of(['gradient']), ['gradient', 'sparsified_map'])
    self.assertEqual(of(['relaxed_map']), ['relaxed_map'])

  def test_reports_smoothed_maps(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    h = np.linspace(0, 1, 48).reshape(4, 4, 3)
    stated = certificates.stated_map(
      h, sigma=0.2, num_samples=100_000, binary=False
    )
    found = {
      'relaxed_map': sheets.Map(stated, {}),
      'gradient': sheets.Map(types.Attribution(h), {}),
    }
    with contextlib.redirect_stdout(io.StringIO()) as out:
      certifying.report(folder, np.full((4, 4, 3), 0.5), found, rho=0.01)
    known = certificates.certify_map(stated, rho=0.01)
    self.assertIn(f'{known.overlap[0]:.1%}', out.getvalue())
    self.assertIn(f'{known.stays.sum()} of 10', out.getvalue())
    self.assertNotIn('gradient', out.getvalue())
    self.assertCountEqual(
      [p.name for p in folder.iterdir()],
      ['relaxed_map.certified.png', 'relaxed_map.certified.npz'],
    )
    with np.load(folder / 'relaxed_map.certified.npz') as arrays:
      np.testing.assert_array_equal(arrays['inside'], known.inside)
      self.assertEqual(arrays['overlap'][0], known.overlap[0])


if __name__ == '__main__':
  absltest.main()
