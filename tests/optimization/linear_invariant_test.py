"""Tests for `linear_invariant.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from saliency_jax import scores
from saliency_jax.core import sampling
from saliency_jax.optimization import linear_invariant
from tests import equivalence

_KEY = jax.random.key(3)
_CHECKS = {'num_checks': 6, 'num_ascent': 2}


def _explain(fn, x, **settings):
  explain = jax.jit(
    lambda key: linear_invariant.linear_invariant(
      fn, x, key=key, **settings, **_CHECKS
    )
  )
  return explain(_KEY)


def knapsack(slopes, margin, max_width):
  """Returns the largest sum of widths: the flattest entries come first."""
  left, total = margin, 0.0
  for slope in np.sort(np.abs(slopes)):
    width = min(max_width, left / slope)
    left, total = left - slope * width, total + width
  return total


def _highs(fn, x, slack, max_width, num_noisy, sigma):
  """Solves the program as the paper writes it, a width for each entry."""
  rows, limits, d = [], [], x.size
  for i in range(num_noisy + 1):
    noise = sigma * sampling.normal(sampling.draw_key(_KEY, i), x)
    noise = noise if i else 0 * noise
    for h, g in zip(jax.jacrev(fn)(x + noise), fn(x + noise), strict=True):
      h = np.asarray(h, np.float64).ravel()
      rows.append([*np.maximum(0, -h), *np.maximum(0, h), -1])
      limits.append(float(g) - h @ np.asarray(noise).ravel())
  found = optimize.linprog(
    [*(-np.ones(2 * d)), 2 * d * slack],
    A_ub=rows,
    b_ub=limits,
    bounds=[(0, max_width)] * (2 * d) + [(0, None)],
    method='highs',
  )
  return found.fun / (2 * d)


class LinearInvariantTest(parameterized.TestCase):
  @parameterized.parameters(0, 3)
  def test_linear_model_is_a_knapsack(self, num_noisy):
    with jax.enable_x64():
      slopes = jax.random.normal(jax.random.key(1), (20,), jnp.float64)
      out = _explain(
        lambda x: (2 + slopes @ x)[None],
        jnp.zeros(20),
        slack=None,
        max_width=1.0,
        num_noisy=num_noisy,
        patch=1,
      )
      # Of two sides, the one along the slope is free.
      best = (20 + knapsack(slopes, 2, 1)) / 2
      np.testing.assert_allclose(-np.sum(out.scores), best, rtol=1e-6)
      np.testing.assert_allclose(out.info.solver.bound * 20, -best, rtol=1e-6)
      np.testing.assert_allclose(
        out.info.inspection.corner_margin, 0, atol=1e-6
      )
      self.assertEqual(out.info.slack, 0)
      free = jnp.where(slopes > 0, out.info.box.up, out.info.box.down)
      np.testing.assert_allclose(free, 1, rtol=1e-6)

  @parameterized.parameters((0.01, 0), (0.5, 2))
  def test_matches_highs(self, slack, num_noisy):
    x = equivalence.examples(1)[0]
    fn = scores.margins(*equivalence.network(), 2)
    settings = {'max_width': 0.1, 'num_noisy': num_noisy, 'sigma': 0.05}
    out = _explain(fn, x, slack=slack, patch=1, **settings)
    want = _highs(fn, x, slack, **settings)
    solver = out.info.solver
    np.testing.assert_allclose(solver.objective, want, rtol=1e-4)
    np.testing.assert_allclose(solver.bound, want, rtol=1e-4)
    self.assertLess(solver.violation, 1e-5)
    mean = np.mean(out.scores) + slack * out.info.slack
    np.testing.assert_allclose(mean, solver.objective, rtol=1e-4)

  def test_patches_share_a_width(self):
    x = equivalence.examples(1)[0]
    fn = scores.margins(*equivalence.network(), 2)
    out = _explain(fn, x, patch=4, per_channel=False)
    self.assertEqual(out.info.box.up.shape, (2, 2, 1))
    self.assertEqual(np.ptp(out.scores[4:, 4:]), 0)
    # A patch cut off by the border counts by its entries.
    mean = np.mean(out.scores) + 0.5 * out.info.slack
    np.testing.assert_allclose(mean, out.info.solver.objective, rtol=1e-4)

  def test_wants_floats(self):
    with self.assertRaisesRegex(ValueError, 'floats, got int32: cast it'):
      linear_invariant.linear_invariant(
        lambda x: 1 + x[:1], jnp.zeros(4, int), key=_KEY
      )

  def test_refuses_a_score_that_may_be_no_margin(self):
    fn = equivalence.score_fn(score=scores.prob)
    with self.assertRaisesRegex(ValueError, r'got outputs \(\): pass scores'):
      linear_invariant.linear_invariant(
        fn, equivalence.examples(1)[0], key=_KEY, num_steps=2
      )

  def test_equivalence(self):
    explain = functools.partial(
      linear_invariant.linear_invariant,
      num_noisy=1,
      patch=4,
      num_steps=80,
      **_CHECKS,
    )

    @functools.wraps(explain)
    def method(fn, x, **kwargs):
      out = explain(fn, x, **kwargs)
      # A gap is a difference of two objectives, and known as well as they are.
      solver = out.info.solver
      solver = solver._replace(trace=solver.trace + solver.objective)
      return out._replace(info=out.info._replace(solver=solver))

    equivalence.check(
      self,
      method,
      draws=True,
      score=scores.margins,
      dtypes=[jnp.float32],
    )

  @parameterized.parameters(
    ({'max_width': 0.0}, r'max_width must be in \(0, inf\), got 0.0'),
    (
      {'num_noisy': -1},
      r'num_noisy must be a whole number of at least 0, got -1',
    ),
    ({'sigma': -1.0}, r'sigma must be in \[0, inf\), got -1.0'),
    ({'slack': -1.0}, r'slack must be in \[0, inf\), got -1.0'),
    (
      {'num_steps': 0},
      r'num_steps must be a whole number of at least 1, got 0',
    ),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(linear_invariant.linear_invariant)(
        lambda x: 1 + x[:1], jnp.zeros(4), key=_KEY, patch=1, **settings
      )


if __name__ == '__main__':
  absltest.main()
