"""Tests for `selection.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import selection
from tests import equivalence


class CountTest(parameterized.TestCase):
  def test_is_the_ceiling_of_the_exact_product(self):
    for n in (1, 3, 784, 785, 1000, 150_528):
      for percent in (0, 1, 2, 5, 10, 20, 25, 33, 50, 70, 100):
        want = -(-percent * n // 100)  # In whole numbers.
        for share in (percent / 100, np.float32(percent / 100)):
          self.assertEqual(selection.count(share, n), want, (percent, n))
    self.assertEqual(selection.count(0.2, 785), 157)
    self.assertEqual(selection.count(jnp.float32(0.2), 785), 157)
    self.assertEqual(selection.count(1, 7), 7)
    self.assertIsInstance(selection.count(np.float32(0.2), 785), int)

  def test_traced(self):
    got = jax.jit(lambda s: selection.count(s, 785))(0.2)
    self.assertEqual((got, got.dtype), (157, jnp.int32))


class KthSmallestTest(parameterized.TestCase):
  @parameterized.parameters(jnp.float16, jnp.float32, jnp.float64)
  def test_is_that_of_a_sort(self, dtype):
    equivalence.skip_without(self, dtype)
    with jax.enable_x64(dtype == jnp.float64):
      values = jnp.abs(jax.random.normal(jax.random.key(0), (6, 7), dtype))
      # Ties, zeros, the smallest number there is, and the largest.
      values = values.at[0, :4].set(0.0).at[1].set(0.5)
      values = values.at[2, 0].set(jnp.finfo(dtype).smallest_subnormal)
      values = values.at[2, 1].set(jnp.finfo(dtype).max)
      ks = jnp.arange(43, dtype=jnp.int32)
      got = jax.vmap(lambda k: selection.kth_smallest(values, k))(ks)
      self.assertEqual(got.dtype, dtype)
      want = np.sort(np.asarray(values), axis=None)
      np.testing.assert_array_equal(got, np.concatenate([[0], want]))

  def test_numbers_of_any_spread(self):
    draw = np.random.default_rng(0).standard_normal
    n = 2000
    spread = np.abs(draw((8, n)))
    spread[1] **= 8
    spread[2] *= np.exp(3 * draw(n))
    spread[3] = np.round(3 * spread[3])
    spread[4] = 1.0
    spread[5, 0] = 1e30
    spread[5, 1:] *= 1e-30
    spread[6] = 2.0 ** np.minimum(np.arange(n) - 126, 127)
    spread[7] = np.where(np.arange(n) % 3, np.inf, 0)
    spread = spread.astype(np.float32)
    ks = np.array([1, 2, 3, 400, 1000, 1333, 1600, n - 1, n], np.int32)
    find = jax.jit(
      jax.vmap(jax.vmap(selection.kth_smallest, (None, 0)), (0, None))
    )
    got = find(spread, ks)
    np.testing.assert_array_equal(got, np.sort(spread)[:, ks - 1])

  def test_passes_no_gradient(self):
    values = jnp.arange(1.0, 7.0)
    found = lambda v: selection.kth_smallest(v, 3)
    value, grad = jax.value_and_grad(found)(values)
    self.assertEqual(value, 3)
    np.testing.assert_array_equal(grad, np.zeros(6))
    np.testing.assert_array_equal(jax.jacfwd(found)(values), np.zeros(6))

  @parameterized.parameters(jnp.float16, jnp.float32, jnp.float64)
  def test_of_each_place_is_that_of_a_sort(self, dtype):
    equivalence.skip_without(self, dtype)
    with jax.enable_x64(dtype == jnp.float64):
      values = jax.random.normal(jax.random.key(0), (9, 4, 5), dtype)
      # Ties, zeros of both signs, and what has no larger or smaller number.
      values = values.at[:4, 0].set(-0.5).at[:3, 1].set(0.0)
      values = values.at[3:5, 1].set(-0.0).at[0, 2].set(jnp.inf)
      values = values.at[1, 2].set(-jnp.inf).at[:, 3, 0].set(jnp.inf)
      values = values.at[2, 2].set(-jnp.finfo(dtype).smallest_subnormal)
      want = np.sort(np.asarray(values), axis=0)
      for k in range(1, 10):
        got = jax.jit(selection.kth_of_each)(values, k)
        self.assertEqual(got.dtype, dtype)
        np.testing.assert_array_equal(got, want[k - 1])


if __name__ == '__main__':
  absltest.main()
