"""Tests for `viz/bars.py`."""

import io

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from saliency_jax import viz
from saliency_jax.viz import players

_VALUES = np.array([0.5, -2.0, 0.25, 1.0, -0.125])
_NAMES = ['a', 'b', 'c', '$d', 'e']
_MARGIN = 1.96 * np.array([0.1, 0.2, 0.0, 0.4, 0.1])


def _names(fig):
  return [t.get_text() for t in fig.axes[0].get_yticklabels()]


def _texts(fig):
  return [t.get_text() for t in fig.axes[0].texts]


def _ends(fig):
  """Returns where each bar starts and ends."""
  found = fig.axes[0].patches
  return np.array([[p.get_x(), p.get_x() + p.get_width()] for p in found])


def _intervals(fig):
  """Returns `{row: (low, high)}`."""
  lines = fig.axes[0].containers[-1].lines[2][0].get_segments()
  return {line[0, 1]: tuple(line[:, 0]) for line in lines}


class BarsTest(parameterized.TestCase):
  def test_largest_first(self):
    fig = viz.bars(jnp.asarray(_VALUES), _NAMES)
    self.assertIsInstance(fig, figure.Figure)
    self.assertEqual(_names(fig), ['b', r'\$d', 'a', 'c', 'e'])
    # The first row is the upper one.
    self.assertGreater(*fig.axes[0].get_ylim())
    order = [1, 3, 0, 2, 4]
    np.testing.assert_allclose(_ends(fig), [[0, _VALUES[i]] for i in order])
    np.testing.assert_allclose(
      [p.get_facecolor()[:3] for p in fig.axes[0].patches],
      players.strong(_VALUES[order]),
    )
    self.assertEqual(_texts(fig), ['-2.00', '+1.00', '+0.50', '+0.25', '-0.12'])
    self.assertEmpty(fig.axes[0].containers[1:])

  def test_intervals(self):
    fig = viz.bars(_VALUES, _NAMES, margin=_MARGIN)
    found = _intervals(fig)
    self.assertEqual(sorted(found), [0, 1, 2, 4])  # 'c' is exact.
    for row, i in ((0, 1), (1, 3), (2, 0), (4, 4)):
      expected = _VALUES[i] + _MARGIN[i] * np.array([-1, 1])
      np.testing.assert_allclose(found[row], expected)
    low, high = fig.axes[0].get_xlim()
    self.assertLess(low, -2 - 1.96 * 0.2)
    self.assertGreater(high, 1 + 1.96 * 0.4)

  def test_others_are_summed(self):
    fig = viz.bars(_VALUES, _NAMES, margin=_MARGIN, num_shown=3)
    self.assertEqual(_names(fig), ['b', r'\$d', 'a', 'sum of 2 others'])
    np.testing.assert_allclose(_ends(fig)[-1], [0, 0.125])
    self.assertEqual(sorted(_intervals(fig)), [0, 1, 2])
    self.assertEqual(fig.axes[0].get_title('left'), players.INTERVALS)
    np.testing.assert_allclose(
      fig.axes[0].patches[-1].get_facecolor()[:3], players.pale(np.ones(1))[0]
    )
    # One other takes as much room as a sum.
    self.assertEqual(_names(viz.bars(_VALUES, _NAMES, num_shown=4))[-1], 'e')

  def test_entries_beside_names(self):
    x = np.array([1234567, 0.5, 17.9923, 0, -1])
    fig = viz.bars(_VALUES, _NAMES, x=x)
    self.assertEqual(
      _names(fig),
      ['b = 0.5', r'\$d = 0', 'a = 1.235e+06', 'c = 17.99', 'e = -1'],
    )

  def test_long_names_are_cut_and_entries_are_not(self):
    names = [50 * 'long ', *_NAMES[1:]]
    fig = viz.bars(_VALUES, names, x=np.full(5, -1.234e-15))
    cut = _names(fig)[2]
    self.assertEndsWith(cut, '… = -1.234e-15')
    self.assertLen(cut, 40)

  def test_powers_of_ten_stand_at_the_ticks(self):
    fig = viz.bars(1e-8 * _VALUES)
    fig.savefig(io.BytesIO(), format='png', dpi=30)
    axis = fig.axes[0].xaxis
    self.assertEmpty(axis.get_offset_text().get_text())
    self.assertIn('-1e-08', [t.get_text() for t in axis.get_ticklabels()])

  def test_texts_around(self):
    fig = viz.bars(
      _VALUES, title='costs $5 or $6', caption='why', warning='few draws'
    )
    self.assertEqual(fig.get_suptitle(), r'costs \$5 or \$6')
    self.assertEqual(fig.axes[0].get_title('left'), 'why')
    self.assertEqual(fig.get_supxlabel(), '⚠ few draws')
    fig.savefig(io.BytesIO(), format='png', dpi=30)

  def test_zero_everywhere(self):
    fig = viz.bars(np.zeros(3))
    self.assertEqual(_texts(fig), ['0', '0', '0'])
    fig.savefig(io.BytesIO(), format='png', dpi=30)

  def test_refuses(self):
    with self.assertRaisesRegex(ValueError, 'x has 2 entries, and there are 5'):
      viz.bars(_VALUES, x=np.ones(2))
    with self.assertRaisesRegex(ValueError, 'num_shown must be a whole number'):
      viz.bars(_VALUES, num_shown=0)


class WaterfallTest(parameterized.TestCase):
  def test_each_bar_starts_where_the_last_ended(self):
    fig = viz.waterfall(
      _VALUES,
      _NAMES,
      score=jnp.asarray(0.625),
      baseline_score=jnp.asarray(1.0),
      margin=_MARGIN,
    )
    self.assertEqual(_names(fig), ['b', r'\$d', 'a', 'c', 'e'])
    ends = _ends(fig)
    self.assertEqual(ends[0, 0], 1)
    np.testing.assert_allclose(ends[1:, 0], ends[:-1, 1])
    self.assertAlmostEqual(ends[-1, 1], 0.625)
    np.testing.assert_allclose(
      np.diff(ends)[:, 0], [-2.0, 1.0, 0.5, 0.25, -0.125]
    )
    self.assertEqual(
      _texts(fig)[-2:], ['with every player hidden: 1.00', 'score: 0.62']
    )
    found = _intervals(fig)
    np.testing.assert_allclose(found[0], [-1 - 0.392, -1 + 0.392])
    np.testing.assert_allclose(found[1], [0 - 0.784, 0 + 0.784], atol=1e-12)

  @parameterized.parameters(3.0, -3.0)
  def test_what_does_not_add_up_is_a_bar(self, score):
    fig = viz.waterfall(
      _VALUES, _NAMES, score=score, baseline_score=1.0, num_shown=3
    )
    self.assertEqual(_names(fig)[-2:], ['sum of 2 others', 'not accounted for'])
    np.testing.assert_allclose(sorted(_ends(fig)[-1]), sorted([0.625, score]))
    *_, others, rest = fig.axes[0].patches
    np.testing.assert_allclose(
      others.get_facecolor()[:3], players.pale(np.ones(1))[0]
    )
    np.testing.assert_allclose(
      rest.get_facecolor()[:3], players.pale(np.array([score]))[0]
    )
    self.assertEqual((others.get_hatch(), rest.get_hatch()), (None, '///'))

  def test_rounding_is_no_bar(self):
    fig = viz.waterfall(_VALUES, _NAMES, score=0.6251, baseline_score=1.0)
    self.assertLen(_names(fig), 5)

  @parameterized.parameters(1.0, 1e-9)
  def test_numbers_stay_inside(self, unit):
    fig = viz.waterfall(
      unit * _VALUES,
      [40 * 'n', *_NAMES[1:]],
      score=-3 * unit,
      baseline_score=unit,
      margin=unit * _MARGIN,
    )
    fig.savefig(io.BytesIO(), format='png', dpi=60)
    (ax,) = fig.axes
    inside = ax.get_window_extent()
    for text in ax.texts:
      box = text.get_window_extent()
      self.assertGreaterEqual(box.x0, inside.x0)
      self.assertLessEqual(box.x1, inside.x1)

  def test_refuses_scores_that_are_not_finite(self):
    with self.assertRaisesRegex(ValueError, '1 of 1 baseline_score are NaN'):
      viz.waterfall(_VALUES, score=1.0, baseline_score=float('nan'))


if __name__ == '__main__':
  absltest.main()
