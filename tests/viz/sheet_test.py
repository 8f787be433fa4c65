"""Tests for `viz/sheet.py`."""

import io
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
from matplotlib import figure
from matplotlib.backends import backend_agg
import numpy as np

from saliency_jax import viz

_ALONE = """
import sys
import numpy as np
from saliency_jax import viz
image = np.zeros((4, 4, 3))
viz.contact_sheet(image, [viz.Tile('a', image)]).savefig(sys.argv[1])
assert 'matplotlib.pyplot' not in sys.modules
"""


def _image(channels=3):
  rng = np.random.default_rng(0)
  return rng.uniform(size=(8, 8, channels)).astype(np.float32)


def _tiles(num, **settings):
  rng = np.random.default_rng(1)
  return [
    viz.Tile(f'method {i}', rng.normal(size=(8, 8, 3)), **settings)
    for i in range(num)
  ]


def _titled(fig):
  return {ax.get_title(): ax for ax in fig.axes if ax.get_title()}


def _texts(fig):
  return [t.get_text() for ax in fig.axes for t in ax.texts]


def _boxes(fig, *artists):
  """Returns where artists are drawn, in pixels from below."""
  canvas = backend_agg.FigureCanvasAgg(fig)
  canvas.draw()
  return [a.get_window_extent(canvas.get_renderer()) for a in artists]


class ContactSheetTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 3, 8, 9, 17, 30)
  def test_every_tile_has_its_place(self, num):
    fig = viz.contact_sheet(
      _image(), _tiles(num), predictions=[('cat', 0.9), ('dog', 0.1)]
    )
    self.assertIsInstance(fig, figure.Figure)
    titled = _titled(fig)
    for i in range(num):
      self.assertIn(f'method {i}', titled)
    # A photo, the bars of the predictions, and one colour bar.
    self.assertLen(fig.axes, num + 3)
    boxes = [ax.get_position() for ax in fig.axes]
    for i, a in enumerate(boxes):
      self.assertGreaterEqual(min(a.x0, a.y0), 0)
      self.assertLessEqual(max(a.x1, a.y1), 1)
      for b in boxes[:i]:
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        self.assertTrue(apart)

  @parameterized.parameters(1, 3)
  def test_shows_photo_and_painted_maps(self, channels):
    image = _image(channels)
    tiles = [
      tile._replace(drawing=drawing)
      for tile, drawing in zip(
        _tiles(3), (viz.MAGNITUDE, viz.SIGNED, viz.HEAT), strict=True
      )
    ]
    titled = _titled(viz.contact_sheet(image, tiles))
    for tile in tiles:
      (shown,) = titled[tile.title].get_images()
      np.testing.assert_allclose(
        shown.get_array(), viz.paint(tile.drawing, tile.scores, image)
      )
      self.assertIn(tile.drawing.label, titled)
    (photo,) = titled['photo'].get_images()
    np.testing.assert_array_equal(
      photo.get_array(), np.broadcast_to(image, (8, 8, 3))
    )

  def test_one_color_bar_a_kind(self):
    tiles = _tiles(3) + _tiles(2, drawing=viz.SIGNED)
    fig = viz.contact_sheet(_image(), tiles)
    self.assertLen(fig.axes, 1 + 5 + 2)
    bar = _titled(fig)[viz.SIGNED.label]
    labels = tuple(t.get_text() for t in bar.get_xticklabels())
    self.assertEqual(labels, viz.SIGNED.ends)

  def test_predictions(self):
    fig = viz.contact_sheet(
      _image(),
      _tiles(1),
      predictions=[('cat', 0.75), ('dog', 0.125)],
      explained='dog',
    )
    weights = {
      t.get_text(): t.get_fontweight() for ax in fig.axes for t in ax.texts
    }
    self.assertEqual(
      weights,
      {'cat': 'normal', '75.0%': 'normal', 'dog': 'bold', '12.5%': 'bold'},
    )
    self.assertEmpty(_texts(viz.contact_sheet(_image(), _tiles(1))))

  def test_texts_fit_and_dollars_are_no_markup(self):
    caption = 'costs $5 or $6; ' + 'word ' * 40
    tile = viz.Tile('long ' * 20, _image(), caption=caption)
    fig = viz.contact_sheet(_image(), [tile], title='the sheet')
    (title,) = [t for t in _titled(fig) if t.startswith('long')]
    self.assertLessEqual(len(title), 30)
    self.assertEndsWith(title, '…')
    shown = _titled(fig)[title].get_xlabel()
    self.assertStartsWith(shown, r'costs \$5 or \$6;')
    self.assertLessEqual(max(map(len, shown.split('\n'))), 40)
    self.assertEqual(shown.count('word'), 40)
    self.assertEqual(fig.texts[0].get_text(), 'the sheet')
    fig.savefig(io.BytesIO(), format='png', dpi=30)

  def test_warning_has_a_mark_and_a_line(self):
    tiles = _tiles(2, caption='a caption ' * 8)
    tiles[1] = tiles[1]._replace(warning='the map is zero everywhere')
    fig = viz.contact_sheet(_image(), tiles)
    plain, warned = (_titled(fig)[tile.title] for tile in tiles)
    self.assertEmpty(plain.texts)
    (line,) = warned.texts
    self.assertEqual(line.get_text(), '⚠ the map is zero everywhere')
    # The warning is below the caption, and both are whole.
    for tile in (plain, warned):
      self.assertEqual(tile.get_xlabel().count('caption'), 8)
    shown = _boxes(fig, warned.xaxis.label, line, plain)
    caption, warning, picture = shown
    self.assertLess(warning.y1, caption.y0 + 2)
    self.assertLess(caption.y1, picture.y0)

  def test_lines_leave_the_next_row_alone(self):
    long = 'halves correlate 0.84, explains 67%; ' * 4
    tiles = _tiles(5, caption=long, warning=long)
    fig = viz.contact_sheet(_image(), tiles)
    titled = _titled(fig)
    upper, lower = titled[tiles[0].title], titled[tiles[-1].title]
    (line,) = upper.texts
    warning, title = _boxes(fig, line, lower.title)
    self.assertGreater(warning.y0, title.y1)

  def test_renders_by_agg(self):
    fig = viz.contact_sheet(
      jnp.asarray(_image()), _tiles(2, drawing=viz.HEAT), title='a sheet'
    )
    canvas = backend_agg.FigureCanvasAgg(fig)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    self.assertEqual(pixels.shape[2], 4)
    self.assertGreater(pixels[..., :3].std(), 10)

  def test_leaves_no_pyplot_state(self):
    with tempfile.TemporaryDirectory() as folder:
      out = pathlib.Path(folder) / 'sheet.png'
      subprocess.run(
        [sys.executable, '-c', _ALONE, out],
        check=True,
        timeout=120,
        cwd=pathlib.Path(__file__).parents[2],
      )
      self.assertStartsWith(out.read_bytes(), b'\x89PNG\r\n\x1a\n')

  def test_refuses_no_tiles(self):
    with self.assertRaisesRegex(
      ValueError, 'at least one map to draw, got none'
    ):
      viz.contact_sheet(_image(), [])

  @parameterized.parameters(
    (np.full((8, 8, 1), np.nan), viz.MAGNITUDE, '64 of 64 values are NaN'),
    (np.zeros((0, 8, 1)), viz.MAGNITUDE, r'expected an image .*\(0, 8, 1\)'),
    (np.zeros((3, 8, 8)), viz.HEAT, r'.*its channels first'),
    (np.zeros((4, 8, 1)), viz.HEAT, r'the map is \(4, 8\), the image \(8, 8\)'),
  )
  def test_names_the_map_that_fails(self, scores, drawing, message):
    tiles = [*_tiles(1), viz.Tile('lime', scores, drawing)]
    with self.assertRaisesRegex(ValueError, f"cannot draw 'lime': {message}"):
      viz.contact_sheet(_image(), tiles)


if __name__ == '__main__':
  absltest.main()
