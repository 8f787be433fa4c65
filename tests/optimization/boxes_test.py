"""Tests for `boxes.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from saliency_jax.optimization import boxes

_W = jnp.array([1.0, -2.0, 0.5, 0.0])


def _margin(x):
  """One margin: 1 at zero."""
  return (1 + x @ _W)[None]


def _inspect(box, fn=_margin, x=None, **settings):
  x = jnp.zeros(4) if x is None else x
  defaults = {'num_checks': 4000, 'num_ascent': 8, 'batch_size': 500}
  settings = {**defaults, **settings}
  run = jax.jit(
    lambda x, box, key: boxes.inspect(
      fn, x, box, key=key, num_draws=0, **settings
    )
  )
  return run(x, box, jax.random.key(0))


class HoldsTest(parameterized.TestCase):
  def test_all_margins_count(self):
    self.assertTrue(boxes.holds(jnp.array([1.0, 2.0])))
    self.assertFalse(boxes.holds(jnp.array([1.0, jnp.nan])))
    self.assertFalse(boxes.holds(jnp.array([1.0, 0.0])))


class MarginsTest(parameterized.TestCase):
  @parameterized.parameters(
    (lambda x: x[0], r'outputs \(\): pass scores.margins'),
    (lambda x: x[:0], r'outputs \(0,\)'),
    (lambda x: x[None], r'outputs \(1, 4\)'),
  )
  def test_refuses_what_is_no_margins(self, fn, message):
    with self.assertRaisesRegex(ValueError, message):
      boxes.margins_of(fn)(jnp.ones(4))
    np.testing.assert_array_equal(boxes.margins_of(lambda x: x)(jnp.ones(4)), 1)


class WidthsTest(parameterized.TestCase):
  @parameterized.parameters(
    (1, True, (5, 7, 3)),
    (1, False, (5, 7, 1)),
    (2, True, (3, 4, 3)),
    (4, False, (2, 2, 1)),
  )
  def test_entries_of_a_patch_share_a_width(self, patch, per_channel, want):
    shape = (5, 7, 3)
    got = boxes.grid_shape(jnp.zeros(shape), patch, per_channel)
    self.assertEqual(got, want)
    widths = jnp.arange(np.prod(want), dtype=jnp.float32).reshape(want)
    wide = boxes.spread(widths, shape, patch)
    self.assertEqual(wide.shape, shape)
    for i, j, c in np.ndindex(*shape):
      own = widths[i // patch, j // patch, c if per_channel else 0]
      self.assertEqual(wide[i, j, c], own)

  def test_no_image_has_widths_of_its_entries_alone(self):
    self.assertEqual(boxes.grid_shape(jnp.zeros(4), 1, True), (4,))
    with self.assertRaises(ValueError):
      boxes.grid_shape(jnp.zeros(4), 2, True)

  def test_place_spans_the_box(self):
    x = jnp.array([1.0, 2.0])
    box = boxes.Box(jnp.array([0.5, 0.0]), jnp.array([1.0, 3.0]))
    low, end = (boxes.place(x, box, jnp.full(2, t)) for t in (-1.0, 1.0))
    np.testing.assert_allclose(low, x - box.down)
    np.testing.assert_allclose(end, x + box.up)


class InspectTest(parameterized.TestCase):
  def test_linear_box_that_breaks_only_at_its_corners(self):
    # The least margin is 1 - .4 |w|_1 = -.4, which draws hardly come near.
    found = _inspect(boxes.Box(jnp.full(4, 0.4), jnp.full(4, 0.4)))
    self.assertEqual(found.margin, 1)
    np.testing.assert_allclose(found.corner_margin, -0.4, rtol=1e-5)
    np.testing.assert_allclose(found.attack_margin, -0.4, rtol=1e-5)
    rng = np.random.default_rng(1)
    t = rng.uniform(-0.4, 0.4, (400_000, 4))
    rate = np.mean(1 + t @ np.asarray(_W) <= 0)
    self.assertBetween(rate, found.violation_low, found.violation_high)
    self.assertLess(found.violation_high, 0.05)
    self.assertEqual(found.shortfall.shape, (1,))

  def test_rivals_have_the_same_draws(self):
    ends = [boxes.Box(jnp.full(4, w), jnp.full(4, w)) for w in (0.4, 0.8)]
    first, other = (_inspect(box, num_checks=50) for box in ends)
    both = _inspect(ends[0], rivals=ends[1:], num_checks=50, batch_size=7)
    np.testing.assert_allclose(
      both.shortfall, [first.shortfall[0], other.shortfall[0]], rtol=1e-5
    )
    self.assertGreater(both.shortfall[1], both.shortfall[0])
    np.testing.assert_allclose(both.violation, first.violation, rtol=1e-6)

  def test_ascent_leaves_a_corner_that_is_no_minimum(self):
    # The slope at the example is zero, and so is the corner that it points to.
    fn = lambda x: (1 - 30 * jnp.sum((x - 0.01) ** 2))[None]
    box = boxes.Box(jnp.full(4, 0.3), jnp.full(4, 0.3))
    found = _inspect(box, fn=fn, x=jnp.full(4, 0.01))
    self.assertEqual(found.corner_margin, found.margin)
    self.assertEqual(found.attack_margin, found.margin)
    moved = _inspect(box, fn=fn)
    np.testing.assert_allclose(
      moved.attack_margin, 1 - 30 * 4 * 0.31**2, rtol=1e-5
    )

  @parameterized.parameters(0, 3, 40)
  def test_interval_is_wilsons(self, count):
    got = boxes._wilson(jnp.array(count / 40), 40)
    want = stats.binomtest(count, 40).proportion_ci(method='wilson')
    np.testing.assert_allclose(got, (want.low, want.high), atol=1e-6)

  def test_nan_breaks_the_decision(self):
    fn = lambda x: jnp.where(x[:1] > 0, jnp.nan, 1.0)
    found = _inspect(boxes.Box(jnp.ones(4), jnp.ones(4)), fn=fn)
    self.assertBetween(found.violation, 0.4, 0.6)


if __name__ == '__main__':
  absltest.main()
