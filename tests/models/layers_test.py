"""Tests for `layers.py`: its activations."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import models
from saliency_jax.models import layers


class ActivationTest(parameterized.TestCase):
  def test_relu6_has_a_derivative_of_one_or_none(self):
    x = jnp.array([-1.0, 0.0, 3.0, 6.0, 7.0])
    np.testing.assert_array_equal(layers.relu6(x), [0, 0, 3, 6, 6])
    slope = jax.vmap(jax.grad(layers.relu6))(x)
    np.testing.assert_array_equal(slope, [0, 0, 1, 0, 0])

  @parameterized.parameters(1.0, 3.0, 30)
  def test_softplus_is_a_relu_but_near_its_kink(self, sharpness):
    smooth = models.softplus(sharpness)
    x = jnp.linspace(-8, 8, 101)
    gap = smooth(x) - jax.nn.relu(x)
    # Largest at the kink, where it is log 2 over the sharpness.
    np.testing.assert_allclose(gap.max(), np.log(2) / sharpness, rtol=1e-5)
    self.assertGreaterEqual(gap.min(), 0)
    # And a curvature of a quarter of the sharpness there.
    bend = jax.grad(jax.grad(smooth))(0.0)
    np.testing.assert_allclose(bend, sharpness / 4, rtol=1e-6)

  @parameterized.parameters(0, -1.0)
  def test_softplus_refuses(self, sharpness):
    with self.assertRaisesRegex(ValueError, f'positive, got {sharpness}'):
      models.softplus(sharpness)


if __name__ == '__main__':
  absltest.main()
