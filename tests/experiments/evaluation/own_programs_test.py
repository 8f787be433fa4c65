"""Tests for `own_programs.py`: `evaluate_test.py` has whole runs."""

from absl.testing import absltest
import numpy as np

from experiments.evaluation import own_programs


class OwnProgramsTest(absltest.TestCase):
  def test_players_that_an_image_lacks_are_zero(self):
    few = {'values': np.array([[1.0, 2.0]]), 'calls': np.array([5])}
    many = {'values': np.array([[3.0, 4.0, 5.0]]), 'calls': np.array([7])}
    found = own_programs.stacked([few, many])
    np.testing.assert_array_equal(found['values'], [[1, 2, 0], [3, 4, 5]])
    np.testing.assert_array_equal(found['calls'], [5, 7])


if __name__ == '__main__':
  absltest.main()
