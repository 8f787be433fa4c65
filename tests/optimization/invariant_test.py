"""Tests for `invariant.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats

from saliency_jax import scores
from saliency_jax.core import sampling
from saliency_jax.optimization import invariant
from tests import equivalence

_SMALL = {'num_steps': 3, 'num_samples': 4, 'num_checks': 6, 'num_ascent': 2}
_KEY = jax.random.key(3)


def _linear(x):
  """A two-class model: the margin is 1 at zero, each entry matters alike."""
  signs = jnp.where(jnp.arange(x.size) % 2 == 0, 1.0, -1.0)
  return 1 + 0.05 * jnp.sum(signs * x, keepdims=True)


def _explain_linear(optimizer, **settings):
  explain = jax.jit(
    lambda key: invariant.invariant_perturbation(
      _linear,
      jnp.zeros(64),
      key=key,
      max_width=20.0,
      num_steps=600,
      num_samples=64,
      optimizer=optimizer,
      num_checks=4000,
      **settings,
    )
  )
  return explain(_KEY)


def _loop(fn, x, key, rows):
  """Three steps of RMSProp on (3.3) as the paper writes it."""
  optimizer = optax.rmsprop(0.02)
  w = jnp.zeros((rows, *x.shape))
  state, trace = optimizer.init(w), []
  for step in range(3):

    def objective(w, step=step):
      down, up = w[0], w[-1]
      total = 0.0
      for m in range(4):
        t = sampling.uniform(sampling.draw_key(key, 4 * step + m), x, low=-1)
        r = -down + (up + down) * (t + 1) / 2
        total += jnp.sum(jnp.maximum(0, -fn(x + r))) / 4
      return jnp.sum(down + up) / 2 - 250.0 * total

    value, slope = jax.value_and_grad(objective)(w)
    trace.append(value)
    with jax.numpy_dtype_promotion('standard'):
      updates, state = optimizer.update(-slope, state, w)
    w = jnp.clip(w + updates, 0, 0.2)
  return w, trace


class InvariantTest(parameterized.TestCase):
  def test_linear_closed_form(self):
    # The sum of 64 uniform variables is all but normal: with
    # s = .05 w sqrt(d / 3), the optimum has phi(1 / s) = sqrt(3 d) / (.05 lam).
    d, lam = 64, 4000.0
    density = np.sqrt(3 * d) / (0.05 * lam)
    s = 1 / np.sqrt(-2 * np.log(density * np.sqrt(2 * np.pi)))
    width = s / (0.05 * np.sqrt(d / 3))
    schedule = optax.cosine_decay_schedule(0.1, 600)
    out = _explain_linear(optax.adam(schedule), lam=lam)
    self.assertAlmostEqual(-np.mean(out.scores), width, delta=0.03 * width)
    self.assertEqual(out.info.saturated, 0)
    inspection = out.info.inspection
    rate = stats.norm.sf(1 / s)
    # Four standard errors; the widths move the rate by less.
    noise = 4 * np.sqrt(rate * (1 - rate) / 4000)
    self.assertAlmostEqual(inspection.violation, rate, delta=noise + 0.005)
    # The worst corner, in closed form, and no corner is worse.
    worst = 1 + 0.05 * np.sum(out.scores)
    np.testing.assert_allclose(inspection.corner_margin, worst, rtol=1e-5)
    np.testing.assert_allclose(inspection.attack_margin, worst, rtol=1e-5)
    # The knapsack, of which every corner keeps the class, holds 1 / .05.
    self.assertGreater(-np.sum(out.scores) / 20, 3)

  def test_target_is_reached(self):
    out = _explain_linear(optax.adam(0.03), lam=1000.0, target=0.02)
    inspection = out.info.inspection
    self.assertBetween(inspection.violation, 0.01, 0.04)
    self.assertLess(inspection.violation_low, inspection.violation)
    self.assertGreater(inspection.violation_high, inspection.violation)
    # Without a target the weight stays, and the violation is another.
    np.testing.assert_allclose(out.info.lam[0], 1000, rtol=1e-5)
    fixed = _explain_linear(optax.adam(0.03), lam=1000.0)
    self.assertGreater(fixed.info.inspection.violation, 0.06)

  @parameterized.parameters(False, True)
  def test_matches_loop(self, asymmetric):
    (x,) = equivalence.examples(1)
    apply, params = equivalence.network()
    fn = scores.prob_margins(apply, params, 1)
    out = invariant.invariant_perturbation(
      fn,
      x,
      key=_KEY,
      lam=250.0,
      max_width=0.2,
      optimizer=optax.rmsprop(0.02),
      asymmetric=asymmetric,
      **_SMALL,
    )
    w, trace = _loop(fn, x, _KEY, 2 if asymmetric else 1)
    self.assertEqual(bool(np.any(w[0] != w[-1])), asymmetric)
    self.assertBetween(np.mean((w > 0) & (w < 0.2)), 0.2, 1)
    np.testing.assert_allclose(out.info.box.down, w[0], atol=1e-5)
    np.testing.assert_allclose(out.info.box.up, w[-1], atol=1e-5)
    np.testing.assert_allclose(out.info.objective, trace, rtol=1e-5)
    np.testing.assert_allclose(out.scores, -(w[0] + w[-1]) / 2, atol=1e-5)
    np.testing.assert_allclose(
      out.info.saturated, np.mean(np.asarray(w) == np.float32(0.2))
    )

  def test_asymmetric_box_reaches_where_it_is_free(self):
    # Up is safe, down is not.
    fn = lambda x: 1 + 4 * jnp.min(x, keepdims=True)
    settings = dict(_SMALL, num_steps=200, num_samples=8)
    out = invariant.invariant_perturbation(
      fn, jnp.zeros(3), key=_KEY, lam=100.0, asymmetric=True, **settings
    )
    np.testing.assert_array_equal(out.info.box.up, 1)
    self.assertLess(np.max(out.info.box.down), 0.5)

  @parameterized.parameters((1, False, (8, 6, 1)), (4, True, (2, 2, 3)))
  def test_shared_widths(self, patch, per_channel, shape):
    (x,) = equivalence.examples(1)
    fn = scores.prob_margins(*equivalence.network(), 1)
    out = invariant.invariant_perturbation(
      fn, x, key=_KEY, patch=patch, per_channel=per_channel, **_SMALL
    )
    self.assertEqual(out.info.box.up.shape, shape)
    self.assertEqual(out.scores.shape, x.shape)
    self.assertEqual(np.ptp(out.scores[:patch, :patch, 0]), 0)

  def test_objective_at_the_box_and_at_the_largest(self):
    # One margin 1 + .05 s.x, on the draws that follow those of the steps.
    out = invariant.invariant_perturbation(
      _linear, jnp.zeros(64), key=_KEY, lam=3.0, max_width=20.0, **_SMALL
    )
    t = np.array(
      [
        sampling.uniform(sampling.draw_key(_KEY, 12 + i), jnp.zeros(64), low=-1)
        for i in range(6)
      ]
    )
    signs = np.where(np.arange(64) % 2 == 0, 1.0, -1.0)
    for got, w in (
      (out.info.final_objective, -np.asarray(out.scores)),
      (out.info.max_width_objective, np.full(64, 20.0)),
    ):
      margins = 1 + 0.05 * (t * w) @ signs
      want = w.sum() - 3 * np.maximum(0, -margins).mean()
      np.testing.assert_allclose(got, want, rtol=1e-5)
    # At 1280, the largest box is the better one by far.
    self.assertLess(
      out.info.final_objective, 0.1 * out.info.max_width_objective
    )

  def test_wants_floats(self):
    with self.assertRaisesRegex(ValueError, 'floats, got int32: cast it'):
      invariant.invariant_perturbation(_linear, jnp.zeros(4, int), key=_KEY)

  @parameterized.parameters(
    scores.prob, scores.log_prob, scores.logit, scores.loss, scores.margin
  )
  def test_refuses_a_score_that_may_be_no_margin(self, score):
    fn = score(*equivalence.network(), 1)
    with self.assertRaisesRegex(ValueError, 'margins .*, got outputs'):
      invariant.invariant_perturbation(
        fn, equivalence.examples(1)[0], key=_KEY, **_SMALL
      )

  def test_saturates_and_says_so(self):
    out = invariant.invariant_perturbation(
      _linear, jnp.zeros(4), key=_KEY, max_width=0.5, optimizer=optax.sgd(1.0),
      **_SMALL,
    )  # fmt: skip
    self.assertEqual(out.info.saturated, 1)
    np.testing.assert_array_equal(out.scores, -0.5)

  def test_nan_is_a_violation(self):
    out = invariant.invariant_perturbation(
      lambda x: jnp.where(x[:1] > 0.001, jnp.nan, 1.0),
      jnp.zeros(4),
      key=_KEY,
      **_SMALL,
    )
    self.assertGreater(out.info.inspection.violation, 0)

  def test_equivalence(self):
    method = functools.partial(
      invariant.invariant_perturbation,
      target=0.1,
      asymmetric=True,
      **_SMALL,
    )
    equivalence.check(
      self,
      method,
      draws=True,
      score=scores.prob_margins,
      batch_sizes=(3,),
      dtypes=[jnp.float32],
    )

  def test_half_precision(self):
    # The widths are those of float32: three steps of a slope of one.
    out = invariant.invariant_perturbation(
      lambda x: 1 + 0 * x[:1],
      jnp.zeros(4, jnp.bfloat16),
      key=_KEY,
      target=0.1,
      optimizer=optax.sgd(0.002),
      **_SMALL,
    )
    self.assertEqual(out.scores.dtype, jnp.bfloat16)
    np.testing.assert_allclose(out.info.box.up, 0.006, rtol=1e-5)

  def test_keeps_the_dtype(self):
    with jax.enable_x64():
      out = jax.eval_shape(
        lambda key: invariant.invariant_perturbation(
          lambda x: 1 + x[:1],
          jnp.zeros(4, jnp.float64),
          key=key,
          target=0.1,
          **_SMALL,
        ),
        _KEY,
      )
    floating = [
      leaf.dtype
      for leaf in jax.tree.leaves(out)
      if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    self.assertEqual(set(floating), {np.dtype(np.float64)})

  def test_one_margin_is_enough(self):
    (x,) = equivalence.examples(1)
    apply, params = equivalence.network()
    label = int(scores.predict(apply, params, x))
    found = []
    least = scores.margin(apply, params, label)
    several = scores.margins(apply, params, label)
    for fn in (lambda x: least(x)[None], several):
      out = invariant.invariant_perturbation(fn, x, key=_KEY, **_SMALL)
      found.append(out.info.inspection)
    self.assertGreater(found[0].margin, 0)
    # With one, only the worst of several margins falls short.
    without = [f._replace(shortfall=f.violation) for f in found]
    equivalence.assert_close(*without)
    self.assertLessEqual(*(float(f.shortfall[1]) for f in found))

  def test_memory(self):
    settings = dict(_SMALL, num_samples=128, num_checks=128)
    method = functools.partial(invariant.invariant_perturbation, **settings)
    equivalence.check_memory(self, method, score=scores.margins)

  @parameterized.parameters(
    (
      {'num_steps': 0},
      r'num_steps must be a whole number of at least 1, got 0',
    ),
    (
      {'num_samples': 0},
      r'num_samples must be a whole number of at least 1, got 0',
    ),
    (
      {'num_checks': 0},
      r'num_checks must be a whole number of at least 1, got 0',
    ),
    (
      {'num_ascent': 0},
      r'num_ascent must be a whole number of at least 1, got 0',
    ),
    ({'max_width': 0.0}, r'max_width must be in \(0, inf\), got 0.0'),
    ({'lam': -1.0}, r'lam must be in \(0, inf\), got -1.0'),
    ({'target': 0.0}, r'target must be in \(0, 1\], got 0.0'),
    ({'target': 2.0}, r'target must be in \(0, 1\], got 2.0'),
    ({'patch': 0}, r'patch must be a whole number of at least 1, got 0'),
    ({'patch': 2}, r'expected one image \[H, W, C\], got shape \(4,\)'),
    ({'key': None}, 'pass key='),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      settings = {'key': _KEY, **settings}
      equivalence.traced(invariant.invariant_perturbation)(
        _linear, jnp.zeros(4), **settings
      )


if __name__ == '__main__':
  absltest.main()
