"""Tests for `viz/certainty.py`."""

import io

from absl.testing import absltest
from matplotlib import figure
import numpy as np

from saliency_jax import viz


class CertaintyTest(absltest.TestCase):
  def _draw(self, **changes):
    rng = np.random.default_rng(0)
    top = np.zeros((6, 5, 3), bool)
    top[1, 2, 0] = top[1, 2, 1] = top[3, 3, 2] = True
    radii = np.zeros((6, 5, 3))
    radii[1, 2, 1] = 0.2
    settings = {
      'top': top,
      'radii': radii,
      'rho': np.array([0.0, 0.1]),
      'overlap': np.array([1.0, 0.4]),
      'radius': 0.08,
      **changes,
    }
    return viz.certainty(rng.uniform(size=(6, 5, 3)), **settings)

  def test_paints_the_top_and_what_is_certain(self):
    fig = self._draw(title='t', caption='256 draws', warning='w')
    self.assertIsInstance(fig, figure.Figure)
    left, right, _ = fig.axes
    pixels = left.images[0].get_array()
    self.assertEqual(pixels.shape, (6, 5, 3))
    # One pixel has a colour of the scale, one is blue, the others are grey.
    spread = np.ptp(pixels, axis=-1) > 0.05
    np.testing.assert_array_equal(np.argwhere(spread), [[1, 2], [3, 3]])
    self.assertGreater(pixels[3, 3, 2], pixels[3, 3, 0])
    self.assertIn('1 of 2 pixels', left.get_title(loc='left'))
    curve, mark = right.lines
    np.testing.assert_array_equal(curve.get_ydata(), [1.0, 0.4])
    self.assertEqual((mark.get_xdata()[0], mark.get_ydata()[0]), (0.08, 0.5))
    self.assertIn('50% stays within 0.08', right.texts[0].get_text())
    fig.savefig(io.BytesIO(), format='png', dpi=30)

  def test_nothing_certain(self):
    fig = self._draw(radii=np.zeros((6, 5, 3)), radius=0.0)
    self.assertLen(fig.axes[1].lines, 1)
    fig.savefig(io.BytesIO(), format='png', dpi=30)

  def test_refuses(self):
    with self.assertRaisesRegex(ValueError, r'rho \(3,\) and overlap \(2,\)'):
      self._draw(rho=np.arange(3.0))


if __name__ == '__main__':
  absltest.main()
