"""Tests for `regions.py`."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import jaxprs
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


if __name__ == '__main__':
  absltest.main()
