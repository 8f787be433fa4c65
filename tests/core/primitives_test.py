"""Tests for `primitives.py`."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.extend.core import Primitive
from jax.interpreters import ad
from jax.interpreters import batching
from jax.interpreters import mlir
import jax.numpy as jnp
import numpy as np

from saliency_jax import scores
from saliency_jax.core import intervals
from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.core import units


def _last(fn, *args):
  return jax.make_jaxpr(fn)(*args).jaxpr.eqns[-1]


def _made(name):
  """Returns a primitive of two operands that multiplies them."""
  primitive = Primitive(name)
  primitive.def_impl(lambda a, b: a * b)
  primitive.def_abstract_eval(
    lambda a, b: jax.core.ShapedArray(a.shape, a.dtype)
  )
  mlir.register_lowering(
    primitive, mlir.lower_fun(lambda a, b: a * b, multiple_results=False)
  )
  ad.defbilinear(
    primitive, lambda r, a, b: r * b, lambda r, a, b: primitive.bind(r, a)
  )
  batching.defbroadcasting(primitive)
  return primitive.bind


_X = jnp.array([0.5, -1.0, 2.0])


class PrimitivesTest(parameterized.TestCase):
  @parameterized.parameters(
    (lambda x, y: x * y, (True, True), primitives.PRODUCTS),
    (lambda x, y: x * y, (True, False), primitives.SUMS),
    (lambda x, y: x @ y, (False, True), primitives.SUMS),
    (lambda x, y: x / y, (True, False), primitives.SUMS),
    (lambda x, y: x / y, (False, True), primitives.QUOTIENTS),
    (lambda x, y: x - y, (True, True), primitives.SUMS),
    (lambda x, y: jnp.maximum(x, y), (True, True), primitives.INCREASING),
    (lambda x, y: jnp.tanh(x), (True,), primitives.ELEMENTARY),
    (lambda x, y: x > y, (True, True), primitives.STEPS),
    (lambda x, y: jax.lax.select(x > 0, x, y), (False, True, True), 'moves'),
    (lambda x, y: jax.lax.select(x > 0, x, y), (True, True, True), None),
    (lambda x, y: jnp.sort(x), (True,), primitives.CALLS),
    (lambda x, y: jax.lax.sort(x), (True,), None),
  )
  def test_role_depends_on_what_moves(self, fn, moving, role):
    equation = primitives.Equation(_last(fn, _X, _X), moving)
    self.assertEqual(primitives.role(equation), role)
    self.assertEqual(
      primitives.is_affine(equation), role in ('moves', primitives.SUMS)
    )

  def test_whole_numbers_are_not_affine(self):
    for fn in (lambda x: x.astype(int), lambda x: x[::-1].astype(jnp.int32)):
      equation = primitives.Equation(_last(fn, _X), (True,))
      self.assertFalse(primitives.is_affine(equation))

  def test_name_comes_before_role(self):
    table = {'tanh': 1, primitives.ELEMENTARY: 2}
    for fn, want in ((jnp.tanh, 1), (jnp.exp, 2)):
      equation = primitives.Equation(_last(fn, _X), (True,))
      self.assertEqual(primitives.rule(table, equation, 'these'), want)
    equation = primitives.Equation(_last(jax.nn.silu, _X), (True,))
    self.assertEqual(primitives.rule({'silu': 3}, equation, 'these'), 3)

  def test_unknown_is_named_with_its_line(self):
    eqn = _last(lambda x: jnp.tanh(x), _X)
    equation = primitives.Equation(eqn, (True,))
    with self.assertRaisesRegex(
      ValueError,
      r"these have no rule for the primitive 'tanh' \(elementary\) at "
      r".*primitives_test.py:\d+.*: use a method of .* one under 'tanh'",
    ):
      primitives.rule({}, equation, 'these')

  def test_users_primitive(self):
    self.enterContext(mock.patch.dict(primitives._FACTS))
    bind = _made('my_product')
    fn = lambda x: jnp.sum(bind(jnp.tanh(x), jnp.array([1.0, -2.0, 3.0])))
    box = intervals.around(_X, 0.1)
    with self.assertRaisesRegex(
      ValueError,
      r"'my_product' \(unknown\).*core.primitives.register.*'quotients'",
    ):
      intervals.bounds(fn, box)
    with self.assertRaisesRegex(ValueError, "'sums', .* got 'linear'"):
      primitives.register('my_product', 'linear')
    primitives.register('my_product', primitives.PRODUCTS)
    found = intervals.bounds(fn, box)
    want = intervals.bounds(
      lambda x: jnp.sum(jnp.tanh(x) * jnp.array([1.0, -2.0, 3.0])), box
    )
    np.testing.assert_allclose(found.low, want.low, rtol=1e-5)
    np.testing.assert_allclose(found.high, want.high, rtol=1e-5)
    tape = tapes.record(fn, _X)
    rule = tapes.by_table(tapes.GRADIENT, 'gradients')
    (got,) = tapes.backward(tape, jnp.ones(()), rule)
    np.testing.assert_allclose(got, jax.grad(fn)(_X), rtol=1e-6)

  def test_registered_names_are_jaxs(self):
    # A misspelt name would never match.
    known = {
      getattr(jax.extend.core.primitives, name).name
      for name in dir(jax.extend.core.primitives)
      if name.endswith('_p')
    }
    seen = {
      eqn.primitive.name
      for fn in (
        lambda x: jax.checkpoint(jnp.sin)(x),
        lambda x: jax.ad_checkpoint.checkpoint_name(x, 'x'),
        jax.lax.stop_gradient,
        jax.lax.optimization_barrier,
        lambda x: jnp.stack([x, x]),
        lambda x: jnp.unstack(x)[0],
        lambda x: jnp.split(x, [1])[0],
      )
      for eqn in jaxprs.equations(jax.make_jaxpr(fn)(_X).jaxpr)
    }
    kinds = [k for k in vars(primitives).values() if isinstance(k, str)]
    names = {
      name
      for name in primitives.of_kind(*kinds)
      if not name.startswith(('dense_conv_', 'depthwise_conv_', 'my_'))
      and name not in (units.ACTIVATION, units.AFFINE)
    }
    # Some versions of JAX have these calls, or have them by these names.
    others = {'checkpoint', 'closed_call'}
    self.assertEqual(names - known - seen - others, set())

  def test_a_black_box_is_told(self):
    black_box = scores.from_host(lambda xs: xs.sum(-1), ())
    with self.assertRaisesRegex(ValueError, 'cannot look into a black box'):
      intervals.bounds(black_box, intervals.around(_X, jnp.ones_like(_X)))


if __name__ == '__main__':
  absltest.main()
