"""Tests for `selection.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import selection


class KthSmallestTest(parameterized.TestCase):
  @parameterized.parameters(jnp.float16, jnp.float32, jnp.float64)
  def test_is_that_of_a_sort(self, dtype):
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


if __name__ == '__main__':
  absltest.main()
