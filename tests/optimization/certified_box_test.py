"""Tests for `certified_box.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import scores
from saliency_jax.core import wide
from saliency_jax.optimization import box_bounds
from saliency_jax.optimization import boxes
from saliency_jax.optimization import certified_box
from tests import equivalence
from tests.core import linear_bounds_test
from tests.optimization import linear_invariant_test

_certified_box = equivalence.compiled(certified_box.certified_box)


def _two_classes(x):
  """Logits that share most of their weights: apart, they have wide ranges."""
  common = jax.random.normal(jax.random.key(2), (20,), x.dtype)
  own = jax.random.normal(jax.random.key(1), (20,), x.dtype)
  logits = jnp.stack([2 + (own + 9 * common) @ x, 9 * common @ x])
  return logits[:1] - logits[1:], own


class CertifiedBoxTest(parameterized.TestCase):
  @parameterized.parameters((box_bounds.crown, 0.2), (box_bounds.interval, 1.0))
  def test_linear_model_is_a_knapsack(self, bound, max_width):
    with jax.enable_x64():
      x = jnp.zeros(20)
      out = jax.jit(
        lambda x: certified_box.certified_box(
          lambda x: _two_classes(x)[0],
          x,
          bound=bound,
          max_width=max_width,
          num_rounds=1,
          num_halvings=40,
        )
      )(x)
      best = linear_invariant_test.knapsack(_two_classes(x)[1], 2, max_width)
      np.testing.assert_allclose(-np.sum(out.scores), best, rtol=1e-6)
      self.assertLessEqual(-np.sum(out.scores), best)
      self.assertGreater(out.info.margin, 0)

  def test_wide_linear_model_is_a_knapsack_in_float32(self):
    n, max_width = 20_000, 1e-3
    weights = jax.random.normal(jax.random.key(0), (n, 2))
    # The logits share most of their weights, and differ by two at the example.
    weights += 9 * jax.random.normal(jax.random.key(1), (n, 1))
    x = jax.random.uniform(jax.random.key(2), (n,))
    gap = np.asarray(weights, np.float64) @ [1, -1]
    shift = jnp.float32(2 - gap @ np.asarray(x, np.float64))
    out = _certified_box(
      lambda x: (x @ weights)[:1] - (x @ weights)[1:] + shift,
      x,
      max_width=max_width,
      num_rounds=1,
      num_halvings=30,
    )
    margin = gap @ np.asarray(x, np.float64) + np.float64(shift)
    best = linear_invariant_test.knapsack(gap, margin, max_width)
    widths = -np.asarray(out.scores, np.float64)
    self.assertEqual(out.scores.dtype, jnp.float32)
    np.testing.assert_allclose(widths.sum(), best, rtol=1e-6)
    self.assertLessEqual(np.abs(gap) @ widths, margin)
    self.assertGreater(out.info.margin, 0)

  def test_no_point_breaks_it(self):
    apply, params = equivalence.network()
    xs = equivalence.examples(6)

    @jax.jit
    @jax.vmap
    def certify(x):
      label = jnp.argmax(apply(params, x))
      fn = scores.margins(apply, params, label)
      certify = functools.partial(certified_box.certified_box, fn, x)
      out = certify(bound=box_bounds.crown, num_rounds=4)
      found = boxes.inspect(
        fn,
        x,
        boxes.Box(-out.scores, -out.scores),
        key=jax.random.key(0),
        num_draws=0,
        num_checks=100,
        num_ascent=60,
        batch_size=None,
      )
      coarse = certify(num_rounds=4, patch=4, per_channel=False)
      return out, found, coarse

    out, found, coarse = certify(xs)
    self.assertTrue(np.all(found.attack_margin >= out.info.margin))
    np.testing.assert_array_equal(found.violation, 0)
    for found_one in (out, coarse):
      info = found_one.info
      self.assertTrue(np.all(info.margin > 0))
      # No box is empty, and growing pays.
      self.assertTrue(np.all(info.size[:, 0] > 0.01))
      self.assertTrue(np.all(np.diff(info.size) >= 0))
      mean = -np.mean(found_one.scores, (1, 2, 3))
      np.testing.assert_allclose(info.size[:, -1], mean, rtol=1e-5)
      # It is used up: a box half as large again no longer verifies.
      self.assertTrue(np.all(info.margin < 1e-3 * found.margin))
    self.assertTrue(np.all(out.info.size[:, -1] > 1.1 * out.info.size[:, 0]))
    self.assertTrue(np.all(out.info.size[:, -1] > coarse.info.size[:, -1]))

  def test_bounds(self):
    """Of one box, each bound is nearer to the least margin than the last."""
    layers = linear_bounds_test.dense_layers([4, 8, 8, 2])
    x = jnp.array([0.2, -0.1, 0.3, 0.4])
    logits = lambda x: linear_bounds_test.dense(layers, x)
    fn = lambda x: logits(x)[:1] - logits(x)[1:]
    widths = jnp.full(4, 0.2)
    lows = []
    for bound in (
      box_bounds.interval,
      box_bounds.crown,
      functools.partial(box_bounds.alpha_crown, num_steps=10),
    ):

      @jax.jit
      def read(widths, bound=bound):
        reader = bound(fn, x)
        with wide.precision():
          widths = widths.astype(jnp.float64)
          learned = reader.learn(widths, reader.start(widths))
          low, known = reader.low(widths, learned)
          prices = reader.prices(widths, known)
          return jax.tree.map(lambda a: a.astype(jnp.float32), (low, prices))

      low, prices = read(widths)
      lows.append(float(low))
      self.assertTrue(np.all(prices >= 0))
      # All accounts are as large in all.
      totals = np.sum(prices, 1)
      np.testing.assert_allclose(totals, totals[0], rtol=1e-5)
    t = jax.random.uniform(jax.random.key(0), (4000, 4), minval=-1, maxval=1)
    t = t.at[::2].set(jnp.sign(t[::2]))
    least = np.min(jax.vmap(fn)(x[None] + widths[None] * t))
    self.assertTrue(np.all(np.diff([*lows, least]) > 0), [*lows, least])

  def test_margin_that_is_left(self):
    out = _certified_box(lambda x: 1 - x[:1], jnp.zeros(1), min_margin=0.25)
    self.assertBetween(float(out.info.box.up[0]), 0.7499, 0.75)
    self.assertBetween(float(out.info.margin), 0.25, 0.2501)

  def test_start_is_scaled(self):
    start = jnp.array([1.0, 0.25])
    out = _certified_box(
      lambda x: 1 - x[:1] - 2 * x[1:], jnp.zeros(2), start=start, num_rounds=0
    )
    np.testing.assert_allclose(out.info.box.up, start / 1.5, rtol=1e-5)
    self.assertEqual(out.info.size.shape, (1,))

  def test_wrong_decision_has_no_box(self):
    out = _certified_box(lambda x: x[:1] - 1, jnp.zeros(2))
    self.assertLess(out.info.margin, 0)
    np.testing.assert_array_equal(out.scores, 0)

  def test_equivalence(self):
    method = functools.partial(
      certified_box.certified_box, num_rounds=1, num_halvings=3
    )
    equivalence.check(self, method, score=scores.margins, dtypes=[jnp.float32])

  @parameterized.parameters(
    ({'max_width': 0.0}, r'max_width must be in \(0, inf\), got 0.0'),
    ({'min_margin': -1.0}, r'min_margin must be in \[0, inf\), got -1.0'),
    (
      {'num_rounds': -1},
      r'num_rounds must be a whole number of at least 0, got -1',
    ),
    (
      {'num_halvings': 0},
      r'num_halvings must be a whole number of at least 1, got 0',
    ),
    ({'start': jnp.ones(3)}, 'start must be like the example'),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(certified_box.certified_box)(
        lambda x: 1 + x[:1], jnp.zeros(4), **settings
      )

  def test_unknown_primitive_is_named(self):
    with self.assertRaisesRegex(ValueError, "primitive 'sin'"):
      certified_box.certified_box(lambda x: jnp.sin(x[:1]), jnp.ones(2))

  def test_wants_floats(self):
    with self.assertRaisesRegex(ValueError, 'floats, got int32: cast it'):
      certified_box.certified_box(lambda x: 1 + x[:1], jnp.zeros(4, int))

  def test_refuses_a_score_that_may_be_no_margin(self):
    fn = equivalence.score_fn(score=scores.prob)
    with self.assertRaisesRegex(ValueError, r'got outputs \(\): pass scores'):
      certified_box.certified_box(fn, equivalence.examples(1)[0])


if __name__ == '__main__':
  absltest.main()
