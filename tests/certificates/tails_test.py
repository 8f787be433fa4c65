"""Tests for `tails.py`."""

import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
from scipy import stats

from saliency_jax import certificates
from saliency_jax.certificates import confidence
from saliency_jax.certificates import draws
from saliency_jax.certificates import tails
from tests import equivalence

_EDGES = np.geomspace(0.02, 1, 30)


def _map(values, sigma=1.0, edges=_EDGES):
  """The attribution of draws `[q, n]` with the tails of their values."""
  stated = certificates.stated_map(
    values.mean(0),
    sigma=sigma,
    num_samples=len(values),
    variance=values.var(0),
  )
  above = (values[..., None] >= edges).mean(0)
  return stated._replace(info=tails.TailsInfo(stated.info, above, edges))


def _overlap(smoothed, bound, rho=0.0, k=1, **settings):
  return certificates.top_k_overlap(
    smoothed, k, rho=rho, bound=bound, **settings
  ).overlap[0, 0]


class TailsTest(parameterized.TestCase):
  @parameterized.parameters('cdf_floor', 'cdf_exact')
  def test_holds_at_all_points_of_the_ball_as_often_as_stated(self, name):
    # Steps of a half-space: v = .1 + .3 [u < a] falls with the shift, exactly
    # as the bound says, and the others rise.
    rng = np.random.default_rng(0)
    ratio, trials, level = 0.4, 300, 0.8
    a = np.array([0.5, -0.2, 1.0, -1.0])
    truth = np.stack(
      [0.1 + 0.3 * stats.norm.cdf(a - s) for s in (ratio, -ratio)]
    )
    failed = 0
    for _ in range(trials):
      u = rng.normal(size=(300, 1))
      found = getattr(certificates, name)(_map(0.1 + 0.3 * (u < a)), level)
      least, most = confidence.within_ball(
        found, certificates.gaussian_shift, ratio
      )
      failed += np.any(least > truth[0]) or np.any(most < truth[1])
    allowed = stats.binom.isf(stats.norm.sf(4), trials, 1 - level)
    self.assertLessEqual(failed, allowed)

  def test_is_within_the_shift_of_the_mean_where_values_are_small(self):
    rng = np.random.default_rng(1)
    h = np.where(np.arange(20) < 5, 0.16, 0.08)
    values = np.minimum(rng.gamma(4, 1, size=(4000, 20)) * h / 4, 1)
    smoothed = _map(values, edges=np.asarray(tails.EDGES))
    for name in ('cdf_floor', 'cdf_exact'):
      bound = getattr(certificates, name)
      for rho in (0.05, 0.2):
        alone = _overlap(smoothed, certificates.hoeffding, rho, 5)
        self.assertGreaterEqual(_overlap(smoothed, bound, rho, 5), alone)
    self.assertEqual(_overlap(smoothed, certificates.cdf_exact, 0.2, 5), 1)
    self.assertEqual(_overlap(smoothed, certificates.hoeffding, 0.2, 5), 0)

  def test_zeros_and_ones_are_counted(self):
    values = (np.arange(100)[:, None] < np.array([60, 20])).astype(float)
    smoothed = _map(values, edges=np.array([1.0]))
    found = certificates.cdf_floor(smoothed)
    c = math.sqrt(math.log(2 * 2 / 0.05) / 200)
    np.testing.assert_allclose(found.lower[:, 0], [0.6 - c, 0.2 - c])
    exact = certificates.cdf_exact(smoothed)
    counted = certificates.stated_map(
      values.mean(0), sigma=1.0, num_samples=100, binary=True
    )
    want = certificates.clopper_pearson(counted)
    np.testing.assert_allclose(exact.lower[:, 0], want[0])
    np.testing.assert_allclose(exact.upper[:, 0], want[1])

  def test_the_best_of_several_is_the_closest_at_each_radius(self):
    values = np.random.default_rng(2).beta(1, 6, size=(500, 12))
    values[:, :3] *= 2
    smoothed = _map(np.minimum(values, 1))
    several = (certificates.hoeffding, certificates.cdf_floor)
    found = certificates.best_of(*several)(smoothed, 0.95)
    ball = lambda one: confidence.within_ball(
      one, certificates.gaussian_shift, 0.1
    )
    alone = [ball(f(smoothed, 0.975)) for f in several]
    least, most = ball(found)
    np.testing.assert_array_equal(least, np.max([a[0] for a in alone], 0))
    np.testing.assert_array_equal(most, np.min([a[1] for a in alone], 0))
    with self.assertRaisesRegex(ValueError, 'expected a bound on entries'):
      certificates.entry_radii(smoothed, 3, bound=certificates.cdf_floor)

  def test_tails_are_counted_with_the_map(self):
    fn, x = equivalence.score_fn(), equivalence.examples(1)[0]
    edges = (0.1, 0.5, 1.0)
    kinds = {
      'all': tails.with_tails(draws.scaled(), edges),
      **{
        f'{e}': draws.Kind(
          lambda m, largest, e=e: (m / m.max() >= e).astype(m.dtype)
        )
        for e in edges
      },
    }
    out = certificates.several(
      fn, x, kinds=kinds, key=jax.random.key(0), num_samples=20
    )
    for i, e in enumerate(edges):
      np.testing.assert_allclose(
        out['all'].info.above[..., i], out[f'{e}'].scores, atol=1e-6
      )
    _overlap(out['all'], certificates.hoeffding)
    with self.assertRaisesRegex(ValueError, 'with the tails of its values'):
      certificates.cdf_floor(out['0.1'])

  def test_bad_edges(self):
    with self.assertRaisesRegex(ValueError, r'edges must rise in \(0, 1\]'):
      tails.with_tails(draws.scaled(), (0.5, 0.2, 1.0))


if __name__ == '__main__':
  absltest.main()
