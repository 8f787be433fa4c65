"""Tests for `examples.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import examples


class ExamplesTest(parameterized.TestCase):
  @parameterized.parameters(
    (np.float64, jnp.float32),
    (np.float32, jnp.float32),
    (np.uint8, jnp.uint8),
    (jnp.bfloat16, jnp.bfloat16),
  )
  def test_arrays(self, dtype, want):
    got = examples.arrays({'a': np.ones((2, 3), dtype)})['a']
    self.assertIsInstance(got, jax.Array)
    self.assertEqual(got.dtype, want)

  def test_keeps_float64_where_it_is_on(self):
    with jax.enable_x64(True):
      self.assertEqual(examples.floats(np.ones(2)).dtype, jnp.float64)

  @parameterized.parameters(
    (np.ones(2, complex), 'complex'),
    (np.array(['a', 'b']), 'numbers'),
    (np.array([None]), 'numbers'),
  )
  def test_refuses_what_is_no_number(self, x, why):
    with self.assertRaisesRegex(ValueError, why):
      examples.arrays(x)

  def test_floats_name_the_cast(self):
    with self.assertRaisesRegex(ValueError, 'got uint8: cast it'):
      examples.floats(np.ones(2, np.uint8))

  def test_traced_examples_pass(self):
    jax.jit(examples.floats)(jnp.ones(2))

  def test_result_dtype(self):
    pair = (jnp.ones(1, jnp.bfloat16), jnp.ones(1, jnp.int32))
    self.assertEqual(examples.result_dtype(pair), jnp.bfloat16)
    self.assertEqual(examples.result_dtype(pair[1]), jnp.float32)

  def test_accumulator(self):
    self.assertEqual(examples.accumulator(jnp.bfloat16), jnp.float32)
    self.assertEqual(examples.accumulator(jnp.int32), jnp.float32)
    self.assertEqual(examples.accumulator(jnp.float32), jnp.float32)


if __name__ == '__main__':
  absltest.main()
