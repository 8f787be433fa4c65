"""Tests for `jaxprs.py`."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import jaxprs


class JaxprsTest(absltest.TestCase):
  def test_evaluates_every_kind_of_equation(self):
    weights = jnp.arange(6.0).reshape(2, 3)

    @jax.jit
    def inner(x):
      return jax.nn.relu(x) * x + 2.0  # The variable stands twice.

    def fn(x):
      y = jax.checkpoint(inner)(weights @ x)
      y = jax.lax.fori_loop(0, 3, lambda i, c: jnp.sin(c), y)
      return jnp.where(y > 0, y, -y), x  # An input is an output.

    x = jnp.array([1.0, -2.0, 3.0])
    got = jaxprs.evaluate(jax.make_jaxpr(fn)(x), x)
    for a, b in zip(got, fn(x), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-6)

  def test_keeps_custom_derivatives(self):
    @jax.custom_jvp
    def fn(x):
      return x

    fn.defjvp(lambda primals, tangents: (primals[0], 7.0 * tangents[0]))
    closed = jax.make_jaxpr(fn)(1.0)
    grad = jax.grad(lambda x: jaxprs.evaluate(closed, x)[0])(1.0)
    self.assertEqual(grad, 7)

  def test_rule_sees_each_equation(self):
    closed = jax.make_jaxpr(lambda x: jnp.sin(jnp.cos(x)))(1.0)

    def rule(eqn, *args):
      return [2 * y for y in jaxprs.bind(eqn, *args)]

    got = jaxprs.evaluate(closed, 1.0, rule=rule)[0]
    np.testing.assert_allclose(got, 2 * np.sin(2 * np.cos(1.0)), rtol=1e-6)

  def test_finds_what_is_wrapped(self):
    def kinds(fn):
      eqn = jax.make_jaxpr(fn)(1.0).jaxpr.eqns[-1]
      return jaxprs.wrapped(eqn) is not None, len(list(jaxprs.subjaxprs(eqn)))

    def branch(x):
      return jax.lax.cond(x > 0, jax.lax.sin, jax.lax.cos, x)

    self.assertEqual(kinds(jax.jit(jax.lax.sin)), (True, 1))
    self.assertEqual(kinds(jax.checkpoint(jax.lax.sin)), (True, 1))
    self.assertEqual(kinds(jax.lax.sin), (False, 0))
    self.assertEqual(kinds(branch), (False, 2))


if __name__ == '__main__':
  absltest.main()
