"""Tests for `regions.py`."""

from absl.testing import absltest
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import regions
from saliency_jax.core import tapes


def _fn(x):
  scale = jnp.exp(jnp.arange(3.0))  # Constant.
  h = jax.nn.relu(x * scale)
  skip = x[::-1] + h
  return jnp.concatenate([2 * skip - 1, h @ jnp.ones((3, 2))]) / 3


class RegionsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.x = jnp.array([0.5, -1.0, 2.0])
    self.tape = tapes.record(_fn, self.x)
    (self.out,) = self.tape.closed.jaxpr.outvars
    self.region = regions.region(self.tape, self.out)

  def _evaluate(self, points):
    constants = tapes.read(self.tape, self.region.constants)
    return jaxprs.evaluate(self.region.closed, *points, *constants)[0]

  def test_is_the_value_of_its_basis(self):
    points = tapes.read(self.tape, self.region.basis)
    np.testing.assert_allclose(self._evaluate(points), _fn(self.x), rtol=1e-6)

  def test_goes_back_to_what_is_not_affine(self):
    (x,) = self.tape.closed.jaxpr.invars
    relu = [e for e, _ in jaxprs.walk(self.tape.closed.jaxpr)
            if e.primitive.name == 'max']  # fmt: skip
    self.assertEqual(self.region.basis, [x, relu[0].outvars[0]])

  def test_is_affine(self):
    points = tapes.read(self.tape, self.region.basis)
    shift = [jnp.cos(p) for p in points]
    along = lambda t: self._evaluate(
      [p + t * s for p, s in zip(points, shift, strict=True)]
    )
    np.testing.assert_allclose(
      along(2.0) - along(0.0), 2 * (along(1.0) - along(0.0)), rtol=1e-5
    )

  def test_of_what_is_not_affine_is_itself(self):
    tape = tapes.record(jnp.tanh, self.x)
    (out,) = tape.closed.jaxpr.outvars
    region = regions.region(tape, out)
    self.assertEqual(region.basis, [out])
    self.assertEqual(jaxprs.evaluate(region.closed, 3.0), [3.0])


def _normalised(x):
  """Convolution, batch norm and bias; a skip that is read twice; a gate."""
  kernel = jax.random.normal(jax.random.key(1), (3, 3, 1, 2))
  h = x.reshape(1, 4, 4, 1)
  h = jax.lax.conv_general_dilated(
    h, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )
  mean, scale = jnp.array([[[[0.1, 0.2]]], [[[2.0, -1.0]]]])[:, None]
  skip = jax.nn.relu((h - mean) * jax.lax.rsqrt(scale**2 + 1e-3) * scale + 0.3)
  skip = checkpoint_name(skip, 'skip')
  h = (skip @ jnp.ones((2, 2)) + 1.0).reshape(-1, 2) + skip.reshape(-1, 2)
  return jnp.sum(jax.nn.silu(h)) / 32


class MergeTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.x = jax.random.normal(jax.random.key(0), (16,))
    self.tape = regions.merge(tapes.record(_normalised, self.x, keep=('silu',)))

  def test_is_the_same_function(self):
    (out,) = self.tape.closed.jaxpr.outvars
    got = self.tape.values[out]
    np.testing.assert_allclose(got, _normalised(self.x), rtol=1e-6)

  def test_neighbours_are_one(self):
    names = [
      primitives.name(eqn)
      for eqn in self.tape.closed.jaxpr.eqns
      if any(tapes.equation(self.tape, eqn).moving)
    ]
    want = ['affine', 'max', 'name', 'affine', 'silu', 'affine']
    self.assertEqual(names, want)

  def test_names_stay(self):
    fn = lambda x: 2 * checkpoint_name(3 * x + 1, 'h') - 1
    tape = regions.merge(tapes.record(fn, self.x))
    self.assertLen(tape.closed.jaxpr.eqns, 3)
    h = tape.values[tapes.named(tape, 'h')]
    np.testing.assert_allclose(h, 3 * self.x + 1, rtol=1e-6)

  def test_gradient_is_the_same(self):
    table = {**tapes.GRADIENT, 'affine': tapes.vjp, 'silu': tapes.vjp}
    rule = tapes.by_table(table, 'gradients')
    (got,) = tapes.backward(self.tape, jnp.ones(()), rule)
    want = jax.grad(_normalised)(self.x)
    np.testing.assert_allclose(got, want, atol=1e-6 * np.max(np.abs(want)))

  def test_names_the_line_of_its_last_part(self):
    rule = tapes.by_table(tapes.GRADIENT, 'gradients')
    with self.assertRaisesRegex(ValueError, "'affine' .* at .*regions_test.py"):
      tapes.backward(self.tape, jnp.ones(()), rule)


if __name__ == '__main__':
  absltest.main()
