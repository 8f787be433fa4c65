"""Tests for `draws.py`."""

import functools

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.perturbations import draws


class DrawsTest(absltest.TestCase):
  def test_rows_of_orthogonal_matrices(self):
    like = jnp.zeros((4, 3, 2))
    draw = lambda i: draws.orthogonal(jax.random.key(0), i, like)
    rows = np.asarray(jax.vmap(draw)(jnp.arange(240))).reshape(10, 24, 24)
    for block in rows:
      np.testing.assert_allclose(block @ block.T, 24 * np.eye(24), atol=1e-4)
    np.testing.assert_allclose(draw(37).ravel(), rows[1, 13], atol=1e-5)
    # Over the keys each number is symmetric, and nearly normal.
    numbers = jax.vmap(
      lambda seed: draws.orthogonal(jax.random.key(seed), 5, like)
    )(jnp.arange(3000))
    numbers = np.asarray(numbers)
    z = numbers.mean(0) / numbers.std(0) * np.sqrt(3000)
    self.assertLess(np.max(np.abs(z)), 4.5)
    kurtosis = np.mean(numbers**4) / np.mean(numbers**2) ** 2
    self.assertAlmostEqual(kurtosis, 3, delta=0.3)

  def test_orthogonal_on_any_number_of_axes(self):
    for shape in ((6, 2), (2, 3, 2, 2), (8, 1)):
      like = jnp.zeros(shape)
      draw = lambda i, like=like: draws.orthogonal(jax.random.key(1), i, like)
      rows = jax.vmap(draw)(jnp.arange(like.size)).reshape(like.size, -1)
      rows = np.asarray(rows)
      np.testing.assert_allclose(
        rows @ rows.T, like.size * np.eye(like.size), atol=1e-4
      )

  def test_block_size(self):
    like = jnp.zeros((4, 3, 2))
    self.assertEqual(draws.block_size(draws.gaussian, like), 1)
    self.assertEqual(draws.block_size(draws.orthogonal, like), 24)
    bound = functools.partial(functools.partial(draws.orthogonal))
    self.assertEqual(draws.block_size(bound, like), 24)
    self.assertTrue(draws.is_balanced(bound))
    self.assertFalse(draws.is_balanced(draws.gaussian))
    mine = draws.in_blocks(lambda like: 7)(lambda key, i, like: like)
    self.assertFalse(draws.is_balanced(mine))
    self.assertEqual(draws.block_size(mine, like), 7)

  def test_num_blocks(self):
    self.assertEqual(draws.num_blocks(3136, 784, 2), 2)
    self.assertEqual(draws.num_blocks(500, 1, 1), 500)
    for few, more in ((1568, 3136), (3137, 3136), (4000, 4704), (1, 3136)):
      with self.assertRaisesRegex(ValueError, f'got {few}: take {more}, or'):
        draws.num_blocks(few, 784, 2)
    # Nobody's number is rounded up, to two blocks at least.
    for size, signs, num in ((784, 2, 2), (10, 2, 157), (12, 1, 262)):
      self.assertEqual(draws.num_blocks(None, size, signs), num)
    self.assertEqual(draws.num_blocks(None, 4096, 2), 2)
    with self.assertRaisesRegex(ValueError, 'num_samples must be a whole'):
      draws.num_blocks(-2, 1, 1)


if __name__ == '__main__':
  absltest.main()
