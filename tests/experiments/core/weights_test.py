"""Tests for `experiments/core/weights.py` and `fits.py`."""

from unittest import mock

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
import jax
import numpy as np

from experiments.core import fits
from experiments.core import weights
from saliency_jax import data
from saliency_jax.models import fitting


class WeightsTest(parameterized.TestCase):
  def test_networks_that_are_trained_here(self):
    self.assertCountEqual(fits.SETTINGS, fitting.NAMES)
    few = {'split': 'train[:640]', 'epochs': 1}
    with mock.patch.dict(fits.SETTINGS, lenet=few):
      model = weights.load('lenet')
    want = fits.fit('lenet', data.load('digits', few['split']), epochs=1)
    self.assertEqual(model.spec, want.spec)
    jax.tree.map(np.testing.assert_array_equal, model.params, want.params)

  def test_weights_of_a_network_that_has_none(self):
    if not flags.FLAGS.is_parsed():
      flags.FLAGS(['weights_test'])
    with flagsaver.flagsaver(weights='lenet.pth'):
      with self.assertRaisesRegex(ValueError, "expected one of .*'lenet'"):
        weights.load('lenet')


if __name__ == '__main__':
  absltest.main()
