"""Tests for `percentiles.py`."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from saliency_jax import certificates
from saliency_jax.core import sampling
from saliency_jax.core import types
from tests import equivalence

_stated = certificates.stated_percentiles
_of = functools.partial(
  certificates.percentile_map, key=jax.random.key(3), sigma=0.4
)
# What moves by as much as the example does, at most.
_SLOPES = np.linspace(-1, 1, 9)


def _linear(fn, x, *, key=None):
  """A map that is linear in the example, with signs and without a range."""
  del fn, key
  return types.Attribution(jnp.asarray(_SLOPES, x.dtype) * x, ())


class PercentileMapTest(parameterized.TestCase):
  @parameterized.parameters(0.3, 0.5, 0.95)
  def test_matches_loop(self, p):
    fn, x = equivalence.score_fn(), equivalence.examples(1)[0]
    out = _of(fn, x, percentile=p, num_samples=7, batch_size=3)
    draws = []
    for i in range(7):
      noise = sampling.normal(jax.random.fold_in(jax.random.key(3), i), x)
      draws.append(np.abs(jax.grad(fn)(x + jnp.float32(0.4) * noise)))
    want = np.sort(draws, axis=0)[math.ceil(7 * p) - 1]
    np.testing.assert_allclose(out.scores, want, atol=1e-6)
    np.testing.assert_allclose(out.info.values, draws, atol=1e-6)
    self.assertEqual(out.info.num_nonfinite, 0)

  def test_equivalence(self):
    equivalence.check(
      self,
      functools.partial(certificates.percentile_map, num_samples=6),
      draws=True,
    )

  def test_half_precision_is_of_the_network_alone(self):
    (x,) = equivalence.examples(1, jnp.bfloat16)
    seen = []

    def fn(x):
      seen.append(x.dtype)
      return equivalence.score_fn(jnp.bfloat16)(x)

    out = _of(fn, x, num_samples=64, batch_size=None)
    self.assertEqual(set(seen), {jnp.dtype(jnp.bfloat16)})
    self.assertEqual(out.info.values.dtype, jnp.float32)
    self.assertEqual(out.scores.dtype, jnp.float32)
    got = certificates.percentile_overlap(out, 20, rho=0.0)
    self.assertGreater(got.overlap[0, 0], 0)

  def test_goes_on(self):
    fn, x = equivalence.score_fn(), equivalence.examples(1)[0]
    of = functools.partial(_of, fn, x, batch_size=4)
    whole = of(num_samples=25)
    resumed = of(num_samples=25, start=of(num_samples=10))
    equivalence.assert_close(resumed, whole)
    start = of(num_samples=2)
    for settings, message in (
      ({'percentile': 0.4}, 'got one with percentile = 0.5, expected 0.4'),
      ({'sigma': 0.1}, r'got one with sigma = 0.4\d*, expected 0.1'),
    ):
      with self.assertRaisesRegex(ValueError, message):
        of(num_samples=4, start=start, **settings)

  def test_draws_that_are_not_finite(self):
    fn = lambda x: jnp.sum(jnp.sqrt(x))  # Without a slope below zero.
    out = _of(fn, jnp.ones(3) / 10, num_samples=9)
    self.assertGreater(out.info.num_nonfinite, 0)
    self.assertTrue(np.isnan(out.scores).all())
    with self.assertRaisesRegex(
      ValueError, 'of 9 draws of the map are not fin'
    ):
      certificates.percentile_bounds(out, rho=0.1)


class PercentileBoundsTest(parameterized.TestCase):
  @parameterized.product(p=(0.2, 0.5, 0.9), rho=(0.0, 0.1, 0.3))
  def test_linear_maps_attain_them(self, p, rho):
    # Entry i moves by |slope| rho at the worst point of the ball, exactly.
    x, sigma, q = np.linspace(1, 2, 9), 0.4, 20_000
    out = certificates.percentile_map(
      jnp.sum,
      jnp.asarray(x, jnp.float32),
      key=jax.random.key(0),
      base=_linear,
      percentile=p,
      sigma=sigma,
      num_samples=q,
      batch_size=None,
    )
    (low,), (high,) = certificates.percentile_bounds(
      out, rho=rho, confidence=1 - 1e-6
    )
    middle = _SLOPES * x + np.abs(_SLOPES) * sigma * stats.norm.ppf(p)
    worst = np.abs(_SLOPES) * rho
    self.assertTrue(np.all(low <= middle - worst + 1e-6))
    self.assertTrue(np.all(high >= middle + worst - 1e-6))
    # As close as so many draws tell: twice the standard errors of the level.
    for bound, side in ((low, -1), (high, 1)):
      a = stats.norm.cdf(stats.norm.ppf(p) + side * rho / sigma)
      error = np.sqrt(a * (1 - a) / q) / stats.norm.pdf(stats.norm.ppf(a))
      room = 2 * stats.norm.isf(1e-6 / 18) * error * sigma * np.abs(_SLOPES)
      self.assertTrue(np.all(np.abs(bound - middle - side * worst) <= room))

  def test_half_spaces_turn_at_the_radius(self):
    # The median of `z > -a` is 1 until the half-space is `a` sigma away.
    a, sigma = 0.7, 0.5
    z = np.random.default_rng(0).normal(size=100_000)
    out = _stated((z > -a)[:, None].astype(np.float32), sigma=sigma)
    rho = a * sigma * np.array([0, 0.97, 1.03])
    low, high = certificates.percentile_bounds(out, rho=rho)
    np.testing.assert_array_equal(low[:, 0], [1, 1, 0])
    np.testing.assert_array_equal(high[:, 0], [1, 1, 1])

  @parameterized.parameters((0.5, 0.0), (0.5, 0.3), (0.8, 0.2))
  def test_covers_all_entries_at_once(self, p, ratio):
    rng = np.random.default_rng(0)
    rhos = (ratio, ratio / 2)
    scale, q, trials, confident = 1 + np.arange(20.0), 80, 600, 0.8
    held = 0
    for _ in range(trials):
      # Exponential draws, whose percentiles are known.
      values = scale * rng.exponential(size=(q, 20))
      low, high = certificates.percentile_bounds(
        _stated(values.astype(np.float32), sigma=1.0, percentile=p),
        rho=rhos,
        confidence=confident,
      )
      fine = True
      for i, r in enumerate(rhos):
        at = lambda side, r=r: stats.norm.cdf(stats.norm.ppf(p) + side * r)
        least, most = (scale * stats.expon.ppf(at(side)) for side in (-1, 1))
        fine &= np.all(low[i] <= least) and np.all(high[i] >= most)
      held += fine
    error = math.sqrt(confident * (1 - confident) / trials)
    self.assertGreater(held / trials, confident - 3 * error)
    self.assertLess(held, trials)  # Nor are the bounds far from what is so.

  @parameterized.parameters(1, 7, 60)
  def test_ranks_are_the_closest_of_the_level(self, q):
    # The draws are 1 to q: a bound is its own rank.
    values = np.arange(1.0, q + 1, dtype=np.float32)[:, None]
    rhos = np.array([0.0, 0.1, 0.5, 1.5])
    low, high = certificates.percentile_bounds(
      _stated(values, sigma=1.0), rho=rhos, confidence=0.6
    )
    level = 0.4 / 2 / 4
    for below, above, r in zip(low[:, 0], high[:, 0], rhos, strict=True):
      a, b = stats.norm.cdf([-r, r])
      if np.isfinite(below):
        self.assertLessEqual(stats.binom.cdf(below - 1, q, a), level)
      self.assertGreater(stats.binom.cdf(max(below, 0), q, a), level)
      if np.isfinite(above):
        self.assertLessEqual(stats.binom.sf(above - 1, q, b), level)
      self.assertGreater(stats.binom.sf(min(above, q + 1) - 2, q, b), level)

  def test_wider_with_the_radius(self):
    values = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    low, high = certificates.percentile_bounds(
      _stated(values, sigma=0.5), rho=np.linspace(0, 3, 40)
    )
    self.assertTrue(np.all(low[1:] <= low[:-1]))
    self.assertTrue(np.all(high[1:] >= high[:-1]))
    self.assertTrue(np.isfinite(low[0]).all() and np.isfinite(high[0]).all())
    self.assertTrue(np.isinf(low[-1]).all() and np.isinf(high[-1]).all())

  def test_refuses(self):
    of = functools.partial(certificates.percentile_bounds, rho=0.1)
    out = _stated(np.ones((4, 3), np.float32), sigma=1.0)
    with self.assertRaisesRegex(ValueError, 'of certificates.percentile_map'):
      of(certificates.stated_map(np.ones(3), sigma=1.0))
    with self.assertRaisesRegex(ValueError, r'rho must be in \[0, inf\)'):
      of(out, rho=-1)
    with self.assertRaisesRegex(ValueError, 'got a traced map'):
      jax.jit(of)(out)
    with self.assertRaisesRegex(ValueError, 'the map of one example'):
      of(jax.tree.map(lambda a: jnp.stack([a, a]), out))
    with self.assertRaisesRegex(ValueError, r'percentile must be in \(0, 1\)'):
      _stated(np.ones((4, 3), np.float32), sigma=1.0, percentile=1)


class PercentileOverlapTest(parameterized.TestCase):
  def test_counts_what_no_bounds_can_replace(self):
    rng = np.random.default_rng(0)
    scale = np.linspace(1, 3, 12)
    values = (scale + 0.1 * rng.normal(size=(500, 12))).astype(np.float32)
    out, rhos, ks = _stated(values, sigma=1.0), (0.0, 0.5, 1.0), (1, 4, 11, 12)
    got = certificates.percentile_overlap(out, ks, rho=rhos)
    self.assertEqual(got.num_samples, 500)
    low, high = certificates.percentile_bounds(out, rho=rhos)
    order = np.argsort(-np.asarray(out.scores))
    for i in range(3):
      for j, k in enumerate(ks):
        # `m` of the top leave only if some `m` of the rest may be above them.
        lost = 0
        for m in range(1, min(k, 12 - k) + 1):
          inside = np.sort(low[i][order[:k]])[m - 1]
          outside = np.sort(high[i][order[k:]])[-m]
          lost = m if outside >= inside else lost
        self.assertAlmostEqual(got.overlap[i, j], (k - lost) / k)
    self.assertEqual(got.overlap[0, 1], 1)
    self.assertTrue(np.any((got.overlap > 0) & (got.overlap < 1)))
    self.assertTrue(np.all(np.diff(got.overlap, axis=0) <= 0))


if __name__ == '__main__':
  absltest.main()
