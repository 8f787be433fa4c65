"""Tests for `viz/spans.py`."""

import io

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from saliency_jax import viz
from saliency_jax.viz import players


def _x(num_times=10, channels=2):
  rng = np.random.default_rng(0)
  return rng.normal(size=(num_times, channels)).astype(np.float32)


def _spans(ax):
  return np.array([[p.get_x(), p.get_x() + p.get_width()] for p in ax.patches])


def _fills(ax):
  return np.array([p.get_facecolor()[:3] for p in ax.patches])


class SeriesTest(parameterized.TestCase):
  @parameterized.parameters(((4,),), ((4, 1),))
  def test_windows_of_all_channels(self, shape):
    values, x = np.array([1.0, -2.0, 0.0, 0.5]), _x()
    fig = viz.series(
      jnp.asarray(values.reshape(shape)),
      ['rain', 'wind'],
      x=jnp.asarray(x),
      width=3,
    )
    self.assertIsInstance(fig, figure.Figure)
    rain, wind, bars, scale = fig.axes
    fills = players.colors(values, 2.0, depth=players.LIGHT)
    for c, (ax, name) in enumerate(((rain, 'rain'), (wind, 'wind'))):
      self.assertEqual(ax.get_ylabel(), name)
      # The last window has one time.
      np.testing.assert_allclose(
        _spans(ax), [[-0.5, 2.5], [2.5, 5.5], [5.5, 8.5], [8.5, 9.5]]
      )
      np.testing.assert_allclose(_fills(ax), fills)
      (curve,) = ax.lines
      np.testing.assert_array_equal(curve.get_xdata(), np.arange(10))
      np.testing.assert_allclose(curve.get_ydata(), x[:, c])
    np.testing.assert_allclose([p.get_height() for p in bars.patches], values)
    ticks = [t.get_text() for t in scale.get_yticklabels()]
    self.assertEqual(ticks, ['-2.00', '0', '+2.00'])

  def test_values_of_each_channel(self):
    values, x = _x(5, 3) ** 3, _x(5, 3)
    fig = viz.series(values, x=x)
    self.assertLen(fig.axes, 2 * 3 + 1)
    fills = players.colors(
      values, float(np.abs(values).max()), depth=players.LIGHT
    )
    for c in range(3):
      curve, bars = fig.axes[2 * c : 2 * c + 2]
      np.testing.assert_allclose(_fills(curve), fills[:, c], rtol=1e-5)
      np.testing.assert_allclose(
        [p.get_height() for p in bars.patches], values[:, c], rtol=1e-6
      )

  def test_intervals(self):
    values, margin = np.array([1.0, -1.0]), np.array([0.5, 0.0])
    fig = viz.series(values, x=_x(10, 1), width=5, margin=margin)
    (segment,) = fig.axes[1].containers[-1].lines[2][0].get_segments()
    np.testing.assert_allclose(segment, [[2, 0.5], [2, 1.5]])
    low, high = fig.axes[1].get_ylim()
    self.assertLess(low, -1)
    self.assertGreater(high, 1.5)
    self.assertEqual(fig.axes[0].get_title('left'), players.INTERVALS)
    self.assertEqual(fig.axes[1].get_xlabel(), 'time step')

  def test_times(self):
    fig = viz.series(
      np.ones(4), x=_x(4, 1)[:, 0], times=[-9.0, -3.0, -1.0, 0.0]
    )
    np.testing.assert_allclose(
      _spans(fig.axes[0]), [[-12, -6], [-6, -2], [-2, -0.5], [-0.5, 0.5]]
    )
    self.assertEqual(fig.axes[0].get_xlim(), (-12, 0.5))
    self.assertEqual(fig.axes[1].get_xlabel(), 'time')

  def test_one_time(self):
    fig = viz.series(np.ones(1), x=_x(1, 1))
    np.testing.assert_allclose(_spans(fig.axes[0]), [[-0.5, 0.5]])

  def test_texts_around(self):
    fig = viz.series(
      np.ones(2), x=_x(2), title='t', caption='c', warning='w', limit=4
    )
    self.assertEqual(fig.get_suptitle(), 't')
    self.assertEqual(fig.axes[0].get_title('left'), 'c')
    self.assertEqual(fig.get_supxlabel(), '⚠ w')
    fig.savefig(io.BytesIO(), format='png', dpi=30)

  @parameterized.parameters(
    ({'values': np.ones(3)}, r'values \(3,\) do not fit a series \(10, 2\) in'),
    (
      {'values': np.ones((5, 3))},
      r'expected \[5\], \[5, 1\] or \[5, 2\], .*pool',
    ),
    ({'width': 11}, r'width must be a whole number in \[1, 10\], got 11'),
    ({'names': ['a']}, 'got 1 names and 2 channels'),
    (
      {'times': np.zeros(10)},
      r'times are \(10,\), the series has 10: expected',
    ),
    ({'x': np.ones((10, 17))}, r'got 17 channels, .* x\[:, :16\]'),
    ({'x': np.full((10, 2), np.nan)}, '20 of 20 entries of x are NaN'),
  )
  def test_refuses(self, settings, message):
    settings = {'values': np.ones(5), 'x': _x(), 'width': 2, **settings}
    with self.assertRaisesRegex(ValueError, message):
      viz.series(
        settings.pop('values'), settings.pop('names', None), **settings
      )


if __name__ == '__main__':
  absltest.main()
