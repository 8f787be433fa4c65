"""Tests for `viz/regions.py`."""

import io

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from saliency_jax import viz
from saliency_jax.viz import regions

_LABELS = np.array(
  [[0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [2, 2, 2, 3, 3], [2, 2, 2, 3, 3]]
)
_VALUES = np.array([1.0, -0.5, 0.25, 0.0])
_MARGIN = 1.96 * np.array([0.1, 0.1, 0.2, 0.0])


def _image(channels=3):
  return np.random.default_rng(0).uniform(size=(4, 5, channels))


def _lines(ax):
  return [np.array(c.get_segments()) for c in ax.collections]


class SegmentsTest(parameterized.TestCase):
  @parameterized.parameters(1, 3)
  def test_photo_colors_and_borders(self, channels):
    image = _image(channels)
    fig = viz.segments(
      jnp.asarray(_VALUES), image=image, labels=jnp.asarray(_LABELS)
    )
    self.assertIsInstance(fig, figure.Figure)
    photo, painted, scale = fig.axes
    np.testing.assert_allclose(
      photo.get_images()[0].get_array(), np.broadcast_to(image, (4, 5, 3))
    )
    np.testing.assert_allclose(
      painted.get_images()[0].get_array(),
      viz.overlay(
        image, _VALUES[_LABELS], colors='RdBu_r', low=-1, opacity=0.7
      ),
    )
    for ax in (photo, painted):
      (lines,) = _lines(ax)
      # Two upright and three level edges above, two and two below.
      self.assertLen(lines, 2 + 5 + 2)
    ticks = [t.get_text() for t in scale.get_yticklabels()]
    self.assertEqual(ticks, ['-1.00', '0', '+1.00'])

  def test_borders_run_between_different_pixels(self):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, (6, 7))
    found = {(tuple(a), tuple(b)) for a, b in regions.borders(labels).tolist()}
    expected = set()
    for i in range(6):
      for j in range(7):
        if j < 6 and labels[i, j] != labels[i, j + 1]:
          expected.add(((j + 0.5, i - 0.5), (j + 0.5, i + 0.5)))
        if i < 5 and labels[i, j] != labels[i + 1, j]:
          expected.add(((j - 0.5, i + 0.5), (j + 0.5, i + 0.5)))
    self.assertEqual(found, expected)

  def test_hatches_what_may_be_zero_whatever_is_beside_it(self):
    # Two halves that are certain touch, and what is not lies between them.
    labels = np.repeat([[0, 1]], 8, 0).repeat(4, 1)
    labels[2:6, 2:6] = 2
    fig = viz.segments(
      np.array([0.5, 0.6, 0.01]),
      image=np.ones((8, 8, 1)),
      labels=labels,
      margin=np.array([0.1, 0.1, 0.2]),
      caption='c',
    )
    (hatched,) = fig.axes[1].patches
    self.assertTrue(hatched.get_hatch())
    shape = hatched.get_path()
    for row, column in np.ndindex(8, 8):
      self.assertEqual(
        shape.contains_point((column, row)), labels[row, column] == 2
      )
    self.assertEqual(
      fig.axes[0].get_title('left'), 'c; hatched: the 95% interval (±) holds 0'
    )
    self.assertLen(fig.axes[1].collections, 1)  # Borders are thin everywhere.
    plain = viz.segments(_VALUES, image=_image(), labels=_LABELS)
    self.assertEmpty(plain.axes[1].patches)

  def test_texts_stay_on_the_photo(self):
    labels = np.zeros((40, 40), int)
    labels[:, :2], labels[:2, 5:30], labels[38:, 20:] = 1, 2, 3
    fig = viz.segments(
      np.array([0.0, -3.0, 2.0, 1.0]),
      image=np.ones((40, 40, 1)),
      labels=labels,
      margin=np.full(4, 0.5),
    )
    fig.draw_without_rendering()
    ax = fig.axes[1]
    self.assertLen(ax.texts, 3)
    for text in ax.texts:
      box = text.get_window_extent().transformed(ax.transAxes.inverted())
      self.assertBetween(box.x0, -0.01, 1)
      self.assertBetween(box.y0, -0.01, 1)
      self.assertBetween(box.x1, 0, 1.01)
      self.assertBetween(box.y1, 0, 1.01)

  def test_writes_the_largest_inside_their_regions(self):
    fig = viz.segments(
      _VALUES, image=_image(), labels=_LABELS, margin=_MARGIN, num_shown=2
    )
    found = [
      (t.get_text(), _LABELS[t.get_position()[::-1]]) for t in fig.axes[1].texts
    ]
    self.assertEqual(found, [('+1.00\n± 0.20', 0), ('-0.50\n± 0.20', 1)])

  def test_writes_no_value_on_another(self):
    labels = np.zeros((50, 50), int)
    labels[:, 20:23], labels[:, 23:26] = 1, 2
    fig = viz.segments(
      np.array([0.0, 2.0, 1.0]), image=np.ones((50, 50, 1)), labels=labels
    )
    # Both stripes are as wide everywhere.
    first, second = (np.array(t.get_position()) for t in fig.axes[1].texts[:2])
    self.assertEqual((first[0], second[0]), (21, 24))
    self.assertGreater(np.abs(first - second)[1], 0.09 * 50)

  def test_texts_around(self):
    fig = viz.segments(
      _VALUES,
      image=_image(),
      labels=_LABELS,
      num_shown=0,
      title='t',
      caption='c',
      warning='w',
      limit=2,
    )
    self.assertEqual(fig.get_suptitle(), 't')
    self.assertEqual(fig.axes[0].get_title('left'), 'c')
    self.assertEqual(fig.get_supxlabel(), '⚠ w')
    self.assertEmpty(fig.axes[1].texts)
    fig.savefig(io.BytesIO(), format='png', dpi=30)

  def test_refuses(self):
    with self.assertRaisesRegex(
      ValueError, '4 regions from 0 to 3, and there are 3 values'
    ):
      viz.segments(np.ones(3), image=_image(), labels=_LABELS)
    with self.assertRaisesRegex(
      ValueError, '4 regions from 1 to 4, and there are 4 values'
    ):
      viz.segments(_VALUES, image=_image(), labels=_LABELS + 1)
    with self.assertRaisesRegex(
      ValueError, r'the map is \(4, 4\), the image \(4, 5\)'
    ):
      viz.segments(_VALUES, image=_image(), labels=_LABELS[:, 1:])


if __name__ == '__main__':
  absltest.main()
