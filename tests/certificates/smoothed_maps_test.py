"""Tests for `smoothed_maps.py`."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import certificates
from saliency_jax.certificates import draws
from saliency_jax.certificates import smoothed_maps
from saliency_jax.core import sampling
from tests import equivalence

_MAPS = {
  'scaled': certificates.scaled_map,
  'quadratic': certificates.quadratic_map,
  'sparsified': functools.partial(certificates.sparsified_map, tau=0.3),
  'relaxed': functools.partial(certificates.relaxed_map, tau=0.3, gamma=0.1),
}


def _values(kind, m):
  """The map of one draw, as the paper writes it; ties for a place lose it."""
  order = np.sort(m.ravel())[::-1]
  top = m > order[math.ceil(0.3 * m.size)]
  if kind == 'scaled':
    return m / order[0]
  if kind == 'quadratic':
    return (m / order[0]) ** 2
  if kind == 'sparsified':
    return top.astype(m.dtype)
  high = order[math.ceil(0.1 * m.size) - 1]
  return np.where(top, np.minimum(m / high, 1), 0)


class SmoothedMapsTest(parameterized.TestCase):
  @parameterized.parameters(*_MAPS)
  def test_matches_loop(self, kind):
    fn = equivalence.score_fn()
    x = equivalence.examples(1)[0]
    key = jax.random.key(3)
    out = _MAPS[kind](fn, x, key=key, sigma=0.4, num_samples=7, batch_size=3)
    draws = []
    for i in range(7):
      noise = sampling.normal(jax.random.fold_in(key, i), x)
      m = np.abs(np.asarray(jax.grad(fn)(x + jnp.float32(0.4) * noise)))
      draws.append(_values(kind, m))
    draws = np.array(draws)
    np.testing.assert_allclose(out.scores, draws.mean(0), atol=1e-6)
    np.testing.assert_allclose(out.info.variance, draws.var(0), atol=1e-6)
    self.assertLessEqual(draws.sum((1, 2, 3)).max(), int(out.info.mass))
    self.assertEqual(out.info.binary, np.isin(draws, (0, 1)).all())
    self.assertEqual(out.info.num_nonfinite, 0)

  @parameterized.parameters(*_MAPS)
  def test_equivalence(self, kind):
    method = functools.partial(_MAPS[kind], num_samples=6)
    equivalence.check(self, method, draws=True)

  @parameterized.parameters(*_MAPS)
  def test_memory_follows_batch_size(self, kind):
    equivalence.check_memory(
      self, functools.partial(_MAPS[kind], num_samples=128)
    )

  def test_wants_floats(self):
    for method in (*_MAPS.values(), certificates.median_rank):
      with self.assertRaisesRegex(ValueError, 'floats, got int32: cast it'):
        method(equivalence.score_fn(), jnp.ones(4, int), key=jax.random.key(0))

  def test_numpy_is_taken_as_jax_takes_it(self):
    x = np.arange(6.0) / 5
    self.assertEqual(x.dtype, np.float64)
    of = functools.partial(
      certificates.sparsified_map,
      lambda x: jnp.sum(x**3),
      key=jax.random.key(0),
      num_samples=2,
    )
    np.testing.assert_array_equal(of(x).scores, of(jnp.asarray(x)).scores)

  @parameterized.parameters('scaled', 'quadratic', 'sparsified', 'relaxed')
  def test_goes_on(self, kind):
    (x,) = equivalence.examples(1)
    of = functools.partial(
      _MAPS[kind],
      equivalence.score_fn(),
      x,
      key=jax.random.key(0),
      sigma=0.4,
      batch_size=4,
    )
    whole, resumed = jax.jit(
      lambda: (
        of(num_samples=25),
        of(num_samples=25, start=of(num_samples=10)),
      )
    )()
    equivalence.assert_close(resumed, whole)
    self.assertEqual(resumed.info.num_samples, 25)
    # A certificate knows how many draws there are.
    one, two = (
      certificates.top_k_overlap(out, 10, rho=0.01) for out in (whole, resumed)
    )
    np.testing.assert_allclose(two.overlap, one.overlap)
    self.assertEqual(two.num_samples, 25)

  def test_goes_on_from_its_own_kind(self):
    x = equivalence.examples(1)[0]
    of = functools.partial(
      certificates.sparsified_map,
      lambda x: jnp.sum(jnp.sin(3 * x)),
      x,
      key=jax.random.key(0),
    )
    start = of(num_samples=2)
    for settings, message in (
      ({'tau': 0.5}, 'got one with mass = 29, expected 72'),
      ({'sigma': 0.1}, r'got one with sigma = 0.2\d*, expected 0.1'),
    ):
      with self.assertRaisesRegex(ValueError, message):
        of(num_samples=4, start=start, **settings)
    with self.assertRaisesRegex(ValueError, 'binary = True, expected False'):
      certificates.relaxed_map(jnp.sum, x, key=jax.random.key(0), start=start)

  def test_sparsified_counts_are_exact(self):
    x = equivalence.examples(1)[0]
    out = certificates.sparsified_map(
      lambda x: jnp.sum(jnp.sin(3 * x)),
      x,
      key=jax.random.key(0),
      num_samples=77,
    )
    counts = np.asarray(out.scores, np.float64) * 77
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-4)
    # No ties here: each draw marks exactly its share, 28.8 of 144 entries.
    self.assertAlmostEqual(float(jnp.sum(out.scores)), 29, places=4)
    self.assertEqual(out.info.mass, 29)

  def test_ties_never_mark_more_than_the_share(self):
    x = jnp.ones((10,))
    fn = lambda x: jnp.sum(x[:4]) + 2 * x[4]  # 1 four times, then 2, then 0.
    of = lambda tau: (
      certificates.sparsified_map(
        fn, x, key=jax.random.key(0), tau=tau, num_samples=2
      ).scores
    )
    np.testing.assert_array_equal(of(0.3), jnp.eye(10)[4])
    np.testing.assert_array_equal(of(0.5), (jnp.arange(10) < 5).astype('f4'))
    np.testing.assert_array_equal(of(1.0), (jnp.arange(10) < 5).astype('f4'))

  def test_channels_in_one(self):
    x = equivalence.examples(1)[0]
    out = certificates.sparsified_map(
      equivalence.score_fn(),
      x,
      key=jax.random.key(0),
      base=smoothed_maps.channel_magnitude,
      num_samples=3,
    )
    self.assertEqual(out.scores.shape, (*x.shape[:2], 1))

  @parameterized.parameters(jnp.float32, jnp.float64, jnp.float16)
  def test_largest_is_that_of_a_sort(self, dtype):
    equivalence.skip_without(self, dtype)
    with jax.enable_x64(dtype == jnp.float64):
      m = jnp.abs(jax.random.normal(jax.random.key(0), (37,), dtype))
      m = m.at[:5].set(0.0)
      order = np.sort(np.asarray(m))[::-1]
      for rank in (1, 2, 30, 33, 37):
        self.assertEqual(draws.of_sizes(m)(rank), order[rank - 1])
      self.assertEqual(draws.of_sizes(m)(38), 0)

  @parameterized.parameters(
    (dict(sigma=0), r'sigma must be in \(0, inf\), got 0'),
    (
      dict(num_samples=0),
      r'num_samples must be a whole number of at least 1, got 0',
    ),
    (dict(tau=0), r'tau must be in \(0, 1\], got 0'),
    (dict(tau=1.5), r'tau must be in \(0, 1\], got 1.5'),
    (
      dict(batch_size=0),
      r'batch_size must be a whole number of at least 1, got 0',
    ),
    (dict(key=None), 'pass key='),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), **settings}
    with self.assertRaisesRegex(ValueError, message):
      certificates.sparsified_map(
        equivalence.score_fn(), equivalence.examples(1)[0], **settings
      )

  def test_gamma_is_within_tau(self):
    with self.assertRaisesRegex(ValueError, r'gamma must be in \[0, 0.1\]'):
      certificates.relaxed_map(
        equivalence.score_fn(),
        equivalence.examples(1)[0],
        key=jax.random.key(0),
        tau=0.1,
        gamma=0.2,
      )


class MedianRankTest(parameterized.TestCase):
  def test_is_the_median_of_ranks(self):
    fn = equivalence.score_fn()
    x = equivalence.examples(1)[0]
    key = jax.random.key(3)
    out = certificates.median_rank(
      fn, x, key=key, num_bins=x.size, num_samples=9, sigma=0.4, batch_size=2
    )
    ranks = []
    for i in range(9):
      noise = sampling.normal(jax.random.fold_in(key, i), x)
      m = np.abs(np.asarray(jax.grad(fn)(x + jnp.float32(0.4) * noise)))
      ranks.append(np.sum(m.ravel()[None] >= m.ravel()[:, None], 1))
    want = np.median(ranks, 0).reshape(x.shape)
    np.testing.assert_array_equal(np.rint(-out.scores * x.size), want)

  def test_bins_bound_the_rank_from_above(self):
    fn, x = equivalence.score_fn(), equivalence.examples(1)[0]
    of = lambda bins: (
      certificates.median_rank(
        fn, x, key=jax.random.key(0), num_bins=bins, num_samples=9
      ).scores
    )
    exact, coarse = of(x.size), of(12)
    self.assertTrue(np.all(coarse <= exact))
    self.assertTrue(np.all(exact - coarse <= 1 / 12 + 1e-6))

  def test_interval_covers_the_rank_of_many_draws(self):
    fn, x = equivalence.score_fn(), equivalence.examples(1)[0]
    run = jax.jit(
      lambda key, num: certificates.median_rank(
        fn, x, key=key, num_bins=x.size, num_samples=num, batch_size=None
      ),
      static_argnums=1,
    )
    want = run(jax.random.key(0), 4096).scores
    covered, width = [], []
    for seed in range(20):
      info = run(jax.random.key(1 + seed), 64).info
      covered.append((info.low <= want) & (want <= info.high))
      width.append(info.high - info.low)
    self.assertGreater(np.mean(covered), 0.95)
    self.assertBetween(np.mean(width), 1 / x.size, 0.5)

  def test_goes_on(self):
    of = functools.partial(
      certificates.median_rank,
      equivalence.score_fn(),
      equivalence.examples(1)[0],
      key=jax.random.key(0),
      sigma=0.4,
      num_bins=12,
      batch_size=4,
    )
    whole, resumed = jax.jit(
      lambda: (of(num_samples=25), of(num_samples=25, start=of(num_samples=10)))
    )()
    equivalence.assert_close(resumed, whole)
    self.assertEqual(resumed.info.num_samples, 25)
    start = of(num_samples=2)
    with self.assertRaisesRegex(ValueError, 'got one of 12 bins, expected 8'):
      of(num_samples=4, num_bins=8, start=start)
    with self.assertRaisesRegex(
      ValueError, r'got one with sigma = 0.4\d*, exp'
    ):
      of(num_samples=4, sigma=0.1, start=start)

  def test_equivalence(self):
    method = functools.partial(
      certificates.median_rank, num_samples=5, num_bins=4
    )
    equivalence.check(self, method, draws=True)

  def test_bad_bins(self):
    with self.assertRaisesRegex(
      ValueError, r'num_bins must be a whole number of at least 1'
    ):
      certificates.median_rank(
        equivalence.score_fn(),
        equivalence.examples(1)[0],
        key=jax.random.key(0),
        num_bins=0,
      )


if __name__ == '__main__':
  absltest.main()
