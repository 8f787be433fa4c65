"""Tests for `viz/swarms.py`."""

import io

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from saliency_jax import viz


def _values(n=50, p=4, seed=0):
  sizes = np.array([1.0, 4.0, 0.25, 2.0])[:p]
  return np.random.default_rng(seed).normal(size=(n, p)) * sizes


def _points(fig):
  """Returns the offsets of each player's points, from top to bottom."""
  found = [
    c for c in fig.axes[0].collections if type(c).__name__ == 'PathCollection'
  ]
  return [np.asarray(c.get_offsets()) for c in found]


def _labels(fig):
  return [t.get_text() for t in fig.axes[0].get_yticklabels()]


class BeeswarmTest(parameterized.TestCase):
  def test_a_point_a_row_the_largest_column_on_top(self):
    values = _values()
    fig = viz.beeswarm(jnp.asarray(values), ['a', 'b', '$c', 'd'])
    self.assertIsInstance(fig, figure.Figure)
    size = np.abs(values).mean(0)
    order = [1, 3, 0, 2]
    names = ['b', 'd', 'a', r'\$c']
    self.assertEqual(
      _labels(fig),
      [
        f'{name}\nmean size {size[i]:.2f}'
        for name, i in zip(names, order, strict=True)
      ],
    )
    self.assertGreater(*fig.axes[0].get_ylim())
    for line, (i, points) in enumerate(zip(order, _points(fig), strict=True)):
      np.testing.assert_allclose(points[:, 0], values[:, i], rtol=1e-6)
      self.assertLessEqual(np.abs(points[:, 1] - line).max(), 0.4)

  def test_points_at_one_place_stand_apart(self):
    points = _points(viz.beeswarm(np.full((9, 1), 0.5)))[0]
    self.assertLen(set(np.round(points[:, 1], 6)), 9)
    # And however many there are, they stay on their line.
    points = _points(viz.beeswarm(np.full((900, 1), 0.5)))[0]
    self.assertLessEqual(np.abs(points[:, 1]).max(), 0.4)

  def test_colors_are_ranks_of_the_entries(self):
    values = _values(5, 1)
    x = np.array([[3.0], [1e9], [-1.0], [3.0], [0.0]])
    fig = viz.beeswarm(values, x=x)
    (points,) = [
      c for c in fig.axes[0].collections if type(c).__name__ == 'PathCollection'
    ]
    np.testing.assert_allclose(points.get_array(), [0.6, 0.9, 0.1, 0.6, 0.3])
    self.assertEqual(points.get_clim(), (0, 1))
    self.assertEqual(points.get_cmap().name, 'viridis')
    self.assertLen(fig.axes, 2)
    self.assertLen(viz.beeswarm(values).axes, 1)

  def test_intervals(self):
    values, margin = _values(6, 1), np.linspace(0, 0.5, 6)[:, None]
    fig = viz.beeswarm(values, margin=margin)
    (lines,) = [
      c for c in fig.axes[0].collections if type(c).__name__ == 'LineCollection'
    ]
    found = np.array([line[:, 0] for line in lines.get_segments()])
    ends = np.array([-1, 1])
    np.testing.assert_allclose(found, values + margin * ends, rtol=1e-6)

  def test_shows_the_largest(self):
    fig = viz.beeswarm(_values(), num_shown=2, title='t', warning='w')
    self.assertEqual([t.split('\n')[0] for t in _labels(fig)], ['1', '3'])
    fig.savefig(io.BytesIO(), format='png', dpi=30)

  def test_refuses(self):
    with self.assertRaisesRegex(ValueError, r'got values \(0, 3\), expected'):
      viz.beeswarm(np.ones((0, 3)))
    with self.assertRaisesRegex(ValueError, r'x is \(50, 3\), the values'):
      viz.beeswarm(_values(), x=np.ones((50, 3)))
    with self.assertRaisesRegex(ValueError, 'got 3 names and 4 values'):
      viz.beeswarm(_values(), ['a', 'b', 'c'])
    with self.assertRaisesRegex(ValueError, r'margin is \(4,\), the values'):
      viz.beeswarm(_values(), margin=np.ones((1, 4))[0])


if __name__ == '__main__':
  absltest.main()
