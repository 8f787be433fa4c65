"""Tests for `radii.py`."""

import functools
import time

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import special

from saliency_jax import certificates


def _stated(seed, n=23, q=200):
  rng = np.random.default_rng(seed)
  h = np.round(q * rng.beta(0.4, 0.7, size=n)) / q  # With ties, 0 and 1.
  return certificates.stated_map(h, sigma=0.5, num_samples=q, binary=True)


class RadiiTest(parameterized.TestCase):
  @parameterized.product(seed=(0, 1, 2), share=(0.3, 0.5, 1.0))
  def test_overlap_falls_below_the_share_at_the_radius(self, seed, share):
    stated, ks = _stated(seed), np.arange(1, 24)
    settings = {'bound': certificates.clopper_pearson}
    radius = certificates.overlap_radius(stated, ks, share=share, **settings)
    if share < 1:
      self.assertTrue(np.any((0 < radius) & (radius < np.inf)))
    for factor, holds in ((1 - 1e-9, True), (1 + 1e-9, False)):
      for k, r in zip(ks, radius, strict=True):
        if 0 < r < np.inf:
          got = certificates.top_k_overlap(
            stated, int(k), rho=r * factor, **settings
          )
          self.assertEqual(got.overlap[0, 0] >= share - 1e-12, holds)
    # Where all the others are in the top, too, nothing takes a place.
    whole = certificates.top_k_overlap(stated, 23, rho=1e9, **settings)
    self.assertEqual(whole.overlap, 1)
    self.assertEqual(radius[-1], np.inf)
    never = certificates.top_k_overlap(stated, ks, rho=0.0, **settings)
    np.testing.assert_array_equal(radius == 0, never.overlap[0] < share - 1e-12)

  @parameterized.product(seed=(0, 1, 2, 3), k=(1, 6, 22, 23))
  def test_entries_are_certain_by_counting_rivals(self, seed, k):
    stated = _stated(seed)
    bound = certificates.clopper_pearson
    lower, upper = bound(stated, 0.95)
    got = certificates.entry_radii(stated, k, bound=bound)
    for r in (0.0, 0.02, 0.1, 0.4):
      least, most = certificates.gaussian_shift(lower, upper, r / 0.5)
      others = ~np.eye(23, dtype=bool)
      may_beat = np.sum((most[None] >= least[:, None]) & others, 1)
      must_beat = np.sum((least[None] > most[:, None]) & others, 1)
      np.testing.assert_array_equal(got.inside > r, may_beat < k)
      np.testing.assert_array_equal(got.outside > r, must_beat >= k)

  def test_half_spaces_attain_them(self):
    a, b, sigma = 0.9, 0.1, 0.5
    stated = certificates.stated_map(special.ndtr([a, b]), sigma=sigma)
    of = functools.partial(
      certificates.entry_radii, bound=certificates.population
    )
    radius = sigma * (a - b) / 2
    inside, outside = of(stated, 1)
    np.testing.assert_allclose(inside, [radius, 0], atol=1e-12)
    np.testing.assert_allclose(outside, [0, radius], atol=1e-12)

  def test_entries_are_fewer_than_the_overlap_counts(self):
    h = np.linspace(0.01, 0.99, 300) ** 2
    stated = certificates.stated_map(h, sigma=0.5, num_samples=20_000)
    for k in (30, 60, 150):
      inside = certificates.entry_radii(stated, k).inside
      got = certificates.top_k_overlap(stated, k, rho=(0.0, 0.05))
      for i, r in enumerate((0.0, 0.05)):
        self.assertLessEqual(np.sum(inside > r), got.overlap[i, 0] * k + 1e-9)
        self.assertGreater(np.sum(inside > r), 0)

  def test_all_k_and_many_radii_of_a_photo_take_under_a_second(self):
    rng = np.random.default_rng(0)
    h = np.round(1000 * rng.beta(0.5, 2, size=(224, 224, 3))) / 1000
    stated = certificates.stated_map(
      h, sigma=0.2, num_samples=1000, binary=True
    )
    ks, rhos = 1 + np.arange(h.size), np.linspace(0, 0.1, 20)
    bound = certificates.clopper_pearson
    certificates.top_k_overlap(stated, ks[:2], rho=rhos[:2], bound=bound)
    begin = time.process_time()
    got = certificates.top_k_overlap(stated, ks, rho=rhos, bound=bound)
    radius = certificates.overlap_radius(stated, ks, bound=bound)
    seconds = time.process_time() - begin
    self.assertEqual(got.overlap.shape, (20, h.size))
    self.assertEqual(radius.shape, (h.size,))
    self.assertLess(seconds, 1)

  @parameterized.parameters(
    (dict(share=0), r'share must be in \(0, 1\], got 0'),
    (dict(k=24), 'k among 1 to 23 entries, got 24'),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      certificates.overlap_radius(_stated(0), **{'k': 2, **settings})

  def test_entries_of_a_top_that_is_not_there(self):
    with self.assertRaisesRegex(ValueError, r'k must be .* in \[1, 23\]'):
      certificates.entry_radii(_stated(0), 24)


if __name__ == '__main__':
  absltest.main()
