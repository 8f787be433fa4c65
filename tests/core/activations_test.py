"""Tests for `activations.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp

from saliency_jax.core import activations
from saliency_jax.core import units
from saliency_jax.core import wide

_X = jnp.linspace(-2.0, 3.0, 6).reshape(2, 3)
_SLOPES = jnp.array([0.1, 0.2, 0.3])


def recognise(fn, x=_X):
  """Returns the equations of a function, and the curves that were found."""
  closed = wide.equations(fn, x)
  with wide.precision():
    closed, curves = activations.recognised(closed, x.dtype)
  return closed.jaxpr.eqns, curves


class ActivationsTest(parameterized.TestCase):
  @parameterized.parameters(
    jax.nn.softplus,
    jax.nn.silu,
    jax.nn.gelu,
    functools.partial(jax.nn.gelu, approximate=False),
    jax.nn.mish,
    jax.nn.elu,
    functools.partial(jax.nn.elu, alpha=0.3),
    jax.nn.leaky_relu,
    jax.nn.hard_tanh,
    jax.nn.hard_silu,
    lambda x: jax.nn.celu(x, 1.0),
    # However it is written.
    lambda x: jnp.where(x > 0, x, 0),
    lambda x: jnp.where(x < 0, 0, x),
    lambda x: x * (x > 0).astype(x.dtype),
    lambda x: jax.nn.sigmoid(x) * x,
    lambda x: x * jax.nn.sigmoid(x * 1.702),
    lambda x: jnp.where(x >= 0, x, _SLOPES[None] * x),
    lambda x: jnp.maximum(0.2 * x, x),
  )
  def test_known(self, fn):
    # The scalings around it are no part of it.
    eqns, curves = recognise(lambda x: 2 * fn(3 * x))
    found = [eqn for eqn in eqns if eqn.outvars[0] in curves]
    made = {v for eqn in eqns for v in eqn.outvars}
    last = eqns[-1]
    while last.primitive.name in ('copy', 'mul'):
      last = next(e for e in eqns if e.outvars[0] in last.invars)
    self.assertIn(last, found)
    self.assertEqual(last.primitive.name, units.ACTIVATION)
    self.assertTrue(made)

  @parameterized.parameters(
    lambda x: x * jnp.tanh(x),
    lambda x: x + jnp.maximum(x, 0),
    lambda x: x * jax.nn.sigmoid(x[::-1]),
    # The slope on the left is no constant.
    lambda x: jnp.where(x >= 0, x, x[::-1] * x),
    lambda x: jnp.where(x >= 1, x, 0.1 * x),
    lambda x: 0.5 * x * (1 + jnp.tanh(0.8 * (x + 0.05 * x**3))),
    # What constant it is decides the curve, and this one is not told.
    lambda x: jax.nn.elu(x, _SLOPES[None]),
  )
  def test_unknown_is_left_alone(self, fn):
    eqns, curves = recognise(fn)
    self.assertEmpty(curves)
    self.assertNotIn(units.ACTIVATION, [e.primitive.name for e in eqns])

  def test_softmax(self):
    eqns, curves = recognise(lambda x: jax.nn.softmax(3 * x))
    self.assertEmpty(curves)
    self.assertEqual([e.primitive.name for e in eqns].count(units.SOFTMAX), 1)


if __name__ == '__main__':
  absltest.main()
