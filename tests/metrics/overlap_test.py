"""Tests for `overlap.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
from scipy import stats
from skimage import metrics as skimage_metrics

from saliency_jax import metrics


class OverlapTest(parameterized.TestCase):
  def test_top_k_overlap(self):
    a = jnp.array([[5.0, 4.0, 3.0], [2.0, 1.0, 0.0]])
    b = jnp.array([[5.0, 0.0, 4.0], [3.0, 1.0, 2.0]])
    for k, want in ((1, 1), (2, 1 / 2), (3, 2 / 3), (4, 3 / 4), (6, 1)):
      np.testing.assert_allclose(
        metrics.top_k_overlap(a, b, k), want, rtol=1e-6
      )

  def test_random_maps_share_k_over_n(self):
    # Hypergeometric: mean k / n; 400 draws, within 4 standard errors.
    n, k, draws = 50, 10, 400
    maps = jax.random.normal(jax.random.key(0), (2, draws, n))
    got = jax.vmap(lambda a, b: metrics.top_k_overlap(a, b, k))(*maps)
    deviation = np.sqrt(k * (k / n) * (1 - k / n) * (n - k) / (n - 1)) / k
    self.assertLess(abs(np.mean(got) - k / n), 4 * deviation / np.sqrt(draws))

  @parameterized.parameters(0, 7)
  def test_bad_k(self, k):
    with self.assertRaisesRegex(ValueError, f'k must be .* got {k}'):
      metrics.top_k_overlap(jnp.ones(6), jnp.ones(6), k)

  @parameterized.parameters(False, True)
  def test_rank_correlation_is_spearmans(self, ties):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30, 20)).astype(np.float32)
    b += a
    if ties:
      a, b = np.round(a), np.round(b)
    want = stats.spearmanr(a.ravel(), b.ravel()).statistic
    np.testing.assert_allclose(
      metrics.rank_correlation(jnp.asarray(a), jnp.asarray(b)), want, atol=1e-5
    )

  def test_rank_correlation_where(self):
    rng = np.random.default_rng(1)
    a, b = np.round(rng.normal(size=(2, 30, 20)), 1).astype(np.float32)
    where = rng.random((30, 20)) < 0.4
    b = np.where(where, a + b, 9 * a)
    want = stats.spearmanr(a[where], b[where]).statistic
    got = metrics.rank_correlation(
      jnp.asarray(a), jnp.asarray(b), where=jnp.asarray(where)
    )
    np.testing.assert_allclose(got, want, atol=1e-5)

  def test_rank_correlation_of_large_maps_and_of_flat_ones(self):
    a = jnp.arange(150528.0)
    np.testing.assert_allclose(metrics.rank_correlation(a, a**2), 1, rtol=1e-5)
    np.testing.assert_allclose(metrics.rank_correlation(a, -a), -1, rtol=1e-5)
    self.assertTrue(np.isnan(metrics.rank_correlation(a, 0 * a)))

  def test_linear_correlation_is_pearsons(self):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30, 20)).astype(np.float32)
    b = 1e6 * (b + a)
    want = stats.pearsonr(a.ravel(), b.ravel()).statistic
    got = metrics.linear_correlation(jnp.asarray(a), jnp.asarray(b))
    np.testing.assert_allclose(got, want, atol=1e-5)
    # Of sizes whose squares leave the range, and of a constant.
    tiny = metrics.linear_correlation(jnp.asarray(1e-30 * a), jnp.asarray(b))
    np.testing.assert_allclose(tiny, want, atol=1e-5)
    flat = metrics.linear_correlation(jnp.full(7, 0.1), jnp.arange(7.0))
    self.assertTrue(np.isnan(flat))

  @parameterized.parameters(7, 5)
  def test_ssim_is_scikit_images(self, window):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=(2, 20, 15)).astype(np.float32)
    b = (a + 0.5 * b).astype(np.float32)
    want = skimage_metrics.structural_similarity(
      a, b, data_range=1.5, win_size=window
    )
    got = metrics.structural_similarity(
      jnp.asarray(a), jnp.asarray(b), data_range=1.5, window=window
    )
    np.testing.assert_allclose(got, want, atol=1e-5)

  def test_bad_maps(self):
    for measure in (metrics.rank_correlation, metrics.structural_similarity):
      with self.assertRaises(jaxtyping.TypeCheckError):
        measure(jnp.ones((9, 9)), jnp.ones((9, 8)))
    with self.assertRaises(jaxtyping.TypeCheckError):
      metrics.rank_correlation(
        jnp.ones((9, 9)), jnp.ones((9, 9)), where=jnp.ones((9, 8), bool)
      )
    with self.assertRaisesRegex(ValueError, 'window must be .* got 10'):
      metrics.structural_similarity(
        jnp.ones((9, 9)), jnp.ones((9, 9)), window=10
      )


if __name__ == '__main__':
  absltest.main()
