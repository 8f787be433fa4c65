"""Tests for `certified_box.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import scores
from saliency_jax.optimization import boxes
from saliency_jax.optimization import certified_box
from tests import equivalence
from tests.optimization import linear_invariant_test

_certified_box = equivalence.compiled(certified_box.certified_box)


def _two_classes(x):
  """Logits that share most of their weights: apart, they have wide ranges."""
  common = jax.random.normal(jax.random.key(2), (20,), x.dtype)
  own = jax.random.normal(jax.random.key(1), (20,), x.dtype)
  logits = jnp.stack([2 + (own + 9 * common) @ x, 9 * common @ x])
  return logits[:1] - logits[1:], own


class CertifiedBoxTest(parameterized.TestCase):
  @parameterized.parameters(1.0, 0.2)
  def test_linear_model_is_a_knapsack(self, max_width):
    with jax.enable_x64():
      x = jnp.zeros(20)
      out = jax.jit(
        lambda x: certified_box.certified_box(
          lambda x: _two_classes(x)[0],
          x,
          max_width=max_width,
          num_rounds=1,
          num_halvings=40,
        )
      )(x)
      best = linear_invariant_test.knapsack(_two_classes(x)[1], 2, max_width)
      np.testing.assert_allclose(-np.sum(out.scores), best, rtol=1e-6)
      self.assertLessEqual(-np.sum(out.scores), best)
      self.assertGreater(out.info.margin, 0)

  @parameterized.parameters((1, True), (4, False))
  def test_no_point_breaks_it(self, patch, per_channel):
    apply, params = equivalence.network()
    xs = equivalence.examples(6)

    @jax.jit
    @jax.vmap
    def certify(x):
      label = jnp.argmax(apply(params, x))
      fn = scores.margins(apply, params, label)
      out = certified_box.certified_box(
        fn, x, patch=patch, per_channel=per_channel, num_rounds=4
      )
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
      return out, found

    out, found = certify(xs)
    self.assertTrue(np.all(out.info.margin > 0))
    self.assertTrue(np.all(found.attack_margin >= out.info.margin))
    np.testing.assert_array_equal(found.violation, 0)
    # No box is empty, and growing pays.
    self.assertTrue(np.all(out.info.size[:, 0] > 0.01))
    self.assertTrue(np.all(np.diff(out.info.size) >= 0))
    self.assertTrue(np.all(out.info.size[:, -1] > 1.2 * out.info.size[:, 0]))
    mean = -np.mean(out.scores, (1, 2, 3))
    np.testing.assert_allclose(out.info.size[:, -1], mean, rtol=1e-5)
    # It is used up: a box half as large again no longer verifies.
    self.assertTrue(np.all(out.info.margin < 1e-3 * found.margin))

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
