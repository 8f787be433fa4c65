"""Tests for `viz/tokens.py` and `viz/tokens_html.py`."""

from html import parser
import io

from absl.testing import absltest
from absl.testing import parameterized
from matplotlib import colors
from matplotlib import figure
from matplotlib import patches
from matplotlib.backends import backend_agg
import numpy as np

from saliency_jax import viz
from saliency_jax.viz import players

_NAMES = ['not', 'a', '<b>"bad"</b>', '$5', 'film\n']
_VALUES = np.array([[-0.5, 0.02, 0.25, 0.0, 0.1]])
_MARGIN = 1.96 * np.array([[0.1, 0.05, 0.05, 0.0, 0.1]])


def _texts(fig):
  return [t.get_text() for t in fig.axes[0].texts]


def _boxes(fig):
  found = fig.axes[0].patches
  return [p for p in found if isinstance(p, patches.Rectangle)]


class TokensTest(parameterized.TestCase):
  def test_draws_every_token_its_number_and_interval(self):
    fig = viz.tokens(
      _VALUES,
      _NAMES,
      margin=_MARGIN,
      title='why',
      caption='halves agree',
      warning='few draws',
    )
    self.assertIsInstance(fig, figure.Figure)
    shown = _texts(fig)
    self.assertEqual(shown[:2], ['why', 'halves agree'])
    # Below all else, as in other figures.
    lowest = max(fig.axes[0].texts, key=lambda t: t.get_position()[1])
    self.assertEqual(lowest.get_text(), '⚠ few draws')
    self.assertIn('dashed: the value is negative', ' '.join(shown))
    self.assertEqual(
      shown[4:19],
      [
        *('not', '-0.500', '± 0.196'),
        *('a', '+0.020', '± 0.098'),
        *('<b>"bad"</b>', '+0.250', '± 0.098'),
        *(r'\$5', '0', ''),
        *('film↵', '+0.100', '± 0.196'),
      ],
    )
    self.assertIn('+0.500 raises the score', shown)
    self.assertIn('lowers the score -0.500', shown)
    fig.savefig(io.BytesIO(), format='png', dpi=30)

  def test_colors(self):
    fills = [p.get_facecolor()[:3] for p in _boxes(viz.tokens(_VALUES, _NAMES))]
    np.testing.assert_allclose(
      fills, players.colors(_VALUES[0], 0.5, depth=players.LIGHT)
    )
    shared = _boxes(viz.tokens(_VALUES, _NAMES, limit=1))
    np.testing.assert_allclose(
      [p.get_facecolor()[:3] for p in shared],
      players.colors(_VALUES[0], 1.0, depth=players.LIGHT),
    )

  def test_lines_mark_intervals_that_leave_zero_out(self):
    fig = viz.tokens(_VALUES, _NAMES, margin=_MARGIN)
    below, above = fig.axes[0].lines
    self.assertEqual(
      (below.get_linestyle(), above.get_linestyle()), ('--', '-')
    )
    for line, box in ((below, 0), (above, 2)):
      left = _boxes(fig)[box].get_x()
      right = left + _boxes(fig)[box].get_width()
      np.testing.assert_allclose(line.get_xdata(), [left, right])
    self.assertEmpty(viz.tokens(_VALUES, _NAMES).axes[0].lines)

  @parameterized.parameters(2.0, 5.0, 11.0)
  def test_wraps_in_order_within_the_width(self, width):
    num = 60
    names = ['a' * (1 + i % 9) for i in range(num)]
    fig = viz.tokens(np.linspace(-1, 1, num), names, width=width)
    self.assertEqual(fig.get_figwidth(), width)
    boxes = _boxes(fig)
    self.assertLen(boxes, num)
    places = [(b.get_y(), b.get_x()) for b in boxes]
    self.assertEqual(places, sorted(places))
    for a, b in zip(boxes, boxes[1:], strict=False):
      if a.get_y() == b.get_y():
        self.assertLess(a.get_x() + a.get_width(), b.get_x())
      self.assertLessEqual(a.get_x() + a.get_width(), 72 * width)
    self.assertLess(boxes[-1].get_y(), 72 * fig.get_figheight())

  def test_narrow_figures_wrap_what_the_marks_mean(self):
    fig = viz.tokens(_VALUES, _NAMES, margin=_MARGIN, warning='w', width=3)
    renderer = backend_agg.FigureCanvasAgg(fig).get_renderer()
    # Below the numbers, in order.
    lowest = sorted(fig.axes[0].texts, key=lambda t: t.get_position()[1])[-3:]
    self.assertStartsWith(lowest[0].get_text(), 'underlined')
    for text in lowest:
      box = text.get_window_extent(renderer)
      self.assertLessEqual(box.x1, fig.bbox.x1)
      self.assertGreaterEqual(box.y0, 0)

  def test_words_stay_in_their_boxes(self):
    fig = viz.tokens(np.ones(3), ['wwwwwwwww', 'i', '$5 or $6'])
    renderer = backend_agg.FigureCanvasAgg(fig).get_renderer()
    words = fig.axes[0].texts[::2]
    for box, word in zip(_boxes(fig), words, strict=False):
      inside, outside = (a.get_window_extent(renderer) for a in (word, box))
      self.assertGreaterEqual(inside.x0, outside.x0)
      self.assertLessEqual(inside.x1, outside.x1)

  def test_refuses(self):
    for draw in (viz.tokens, viz.tokens_html):
      with self.assertRaisesRegex(ValueError, 'got 5 names and 4 values'):
        draw(np.ones(4), _NAMES)
    with self.assertRaisesRegex(ValueError, r'width is 1, expected inches in'):
      viz.tokens(_VALUES, _NAMES, width=1)


class _Reader(parser.HTMLParser):
  """Collects the tags, each with its attributes and the text in it."""

  def __init__(self):
    super().__init__()
    self.tags, self.open = [], []

  def handle_starttag(self, tag, attrs):
    self.tags.append([tag, dict(attrs), ''])
    if tag != 'br':
      self.open.append(self.tags[-1])

  def handle_endtag(self, tag):
    assert self.open.pop()[0] == tag

  def handle_data(self, data):
    self.open[-1][2] += data


def _read(page):
  reader = _Reader()
  reader.feed(page)
  reader.close()
  assert not reader.open
  return reader.tags


class TokensHtmlTest(parameterized.TestCase):
  def test_spans(self):
    page = viz.tokens_html(_VALUES, _NAMES, margin=_MARGIN)
    spans = [t for t in _read(page) if t[0] == 'span' and 'title' in t[1]]
    self.assertEqual(
      [text for *_, text in spans],
      ['not', 'a', '<b>"bad"</b>', '$5', 'film↵'],
    )
    self.assertEqual(
      [attributes['title'] for _, attributes, _ in spans],
      [
        'not: -0.500, 95% interval -0.696 to -0.304',
        'a: +0.020, 95% interval -0.078 to +0.118',
        '<b>"bad"</b>: +0.250, 95% interval +0.152 to +0.348',
        '$5: 0',
        'film\n: +0.100, 95% interval -0.096 to +0.296',
      ],
    )
    fills = players.colors(_VALUES[0], 0.5, depth=players.LIGHT)
    for fill, mark, (_, attributes, _) in zip(
      fills,
      ('dashed #111', 'solid transparent', 'solid #111', *2 * ['transparent']),
      spans,
      strict=True,
    ):
      self.assertIn(f'background:{colors.to_hex(fill)};', attributes['style'])
      self.assertEndsWith(attributes['style'], mark)

  def test_numbers_without_a_pointer(self):
    page = viz.tokens_html(_VALUES, _NAMES, margin=_MARGIN)
    cells = [text for tag, _, text in _read(page) if tag == 'td']
    self.assertEqual(
      cells[:3], ['not', '-0.500', '95% interval -0.696 to -0.304']
    )
    self.assertLen(cells, 3 * len(_NAMES))

  def test_is_self_contained_escaped_and_ascii(self):
    page = viz.tokens_html(
      np.ones(2),
      ['<script>x</script>', '東京'],
      title='<i>t</i>',
      caption='"c" & d',
      warning='é',
    )
    self.assertTrue(page.isascii())
    self.assertEndsWith(page, '&#9888; &#233;</p></figure>')
    tags = _read(page)
    self.assertNoCommonElements(
      {tag for tag, *_ in tags}, {'script', 'i', 'link', 'style', 'img'}
    )
    self.assertNotIn('http', page)
    shown = [text for *_, text in tags]
    for text in ('<i>t</i>', '"c" & d', '⚠ é', '<script>x</script>', '東京'):
      self.assertIn(text, shown)

  def test_marks_are_explained_where_there_are_any(self):
    self.assertIn(
      'Underlined', viz.tokens_html(_VALUES, _NAMES, margin=_MARGIN)
    )
    self.assertNotIn('Underlined', viz.tokens_html(_VALUES, _NAMES))


if __name__ == '__main__':
  absltest.main()
