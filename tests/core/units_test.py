"""Tests for `units.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.core import units

_X = jnp.array([[0.5, -1.0, 2.0], [0.1, 0.4, -0.3]])


def _units(fn, *transforms, x=_X):
  """Returns the tape of a function, and its equations by name."""
  tape = tapes.record(fn, x)
  for transform in transforms:
    tape = transform(tape)
  return tape, [eqn.primitive.name for eqn in tape.closed.jaxpr.eqns]


class UnitsTest(parameterized.TestCase):
  def _check_values(self, tape):
    """Checks that each unit is a function of what it reads, and of no more."""
    for eqn in tape.closed.jaxpr.eqns:
      if 'jaxpr' in eqn.params:
        inputs = tapes.read(tape, eqn.invars)
        got = jaxprs.evaluate(eqn.params['jaxpr'], *inputs)
        (want,) = tapes.read(tape, eqn.outvars)
        np.testing.assert_allclose(got[0], want, rtol=1e-6)

  @parameterized.parameters(
    jax.nn.silu,
    jax.nn.gelu,
    jax.nn.softplus,
    jax.nn.leaky_relu,
    jax.nn.elu,
    lambda x: jnp.where(x > 0, x, 0),
    lambda x: x * jax.lax.stop_gradient(jnp.tanh(x)),
    lambda x: x + jnp.abs(2 * x - 1),
  )
  def test_activations(self, fn):
    tape, names = _units(lambda x: fn(3 * x), units.activations)
    self._check_values(tape)
    last = [n for n in names if n != 'copy'][-1]
    self.assertEqual(last, units.ACTIVATION)
    eqn = tape.closed.jaxpr.eqns[names.index(units.ACTIVATION)]
    # The factor before it is no part of it.
    moved = [v for v in eqn.invars if v in tape.moving]
    self.assertEqual(moved, tape.closed.jaxpr.eqns[0].outvars)

  @parameterized.parameters(
    lambda x: x + 2 * x - 1,
    lambda x: jnp.tanh(x),
    lambda x: x * jnp.sum(x),
    lambda x: x * jax.nn.sigmoid(x[::-1]),
    lambda x: jnp.maximum(x[:, 1:], x[:, :-1]),
  )
  def test_no_activations(self, fn):
    _, names = _units(fn, units.activations)
    self.assertNotIn(units.ACTIVATION, names)

  @parameterized.parameters(
    jax.nn.softmax,
    lambda x: jnp.exp(x) / jnp.sum(jnp.exp(x), -1, keepdims=True),
    lambda x: (lambda e: e / jnp.sum(e, -1, keepdims=True))(
      jnp.exp(x - jnp.max(x, -1, keepdims=True))
    ),
  )
  def test_softmaxes(self, fn):
    tape, names = _units(lambda x: fn(2 * x), units.softmaxes)
    self._check_values(tape)
    eqn = tape.closed.jaxpr.eqns[names.index(units.SOFTMAX)]
    self.assertEqual(eqn.invars, tape.closed.jaxpr.eqns[0].outvars)

  def test_other_quotients_are_no_softmax(self):
    fn = lambda x: jnp.exp(x) / jnp.sum(jnp.exp(x) ** 2)
    self.assertNotIn(units.SOFTMAX, _units(fn, units.softmaxes)[1])

  def test_affine(self):
    w, s = jnp.ones((3, 4)), jnp.arange(1.0, 5.0)[None]

    def fn(x):
      h = ((x - 0.5) @ w) / s - s
      return checkpoint_name(jnp.sum(h), 'total') * 2

    tape, names = _units(fn, units.affine)
    self._check_values(tape)
    # The sum mixes entries, as the product does; what is named stays.
    self.assertEqual(names, ['affine', 'affine', 'name', 'affine'])
    equations = [tapes.equation(tape, e) for e in tape.closed.jaxpr.eqns]
    mains = [units.main(e).eqn.primitive.name for e in equations]
    self.assertEqual(mains, ['dot_general', 'reduce_sum', 'name', 'mul'])
    inputs = tapes.read(tape, equations[0].eqn.invars)
    for modify in (lambda c: c, jnp.abs, jnp.square, jnp.ones_like):
      got = units.linear(equations[0], inputs, modify)(_X)
      np.testing.assert_allclose(got, _X @ (modify(w) / modify(s)), rtol=1e-6)
    _, names = _units(fn, lambda tape: units.affine(tape, merge=False))
    self.assertEqual(names.count('affine'), 6)

  def test_shared_values_are_not_merged(self):
    fn = lambda x: (lambda h: jnp.tanh(2 * h) + jnp.sin(3 * h))(x + 1)
    _, names = _units(fn, units.affine)
    self.assertEqual(names.count('affine'), 4)

  def test_coefficients_of_differences(self):
    fn = lambda x: (1 - x) - x[::-1]
    tape, names = _units(fn, units.affine)
    equation = tapes.equation(tape, tape.closed.jaxpr.eqns[-1])
    self.assertEqual(primitives.role(equation), primitives.SUMS)
    inputs = tapes.read(tape, equation.eqn.invars)
    self.assertEqual(names.count('affine'), 2)
    got = units.linear(equation, inputs, jnp.abs)(_X, 2 * _X)
    np.testing.assert_allclose(got, 3 * _X, rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
