"""Tests for `exchange.py`."""

import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import stats

from saliency_jax import certificates
from saliency_jax.certificates import exchange


def _split(values, first, sigma=1.0):
  """The attribution of draws `[q, n]`, the first of which select."""
  return certificates.stated_split(
    values, sigma=sigma, selecting=first / len(values)
  )


def _ties(rng, q):
  """Two entries of the same mean: whichever is on top may leave it."""
  return (rng.uniform(size=(q, 2)) < 0.3).astype(float)


def _half_spaces(a, ratio):
  """Opposed ones, which come to tie at the ratio."""

  def draw(rng, q):
    u = rng.normal(size=q)
    return np.stack([u < a, -u < a - 2 * ratio], 1).astype(float)

  return draw


def _small(rng, q):
  """Values that are no zeros and ones, and tie at .2."""
  u = rng.normal(size=q)
  own = 0.3 * rng.beta(0.5, 3, size=(q, 2))
  return 0.2 * np.stack([u < 0.3, -u < -0.1], 1) + own


class ExchangeTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('ties', _ties, 0.0),
    ('half_spaces', _half_spaces(0.3, 0.3), 0.3),
    ('far_half_spaces', _half_spaces(0.5, 1.0), 1.0),
    ('small', _small, 0.2),
  )
  def test_fails_as_rarely_as_stated(self, draw, rho):
    # Of one entry on top that ties with the other, all that is claimed is
    # wrong.
    rng, trials, confidence = np.random.default_rng(0), 300, 0.8
    wrong = 0
    for _ in range(trials):
      split = _split(draw(rng, 400), 100)
      got = certificates.exchange_overlap(
        split, 1, rho=rho, confidence=confidence
      )
      wrong += got.overlap[0, 0] > 0
    most = stats.binom.isf(stats.norm.sf(4), trials, 1 - confidence)
    self.assertLessEqual(wrong, most)

  def test_claims_what_holds_of_many_entries(self):
    # Of eight on top three come to tie with others at the radius.
    rng, wrong, claimed = np.random.default_rng(1), 0, []
    a = np.array([0.3] * 3 + [1.2] * 5)
    b = np.array([-0.3] * 3 + [-1.5] * 9)
    for _ in range(60):
      u = rng.normal(size=(1200, 1))
      split = _split(np.hstack([u < a, -u < b]).astype(float), 300)
      got = certificates.exchange_overlap(split, 8, rho=0.3)
      self.assertTrue(got.top[0, :8].all())
      claimed.append(got.overlap[0, 0])
      wrong += claimed[-1] > 5 / 8
    self.assertLessEqual(wrong, stats.binom.isf(stats.norm.sf(4), 60, 0.05))
    self.assertGreater(np.mean(claimed), 0.4)

  @parameterized.parameters(0.1, 0.4, 0.8)
  def test_the_inequality_of_one_draw(self, lam):
    # exp(lam g - a g^2) <= (1 + lam g)(1 - c' g^2) on all of [-1, 1].
    g = np.linspace(-1, 1, 2001)
    for c in (0.0, 0.2, 0.9):
      a = -math.log1p(-lam) - lam - math.log1p(-c)
      left = np.exp(lam * g - a * g**2)
      right = (1 + lam * g) * (1 - c * g**2)
      self.assertTrue(np.all(left <= right * (1 + 1e-12)))
      cubic = 1 + lam * g - c * (1 - lam) * g**2
      self.assertTrue(np.all(right <= cubic + 1e-12))

  @parameterized.parameters(0.1, 0.5, 1.5)
  def test_the_shift_of_one_mean(self, ratio):
    # |E' - E| <= kappa s, of half-spaces and of their differences.
    t = np.linspace(-3, 3, 61)
    p, moved = stats.norm.cdf(t), stats.norm.cdf(t - ratio)
    kappa = math.sqrt(math.expm1(ratio**2))
    self.assertTrue(np.all(p - moved <= kappa * np.sqrt(p * (1 - p)) + 1e-12))

  def test_certifies_more_than_entries_one_by_one(self):
    rng = np.random.default_rng(0)
    h = np.concatenate(
      [np.linspace(0.5, 0.8, 40), np.linspace(0.05, 0.35, 120)]
    )
    values = (rng.uniform(size=(600, 160)) < h).astype(float)
    split = _split(values, 200)
    got = certificates.exchange_overlap(split, (20, 40), rho=(0.0, 0.1))
    alone = certificates.top_k_overlap(split, (20, 40), rho=(0.0, 0.1))
    self.assertGreater(got.overlap[1, 1], alone.overlap[1, 1])
    self.assertGreaterEqual(got.overlap[0, 1], got.overlap[1, 1])
    np.testing.assert_array_equal(got.top.sum(1), [20, 40])
    self.assertEqual((got.num_samples, got.num_selecting), (600, 200))

  def test_radius_is_where_the_share_is_no_longer_certain(self):
    rng = np.random.default_rng(0)
    u = rng.normal(size=(2000, 1))
    a = np.array([1.0, 1.0, -1.0, -1.0])
    signs = np.array([1, 1, -1, -1])
    split = _split((signs * u < a).astype(float), 500, sigma=0.5)
    radius = certificates.exchange_radius(split, 2, share=0.5)
    # The two sides are equal at sigma (1 + 1) / 2.
    self.assertBetween(radius, 0.1, 0.5)
    self.assertEqual(certificates.exchange_radius(split, 2, rho=2.0), 0)
    self.assertEqual(
      certificates.exchange_radius(split, 3, share=0.5), math.inf
    )

  def test_refuses_other_maps(self):
    stated = certificates.stated_map(np.full(4, 0.5), sigma=1.0, num_samples=9)
    with self.assertRaisesRegex(ValueError, 'two parts, of certificates.split'):
      certificates.exchange_overlap(stated, 1, rho=0.1)
    split = _split(np.eye(4)[np.arange(40) % 4], 10)
    with self.assertRaisesRegex(ValueError, 'k among 1 to 4 entries, got 5'):
      certificates.exchange_overlap(split, 5, rho=0.1)
    with self.assertRaisesRegex(ValueError, r'rho must be in \[0, inf\)'):
      certificates.exchange_overlap(split, 1, rho=-1.0)

  def test_m_goes_down_to_one(self):
    found = list(exchange._descending(157))
    self.assertEqual((found[0], found[-1]), (157, 1))
    self.assertEqual(found, sorted(set(found), reverse=True))


if __name__ == '__main__':
  absltest.main()
