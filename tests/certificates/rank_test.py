"""Tests for `rank.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import special

from saliency_jax import certificates


class CertifiedRankTest(parameterized.TestCase):
  def test_theorem_3(self):
    # tau n = 20 of 200 entries, of an entry with h = 1/2.
    h = np.zeros(200)
    h[3] = 0.5
    got = certificates.certified_rank(
      h,
      mass=20,
      rho=0.1,
      sigma=0.5,
      num_samples=1,
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
      smoothed(x),
      mass=3,
      rho=rho,
      sigma=sigma,
      num_samples=q,
      bound=certificates.clopper_pearson,
    )
    self.assertLess(certified.min(), n)  # It says something.
    error = 4 * np.sqrt(0.25 / q)
    for _ in range(20):
      step = rng.normal(size=d)
      h = smoothed(x + rho * step / np.linalg.norm(step))
      rank = 1 + np.sum(h[None] > h[:, None] + error, 1)
      self.assertTrue(np.all(rank <= certified), (rank, certified))

  @parameterized.parameters(dict(mass=0.0), dict(rho=-0.1), dict(sigma=0.0))
  def test_bad_arguments(self, **settings):
    settings = {'mass': 3.0, 'rho': 0.1, 'sigma': 0.5, **settings}
    with self.assertRaisesRegex(ValueError, 'expected mass and sigma above 0'):
      certificates.certified_rank(np.array([0.5]), num_samples=9, **settings)


if __name__ == '__main__':
  absltest.main()
