"""Tests for `completeness.py`."""

from absl.testing import absltest
import jax.numpy as jnp

from saliency_jax.core import completeness


class CompletenessTest(absltest.TestCase):
  def test_errors(self):
    total = completeness.total({'a': jnp.ones((2, 3)), 'b': (jnp.array(-4.0),)})
    self.assertEqual(total, 2)
    error, relative = completeness.errors(
      total, jnp.array(1.0), jnp.array(-3.0)
    )
    self.assertEqual((error, relative), (2, 0.5))

  def test_nothing_of_nothing_is_complete(self):
    zero = jnp.zeros(())
    self.assertEqual(completeness.errors(zero, zero, zero), (0, 0))
    self.assertEqual(completeness.errors(zero + 1, zero, zero)[1], jnp.inf)


if __name__ == '__main__':
  absltest.main()
