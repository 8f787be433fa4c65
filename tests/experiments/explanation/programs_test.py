"""Tests for `experiments/explanation/programs.py`."""

from absl.testing import absltest

from experiments.explanation import programs


class GroupTest(absltest.TestCase):
  def test_methods_of_gradients_share_programs(self):
    names = 'rise', 'smooth_grad', 'caso', 'cafo', 'gradient', 'occlusion'
    names += 'grad_cam', 'sparsified_map', 'expected_gradients'
    self.assertEqual(
      programs.group(names),
      [
        ['cafo'],
        ['gradient', 'grad_cam'],
        ['rise'],
        ['smooth_grad', 'expected_gradients'],
        ['caso'],
        ['occlusion'],
        ['sparsified_map'],
      ],
    )


if __name__ == '__main__':
  absltest.main()
