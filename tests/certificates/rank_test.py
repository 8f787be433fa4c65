"""Tests for `rank.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from saliency_jax import certificates


class CertifiedRankTest(parameterized.TestCase):
  def test_theorem_3(self):
    # tau n = 20 of 200 entries, of an entry with h = 1/2.
    h = np.zeros(200)
    h[3] = 0.5
    got = certificates.certified_rank(
      certificates.stated_map(h, sigma=0.5, mass=20),
      rho=0.1,
      bound=certificates.population,
      factor=2.0,
    )
    self.assertEqual(got[3], int(20 / special.ndtr(-0.4)))
    self.assertEqual(got[0], 200)  # Of zero nothing is known.

  def test_simulated_ranks_respect_it(self):
    rng = np.random.default_rng(0)
    n, d, sigma, rho, q = 12, 4, 0.5, 0.2, 100_000
    weights, offset = rng.normal(size=(n, d)), rng.normal(size=n)

    def smoothed(x):
      m = np.abs((x + sigma * rng.normal(size=(q, d))) @ weights.T + offset)
      order = np.argsort(-m, 1)[:, :3]
      return np.bincount(order.ravel(), minlength=n) / q

    x = rng.normal(size=d)
    certified = certificates.certified_rank(
      certificates.stated_map(
        smoothed(x), sigma=sigma, num_samples=q, binary=True, mass=3
      ),
      rho=rho,
      bound=certificates.clopper_pearson,
    )
    self.assertLess(certified.min(), n)  # It says something.
    error = 4 * np.sqrt(0.25 / q)
    for _ in range(20):
      step = rng.normal(size=d)
      h = smoothed(x + rho * step / np.linalg.norm(step))
      rank = 1 + np.sum(h[None] > h[:, None] + error, 1)
      self.assertTrue(np.all(rank <= certified), (rank, certified))

  @parameterized.parameters((8, 0.2), (785, 0.2))
  def test_holds_where_the_share_is_no_whole_number(self, n, tau):
    # Every draw marks the `k` entries that count, or `k` others.
    k = {8: 2, 785: 157}[n]
    h = np.where(np.arange(n) < 2 * k, 0.5, 0.0)
    out = certificates.sparsified_map(
      lambda x: jnp.arange(1.0, n + 1) @ x,
      jnp.zeros(n),
      key=jax.random.key(0),
      tau=tau,
      num_samples=2,
    )
    self.assertEqual(np.sum(out.scores), k)
    self.assertEqual(out.info.mass, k)
    stated = certificates.stated_map(h, sigma=1.0, mass=int(out.info.mass))
    got = certificates.certified_rank(
      stated, rho=0.0, bound=certificates.population
    )
    # As many entries are as large.
    self.assertEqual(got[0], min(2 * k, n))

  def test_ranks_that_are_whole_but_for_rounding(self):
    # mass / least is 3 / .3, and .3 / .1: both are whole.
    for mass, h, want in ((3, 0.3, 10), (0.3, 0.1, 3), (157, 0.02, 7850)):
      h = np.full(7850, h)
      stated = certificates.stated_map(h, sigma=1.0, mass=mass)
      got = certificates.certified_rank(
        stated, rho=0.0, bound=certificates.population
      )
      self.assertEqual(got[0], want)

  @parameterized.parameters(
    (dict(rho=-0.1), 'rho .*got -0.1'),
    (dict(rho=0.1, factor=0.5), 'factor .*got 0.5'),
  )
  def test_bad_arguments(self, settings, message):
    stated = certificates.stated_map([0.5], sigma=0.5, num_samples=9)
    with self.assertRaisesRegex(ValueError, message):
      certificates.certified_rank(stated, **settings)


if __name__ == '__main__':
  absltest.main()
