"""Tests for `reliability.py`, against numpy."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.perturbations import reliability


class ReliabilityTest(parameterized.TestCase):
  def test_correlation(self):
    a, b = jax.random.normal(jax.random.key(0), (2, 3, 4))
    want = np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]
    np.testing.assert_allclose(reliability.correlation(a, b), want, rtol=1e-5)
    constant = jnp.ones((3, 4))
    self.assertEqual(reliability.correlation(a, constant), 0)

  def test_explained_is_the_fall_of_the_error_on_the_other_half(self):
    rng = np.random.default_rng(1)
    z = rng.normal(size=(2, 4000, 3))
    d = z @ np.array([1.0, -2.0, 0.5]) + rng.normal(size=(2, 4000))
    cov = np.einsum('hni,hnj->ij', z, z) / 8000
    halves = [np.linalg.solve(cov, z[h].T @ d[h] / 4000) for h in (0, 1)]
    errors = [np.mean((d[1 - h] - z[1 - h] @ halves[h]) ** 2) for h in (0, 1)]
    want = 1 - np.mean(errors) / np.mean(d**2)
    got = reliability.explained(
      *(jnp.asarray(g, jnp.float32) for g in halves),
      lambda g: jnp.asarray(cov, jnp.float32) @ g,
      jnp.float32(np.mean(d**2)),
    )
    np.testing.assert_allclose(got, want, atol=0.01)
    self.assertEqual(
      reliability.explained(jnp.ones(3), jnp.ones(3), abs, jnp.float32(0)), 0
    )

  @parameterized.parameters(2, 5)
  def test_halves(self, num_blocks):
    means = np.random.default_rng(0).normal(size=(num_blocks, 3))
    sign = reliability.half(jnp.arange(num_blocks), num_blocks)
    got = reliability.halves(
      jnp.float32(means.mean(0)),
      jnp.float32((sign[:, None] * means).mean(0)),
      num_blocks,
    )
    first = -(-num_blocks // 2)
    for half, want in zip(got, (means[:first], means[first:]), strict=True):
      np.testing.assert_allclose(half, want.mean(0), rtol=1e-5)

  @parameterized.parameters(
    (2.0, 6.0, 2, 2.0), (2.0, 6.0, 1, 1.0), (0.0, 0.0, 2, 1.0)
  )
  def test_reduction(self, variance, lost, num_signs, want):
    got = reliability.reduction(
      jnp.float32(variance), jnp.float32(lost), num_signs
    )
    self.assertEqual(got, want)


if __name__ == '__main__':
  absltest.main()
