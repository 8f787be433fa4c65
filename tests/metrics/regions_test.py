"""Tests for `regions.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import metrics


def _region(shape=(6, 5)):
  return jnp.zeros(shape).at[1:4, 2:4].set(1)  # 6 of 30.


class LocalizationTest(parameterized.TestCase):
  def test_all_inside_and_all_outside(self):
    region = _region()
    inside = metrics.localization(region[..., None], region)
    np.testing.assert_allclose(inside, [1, 1, 1])
    outside = metrics.localization(1 - region, region)
    np.testing.assert_allclose(outside, [0, 0, 0])

  def test_flat_map_has_the_part_of_the_region(self):
    # Ties: `hit` shares them, ranks break them at random.
    region = _region((12, 10))
    key = jax.random.key(0)
    got = metrics.localization(jnp.ones((12, 10)), region, key=key)
    np.testing.assert_allclose([got.mass, got.hit], 6 / 120, rtol=1e-6)
    keys = jax.random.split(jax.random.key(1), 400)
    rank = jax.vmap(
      lambda key: metrics.localization(jnp.ones((12, 10)), region, key=key).rank
    )(keys)
    # Hypergeometric: 6 of 120, 6 drawn.
    mean, var = 6 * 0.05, 6 * 0.05 * 0.95 * 114 / 119
    error = 4 * np.sqrt(var / 400)
    self.assertLess(abs(6 * np.mean(rank) - mean), error)

  def test_matches_loop(self):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(6, 5, 3)).astype(np.float32)
    region = np.asarray(_region())
    for by_size in (False, True):
      values = (np.abs(scores) if by_size else scores).sum(-1)
      positive = inside = 0.0
      for pixel, value in np.ndenumerate(values):
        positive += max(value, 0)
        inside += max(value, 0) * region[pixel]
      best = np.argsort(-values.ravel())[:6]
      got = jax.jit(metrics.localization, static_argnames='by_size')(
        jnp.asarray(scores), jnp.asarray(region), by_size=by_size
      )
      np.testing.assert_allclose(got.mass, inside / positive, rtol=1e-5)
      np.testing.assert_allclose(
        got.rank, region.ravel()[best].mean(), rtol=1e-5
      )
      np.testing.assert_allclose(got.hit, region.ravel()[best[0]])

  def test_negative_scores_are_nowhere(self):
    got = metrics.localization(-jnp.ones((6, 5)), _region())
    self.assertEqual(got.mass, 0)

  def test_no_answer(self):
    nothing = metrics.localization(jnp.ones((6, 5)), jnp.zeros((6, 5)))
    self.assertTrue(np.isnan(nothing).all())
    scores = jnp.ones((6, 5)).at[0, 0].set(jnp.inf)
    self.assertTrue(np.isnan(metrics.localization(scores, _region())).all())

  def test_columns_of_a_table(self):
    got = metrics.localization(
      jnp.array([3.0, -1.0, 1.0]), jnp.array([1.0, 0.0, 0.0])
    )
    np.testing.assert_allclose(got, [0.75, 1, 1])

  def test_bad_shape(self):
    with self.assertRaisesRegex(ValueError, r'\(6, 4\) do not fit .* \(6, 5\)'):
      metrics.localization(jnp.ones((6, 4)), _region())


if __name__ == '__main__':
  absltest.main()
