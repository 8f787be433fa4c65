"""Tests for `experiments/core/results.py`."""

from typing import NamedTuple

from absl.testing import absltest
import numpy as np

from experiments.core import results
from saliency_jax.core import types


class _Inner(NamedTuple):
  gap: np.ndarray


class _Info(NamedTuple):
  stderr: np.ndarray
  inner: _Inner


def _attribution():
  info = _Info(np.ones((2, 2, 1)), _Inner(np.array(3.0)))
  return types.Attribution(np.arange(4.0).reshape(2, 2, 1), info)


class ResultsTest(absltest.TestCase):
  def test_fields_by_name(self):
    found = results.fields(_attribution().info)
    self.assertEqual(list(found), ['stderr', 'inner.gap'])
    self.assertEqual(results.fields(()), {})

  def test_arrays_by_name(self):
    found = results.arrays({'a': _attribution()})
    self.assertEqual(list(found), ['a', 'a.stderr', 'a.inner.gap'])
    np.testing.assert_array_equal(found['a'][1, 1], [3])

  def test_brief(self):
    self.assertEqual(
      results.brief(np.array([[1.0, 4.0]])),
      {'shape': (1, 2), 'min': 1.0, 'mean': 2.5, 'max': 4.0},
    )
    self.assertEqual(results.brief(np.array(3.0)), 3)
    self.assertEqual(results.brief('x'), 'x')

  def test_trouble(self):
    good = _attribution()
    self.assertIsNone(results.trouble(good))
    scores = good.scores.copy()
    scores[0, 1] = np.nan
    scores[1, 1] = np.inf
    self.assertEqual(
      results.trouble(good._replace(scores=scores)),
      '2 of 4 scores are NaN or infinite',
    )
    info = good.info._replace(stderr=np.full((2, 2, 1), np.nan))
    self.assertEqual(
      results.trouble(types.Attribution(scores, info)),
      '2 of 4 scores are NaN or infinite, and so is its stderr',
    )


if __name__ == '__main__':
  absltest.main()
