"""Tests for `viz/players.py` and `viz/texts.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import matplotlib
import numpy as np

from saliency_jax.viz import players
from saliency_jax.viz import texts

# Machado, Oliveira and Fernandes 2009: what is left of linear RGB without green
# cones, and without red ones.
_BLIND = (
  (
    [
      [0.367322, 0.860646, -0.227968],
      [0.280085, 0.672501, 0.047413],
      [-0.011820, 0.042940, 0.968881],
    ],
  ),
  (
    [
      [0.152286, 1.052583, -0.204868],
      [0.114503, 0.786281, 0.099216],
      [-0.003882, -0.048116, 1.051998],
    ],
  ),
)


def _linear(color):
  """Returns linear RGB of sRGB."""
  low = color <= 0.04045
  return np.where(low, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


class PlayersTest(parameterized.TestCase):
  def test_flattens_in_order(self):
    drawn = players.of(
      jnp.array([[1.0, -2.0], [0.5, 0.0]]),
      ['a', 'b', 'c', 'd'],
      margin=jnp.array([[0.5, 0.0], [0.25, 0.125]]),
    )
    np.testing.assert_array_equal(drawn.values, [1, -2, 0.5, 0])
    np.testing.assert_array_equal(drawn.half, [0.5, 0, 0.25, 0.125])
    self.assertEqual(drawn.names, ('a', 'b', 'c', 'd'))
    self.assertEqual(drawn.scale, 2)

  def test_names_are_counted_where_there_are_none(self):
    self.assertEqual(players.of(np.ones(3), None).names, ('0', '1', '2'))

  def test_sign_needs_an_interval_that_leaves_zero_out(self):
    drawn = players.of(
      np.array([1.0, -1.0, 1.0, -1.0, 1.0]),
      None,
      margin=np.array([0.98, 0.98, 1.02, 1.02, 0.0]),
    )
    np.testing.assert_array_equal(drawn.signs(), [1, -1, 0, 0, 0])

  def test_interval_in_words(self):
    drawn = players.of(
      np.array([1.0, -0.5]), None, margin=np.array([0.98, 0.0])
    )
    self.assertEqual(drawn.interval(0), '95% interval +0.02 to +1.98')
    self.assertEqual(drawn.interval(1), '')

  @parameterized.parameters(
    ([0.31264, -0.004, 0.0], ['+0.313', '-0.004', '0']),
    ([1234.5, -0.5], ['+1234', '-0']),
    ([3.2e-9, 1e-12], ['+3.20e-09', '+1.00e-12']),
    ([0.0], ['0']),
  )
  def test_numbers_have_three_figures_of_the_largest(self, values, expected):
    drawn = players.of(np.array(values), None)
    self.assertEqual([drawn.number(v) for v in drawn.values], expected)

  def test_scale_is_shared_by_a_limit(self):
    self.assertEqual(players.of(np.ones(2), None, limit=4).scale, 4)
    # No value is no reason to divide by 0.
    self.assertEqual(players.of(np.zeros(2), None).scale, 1)

  @parameterized.parameters(
    ({'names': ['a', 'b']}, 'got 2 names and 3 values, expected one name a'),
    ({'margin': np.ones(2)}, r'margin is \(2,\), the values \(3,\): expected'),
    ({'margin': np.array([1, -0.5, 1])}, 'margin has an entry -0.5, expected'),
    ({'margin': np.array([1, np.nan, 1])}, '1 of 3 margins are NaN'),
    (
      {'margin': np.array([1, np.inf, 1])},
      'margin is infinite, since the draws',
    ),
    ({'values': np.array([1, np.nan, np.inf])}, '2 of 3 values are NaN or'),
    ({'values': np.ones((0, 3))}, r'got values \(0, 3\), expected at least'),
    ({'limit': 0}, 'limit is 0, expected one above 0'),
    ({'limit': float('nan')}, 'limit is nan, expected one above 0'),
    ({'limit': float('inf')}, 'limit is inf, expected one above 0'),
  )
  def test_refuses(self, settings, message):
    settings = {'values': np.ones(3), 'names': None, **settings}
    with self.assertRaisesRegex(ValueError, message):
      players.of(settings.pop('values'), settings.pop('names'), **settings)


class ColorsTest(parameterized.TestCase):
  def test_are_those_of_photos_with_zero_in_the_middle(self):
    found = players.colors(np.array([-9.0, -2.0, 0.0, 1.0, 2.0]), 2.0)
    cmap = matplotlib.colormaps['RdBu_r']
    expected = [cmap(place)[:3] for place in (0.0, 0.0, 0.5, 0.75, 1.0)]
    np.testing.assert_allclose(found, expected)

  def test_dark_text_is_readable_on_light_colors(self):
    # W3C's contrast, of which 7 is its highest level (AAA).
    luminance = lambda color: _linear(color) @ [0.2126, 0.7152, 0.0722]
    values = np.linspace(-1, 1, 101)
    fills = players.colors(values, 1.0, depth=players.LIGHT)
    ink = luminance(np.array(matplotlib.colors.to_rgb(texts.DARK)))
    contrast = (luminance(fills) + 0.05) / (ink + 0.05)
    self.assertGreaterEqual(contrast.min(), 7)

  @parameterized.parameters(*_BLIND)
  def test_signs_differ_without_red_or_green_cones(self, matrix):
    ends = np.array([-1.0, 0.0, 1.0])
    for fills in (
      players.colors(ends, 1.0, depth=players.LIGHT),
      players.strong(ends),
    ):
      below, zero, above = _linear(fills) @ np.array(matrix).T
      self.assertGreater(np.abs(below - above).max(), 0.25)
      for end in (below, above):
        self.assertGreater(np.abs(end - zero).max(), 0.25)


class TextsTest(parameterized.TestCase):
  @parameterized.parameters(
    ('a\nb\tc', 'a↵b⇥c'), ('', '␣'), ('  ', '␣␣'), (' a', ' a'), ('abcd', 'ab…')
  )
  def test_visible(self, text, expected):
    most = 3 if text == 'abcd' else None
    self.assertEqual(texts.visible(text, most), expected)

  def test_dollars_are_no_markup(self):
    self.assertEqual(texts.plain('$5 or $6'), r'\$5 or \$6')


if __name__ == '__main__':
  absltest.main()
