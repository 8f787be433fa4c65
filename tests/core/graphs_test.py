"""Tests for `graphs.py`."""

import itertools

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saliency_jax.core import graphs


class GraphsTest(parameterized.TestCase):
  def test_chain(self):
    np.testing.assert_array_equal(graphs.chain(4), [[0, 1], [1, 2], [2, 3]])
    self.assertEqual(graphs.chain(1).shape, (0, 2))

  def test_complete(self):
    np.testing.assert_array_equal(graphs.complete(3), [[0, 1], [0, 2], [1, 2]])
    self.assertEqual(graphs.complete(1).shape, (0, 2))

  @parameterized.product(
    shape=((5,), (3, 4), (2, 3, 3), (1, 4)), diagonal=(False, True)
  )
  def test_grid(self, shape, diagonal):
    places = list(np.ndindex(*shape))
    want = []
    for i, j in itertools.combinations(range(len(places)), 2):
      apart = np.abs(np.subtract(places[i], places[j]))
      if apart.max() == 1 and (diagonal or apart.sum() == 1):
        want.append((i, j))
    got = graphs.grid(shape, diagonal=diagonal)
    np.testing.assert_array_equal(got, want)

  def test_of_segments(self):
    labels = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [3, 3, 2, 2]])
    got = graphs.of_segments(labels)
    want = [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]
    np.testing.assert_array_equal(got, want)
    cells = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(
      graphs.of_segments(cells), graphs.grid((3, 4))
    )
    self.assertEqual(graphs.of_segments(np.zeros((2, 2), int)).shape, (0, 2))

  def test_known(self):
    got = graphs.known([[2, 0], [0, 2], [1, 2]], 3)
    np.testing.assert_array_equal(got, [[0, 2], [1, 2]])
    self.assertEqual(graphs.neighbours(got, 4), [[2], [2], [0, 1], []])
    self.assertEqual(graphs.known([], 3).shape, (0, 2))

  @parameterized.parameters(
    ([[0, 3]], r'of the numbers 0 to 2, got \[0, 3\]'),
    ([[1, 1]], r'joins two different players, got \[1, 1\]'),
    ([[0.0, 1.0]], r'edges \[m, 2\] of whole numbers, got float64'),
    ([0, 1], r'edges \[m, 2\] of whole numbers, got int64 \(2,\)'),
  )
  def test_bad_edges(self, edges, message):
    with self.assertRaisesRegex(ValueError, message):
      graphs.known(edges, 3)

  def test_bad_shape(self):
    with self.assertRaisesRegex(ValueError, 'along an axis must be .*, got 0'):
      graphs.grid((2, 0))


if __name__ == '__main__':
  absltest.main()
