"""Tests for `serial.py`."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import serial


def _norm(a, b):
  return jnp.sqrt(jnp.sum(a * a) + b)


class InTurnTest(absltest.TestCase):
  def test_is_the_function_and_has_its_derivatives(self):
    a = jnp.arange(6.0).reshape(3, 2)
    b = jnp.array([1.0, 2.0, 3.0])
    alone = serial.in_turn(_norm)
    for make in (lambda f: f, jax.grad, jax.jacfwd):
      want = jax.vmap(make(_norm))(a, b)
      np.testing.assert_allclose(jax.vmap(make(alone))(a, b), want, rtol=1e-6)
      np.testing.assert_allclose(make(alone)(a[0], b[0]), want[0], rtol=1e-6)

  def test_goes_through_a_batch_in_turn_on_processors_alone(self):
    run = jax.jit(jax.vmap(serial.in_turn(_norm)))
    traced = run.trace(jnp.ones((5, 4)), jnp.ones(5))
    for platform, loops in (('cpu', 1), ('cuda', 0), ('tpu', 0)):
      text = traced.lower(lowering_platforms=(platform,)).as_text()
      self.assertEqual(text.count('stablehlo.while'), loops, platform)


if __name__ == '__main__':
  absltest.main()
