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
      h,
      ks,
      rho=rhos,
      sigma=0.5,
      num_samples=q or 1,
      confidence=0.9,
      bound=certificates.population if q is None else certificates.hoeffding,
    )
    want = [[_by_hand(h, k, r, 0.5, c) / k for k in ks] for r in rhos]
    np.testing.assert_array_equal(got.overlap, want)

  def test_valid_places_are_a_prefix(self):
    h = np.random.default_rng(1).uniform(size=40)
    order = np.sort(h)[::-1]
    low = overlap.gaussian_floor(order, 0.05)
    for k in (5, 20, 30, 40):
      holds = [
        2 * k - i + 1 > 40 or low[i - 1] > order[2 * k - i]
        for i in range(1, k + 1)
      ]
      self.assertEqual(holds, sorted(holds, reverse=True))
      got = certificates.top_k_overlap(
        h,
        k,
        rho=0.05,
        sigma=1.0,
        num_samples=1,
        bound=certificates.population,
      )
      self.assertEqual(got.overlap[0, 0] * k, sum(holds))

  def test_opposed_half_spaces_attain_it(self):
    # h_1 = Phi(a - t), h_2 = Phi(b + t) along the worst direction t / sigma.
    a, b, sigma = 0.9, 0.1, 0.5
    h = special.ndtr(np.array([a, b]))
    swap = sigma * (a - b) / 2  # The radius at which the two are equal.
    of = lambda rho: certificates.top_k_overlap(
      h,
      1,
      rho=rho,
      sigma=sigma,
      num_samples=1,
      bound=certificates.population,
    ).overlap[0, 0]
    self.assertEqual(of(swap * (1 - 1e-9)), 1)
    self.assertEqual(of(swap * (1 + 1e-9)), 0)

  def test_other_bounds(self):
    rng = np.random.default_rng(2)
    counts = np.where(np.arange(50) < 10, 990, 5) + rng.integers(-4, 5, 50)
    h = counts / 1000
    of = lambda **settings: certificates.top_k_overlap(
      h, 10, rho=0.1, sigma=0.3, num_samples=1000, **settings
    )
    hoeffding = of()
    exact = of(bound=certificates.clopper_pearson)
    bernstein = of(
      bound=functools.partial(
        certificates.empirical_bernstein, variance=h * (1 - h)
      )
    )
    self.assertEqual(exact.bound, 'clopper_pearson')
    self.assertEqual(bernstein.bound, 'empirical_bernstein')
    self.assertGreaterEqual(exact.overlap[0, 0], hoeffding.overlap[0, 0])
    self.assertEqual(exact.overlap[0, 0], 1)
    again = of(bound=certificates.clopper_pearson, num_new_samples=100)
    self.assertLessEqual(again.overlap[0, 0], exact.overlap[0, 0])
    private = of(floor=overlap.privacy_floor)
    self.assertLessEqual(private.overlap[0, 0], hoeffding.overlap[0, 0])

  @parameterized.parameters(0.01, 0.1, 0.3)
  def test_privacy_floor_is_below_the_gaussian_one(self, ratio):
    z = np.linspace(0, 1, 101)
    private = overlap.privacy_floor(z, ratio)
    self.assertTrue(np.all(private <= overlap.gaussian_floor(z, ratio) + 1e-12))

  @parameterized.parameters(
    (dict(k=0), 'k among 1 to 4 entries, got 0'),
    (dict(k=5), 'got 5'),
    (dict(k=1.5), 'got 1.5'),
    (dict(rho=-1.0), 'got -1.0 and 0.5'),
    (dict(sigma=0.0), 'sigma above 0'),
    (dict(smoothed=np.array([0.1, 2.0])), r'entries in \[0, 1\]'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {
      'smoothed': np.linspace(0, 1, 4),
      'k': 1,
      'rho': 0.1,
      'sigma': 0.5,
      'num_samples': 10,
      **settings,
    }
    with self.assertRaisesRegex(ValueError, message):
      certificates.top_k_overlap(**settings)


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
    with self.assertRaisesRegex(ValueError, 'certificate|strictly between'):
      certificates.guaranteed(values, share=share, confidence=level)


if __name__ == '__main__':
  absltest.main()
