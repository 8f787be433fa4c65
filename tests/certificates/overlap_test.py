"""Tests for `overlap.py`."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import special
from scipy import stats

from saliency_jax import certificates
from saliency_jax.certificates import overlap


def _by_hand(h, k, rho, sigma, c):
  """The largest i of the paper's definition, entry by entry."""
  order = sorted((float(v) for v in h), reverse=True)
  n = len(order)
  best = 0
  for i in range(1, k + 1):
    j = 2 * k - i + 1
    z = max(order[i - 1] - c, 0.0)
    low = float(special.ndtr(special.ndtri(z) - 2 * rho / sigma))
    # z <= c certifies nothing; entries beyond the last count as beaten.
    if j > n or low > min(order[j - 1] + c, 1.0):
      best = max(best, i)
  return best


def _not_above(first, second, q):
  """P(S <= T) of counts of `q` with chances Phi(first) and Phi(second)."""
  k = np.arange(q + 1)
  chance = stats.binom.pmf(k, q, special.ndtr(first))
  return np.sum(chance * stats.binom.sf(k - 1, q, special.ndtr(second)))


class TopKOverlapTest(parameterized.TestCase):
  @parameterized.product(
    seed=(0, 1, 2, 3), q=(None, 40, 4000), ties=(False, True)
  )
  def test_matches_the_definition(self, seed, q, ties):
    rng = np.random.default_rng(seed)
    h = rng.beta(0.4, 0.7, size=23)
    if ties:
      h = np.round(4 * h) / 4  # Zeros and ones among them.
    ks, rhos = np.arange(1, 24), (0.0, 0.02, 0.3)
    c = 0 if q is None else math.sqrt(math.log(2 * 23 / 0.1) / (2 * q))
    got = certificates.top_k_overlap(
      certificates.stated_map(h, sigma=0.5, num_samples=q or 0),
      ks,
      rho=rhos,
      confidence=0.9,
      bound=certificates.population if q is None else certificates.hoeffding,
    )
    want = [[_by_hand(h, k, r, 0.5, c) / k for k in ks] for r in rhos]
    np.testing.assert_array_equal(got.overlap, want)

  def test_valid_places_are_a_prefix(self):
    h = np.random.default_rng(1).uniform(size=40)
    order = np.sort(h)[::-1]
    low = special.ndtr(special.ndtri(order) - 2 * 0.05)
    for k in (5, 20, 30, 40):
      holds = [
        2 * k - i + 1 > 40 or low[i - 1] > order[2 * k - i]
        for i in range(1, k + 1)
      ]
      self.assertEqual(holds, sorted(holds, reverse=True))
      got = certificates.top_k_overlap(
        certificates.stated_map(h, sigma=1.0),
        k,
        rho=0.05,
        bound=certificates.population,
      )
      self.assertEqual(got.overlap[0, 0] * k, sum(holds))

  def test_opposed_half_spaces_attain_it(self):
    # h_1 = Phi(a - t), h_2 = Phi(b + t) along the worst direction t / sigma.
    a, b, sigma = 0.9, 0.1, 0.5
    h = special.ndtr(np.array([a, b]))
    swap = sigma * (a - b) / 2  # The radius at which the two are equal.
    of = lambda rho: certificates.top_k_overlap(
      certificates.stated_map(h, sigma=sigma),
      1,
      rho=rho,
      bound=certificates.population,
    ).overlap[0, 0]
    self.assertEqual(of(swap * (1 - 1e-9)), 1)
    self.assertEqual(of(swap * (1 + 1e-9)), 0)

  def test_other_bounds(self):
    rng = np.random.default_rng(2)
    counts = np.where(np.arange(50) < 10, 990, 5) + rng.integers(-4, 5, 50)
    h = counts / 1000
    counted = certificates.stated_map(
      h, sigma=0.3, num_samples=1000, binary=True
    )
    of = functools.partial(certificates.top_k_overlap, counted, 10, rho=0.1)
    hoeffding = of()
    exact = of(bound=certificates.clopper_pearson)
    bernstein = of(bound=certificates.empirical_bernstein)
    self.assertEqual(exact.bound, 'clopper_pearson')
    self.assertEqual(bernstein.bound, 'empirical_bernstein')
    self.assertGreaterEqual(exact.overlap[0, 0], hoeffding.overlap[0, 0])
    self.assertEqual(exact.overlap[0, 0], 1)
    again = of(bound=certificates.clopper_pearson, num_new_samples=100)
    self.assertLessEqual(again.overlap[0, 0], exact.overlap[0, 0])
    private = of(shift=certificates.privacy_shift)
    self.assertLessEqual(private.overlap[0, 0], hoeffding.overlap[0, 0])

  @parameterized.parameters(0.0, 0.01, 0.1, 0.3, 1.2, 5.0)
  def test_privacy_is_the_looser(self, ratio):
    z = np.linspace(0, 1, 101)
    low, high = overlap.privacy_shift(z, z, ratio)
    tight_low, tight_high = overlap.gaussian_shift(z, z, ratio)
    self.assertTrue(np.all((0 <= low) & (low <= tight_low + 1e-12)))
    self.assertTrue(np.all((high <= 1) & (high >= tight_high - 1e-12)))

  @parameterized.parameters(0.05, 0.3, 0.9)
  def test_exact_privacy_gives_the_gaussian_shift(self, ratio):
    # Balle and Wang, Theorem 8: the least delta of each eps.
    eps = np.linspace(0, 8 * ratio, 20_001)
    ndtr = special.ndtr
    delta = ndtr(ratio / 2 - eps / ratio) - np.exp(eps) * ndtr(
      -ratio / 2 - eps / ratio
    )
    z = np.linspace(0.05, 0.95, 7)
    best = np.max(np.exp(-eps) * (z[:, None] - delta), 1)
    # Below the median it is the other order of the two that binds.
    other = np.max(1 - delta - np.exp(eps) * (1 - z[:, None]), 1)
    low, high = overlap.gaussian_shift(z, z, ratio)
    np.testing.assert_allclose(np.maximum(best, other), low, atol=1e-6)
    np.testing.assert_allclose(high, 1 - low[::-1], atol=1e-12)

  @parameterized.product(num_new=(50, 200), binary=(False, True))
  def test_new_draws_of_opposed_half_spaces(self, num_new, binary):
    # At the worst point the two are Phi(a - r) and Phi(b + r); the counts of
    # new draws say the first is not above the second with this probability.
    certified, worst = 0, 0.0
    for r in (0.5, 1.0, 2.0, 3.5):
      for b in (-1.0, -0.5, 0.0, 0.7):
        for gap in (0.1, 0.4, 0.8, 1.6, 2.4):
          a = b + 2 * r + gap
          stated = certificates.stated_map(
            special.ndtr([a, b]), sigma=1.0, binary=binary
          )
          got = certificates.top_k_overlap(
            stated,
            1,
            rho=r,
            bound=certificates.population,
            num_new_samples=num_new,
          )
          if got.overlap[0, 0] == 1:
            certified += 1
            worst = max(worst, _not_above(a - r, b + r, num_new))
    self.assertGreater(certified, 3)
    self.assertLess(certified, 80)
    self.assertLessEqual(worst, 0.05)
    # h = Phi(8.3) and Phi(.7) at 3.5 are certified of the population alone.
    stated = certificates.stated_map(special.ndtr([8.3, 0.7]), sigma=1.0)
    of = functools.partial(
      certificates.top_k_overlap,
      stated,
      1,
      rho=3.5,
      bound=certificates.population,
    )
    self.assertEqual(of().overlap, 1)
    self.assertEqual(of(num_new_samples=200).overlap, 0)
    self.assertGreater(_not_above(8.3 - 3.5, 0.7 + 3.5, 200), 0.9)

  @parameterized.parameters(('hoeffding', 200), ('clopper_pearson', 30))
  def test_both_draws_together_fail_as_rarely_as_stated(self, bound, num_new):
    q, confidence, ks = 40, 0.8, np.arange(41)
    for r in (0.1, 0.4):
      certified = np.zeros((q + 1, q + 1))
      for i in ks:
        for j in ks[:i]:
          stated = certificates.stated_map(
            np.array([i, j]) / q, sigma=1.0, num_samples=q, binary=True
          )
          (certified[i, j],) = certificates.top_k_overlap(
            stated,
            1,
            rho=r,
            confidence=confidence,
            bound=getattr(certificates, bound),
            num_new_samples=num_new,
          ).overlap[0]
      self.assertGreater(certified.sum(), 5)
      for a in np.arange(0, 2.5, 0.2):
        for b in np.arange(-2.0, a + 0.1, 0.2):
          chance = [stats.binom.pmf(ks, q, special.ndtr(z)) for z in (a, b)]
          failed = (
            chance[0]
            @ certified
            @ chance[1]
            * _not_above(a - r, b + r, num_new)
          )
          self.assertLessEqual(failed, 1 - confidence)

  @parameterized.parameters(
    (dict(k=0), 'k among 1 to 4 entries, got 0'),
    (dict(k=5), 'got 5'),
    (dict(k=1.5), 'got 1.5'),
    (dict(rho=-1.0), 'rho must be in .* got -1'),
    (dict(num_new_samples=0), 'num_new_samples must be a whole number'),
  )
  def test_bad_arguments(self, settings, message):
    stated = certificates.stated_map(
      np.linspace(0, 1, 4), sigma=0.5, num_samples=10
    )
    with self.assertRaisesRegex(ValueError, message):
      certificates.top_k_overlap(stated, **{'k': 1, 'rho': 0.1, **settings})


class GuaranteedTest(parameterized.TestCase):
  def test_percentile(self):
    got = certificates.guaranteed(np.arange(1, 11) / 10, share=0.6)
    self.assertEqual(got.value, 0.4)  # Six are at least .5, and seven .4.
    self.assertLess(got.low, 0.4)
    self.assertGreater(got.high, 0.4)

  def test_interval_covers(self):
    rng = np.random.default_rng(0)
    truth = stats.norm.ppf(0.4)
    held = 0
    for _ in range(2000):
      got = certificates.guaranteed(rng.normal(size=64), confidence=0.9)
      held += got.low <= truth <= got.high
    self.assertGreater(held / 2000, 0.9 - 3 * math.sqrt(0.09 / 2000))

  @parameterized.parameters(
    ([], 0.6, 0.95), ([math.nan], 0.6, 0.95), ([0.5], 1, 0.95), ([0.5], 0.6, 0)
  )
  def test_bad_arguments(self, values, share, level):
    with self.assertRaisesRegex(ValueError, r'certificate|in \(0, 1\)'):
      certificates.guaranteed(values, share=share, confidence=level)


if __name__ == '__main__':
  absltest.main()
