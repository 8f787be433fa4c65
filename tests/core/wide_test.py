"""Tests for `wide.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import jaxprs
from saliency_jax.core import rounding
from saliency_jax.core import wide
from saliency_jax.models import convolutions

_X = jnp.array([[0.25, -0.25], [0.75, 0.5]])
_KERNEL = jax.random.normal(jax.random.key(0), (1, 2, 1, 3))


def _fn(x):
  """What names dtypes: a product, conversions, arrays made on the way."""
  h = jnp.where(x > 0, x, 0) + jnp.zeros_like(x)
  h = h @ jnp.asarray(np.arange(4.0).reshape(2, 2), jnp.float32)
  h = convolutions.conv(h[None, ..., None], _KERNEL, padding='VALID')
  steps = jnp.arange(3, dtype=jnp.float32)[None, None, None]
  return (h * steps + (h > 1).astype(jnp.float32)).astype(jnp.float32)


class WideTest(parameterized.TestCase):
  def test_is_the_function_of_the_same_parameters(self):
    closed = wide.equations(jax.jit(_fn), _X)
    with wide.precision():
      (got,) = jaxprs.evaluate(closed, _X.astype(jnp.float64))
      self.assertEqual(got.dtype, jnp.float64)
      got = np.asarray(got)
    h = np.maximum(np.asarray(_X, np.float64), 0) @ np.arange(4.0).reshape(2, 2)
    k = np.asarray(_KERNEL, np.float64)
    h = np.einsum('hw,wc->hc', h, k[0, :, 0])[None, :, None]
    np.testing.assert_allclose(got, h * np.arange(3.0) + (h > 1), rtol=1e-14)

  def test_runs_within_programs_of_float32(self):
    def sums(x):
      closed = wide.equations(lambda x: jnp.sum(x * x)[None], x)
      with wide.precision():
        (out,) = jaxprs.evaluate(closed, x.astype(jnp.float64))
        # As a wide number: float32 has no room for the last term.
        return (out - jnp.sum(x[:1].astype(jnp.float64) ** 2)).astype(x.dtype)

    xs = jnp.array([[2.0**15, 0.125], [2.0**15, 0.25]])
    want = (np.asarray(xs)[:, 1:] ** 2).astype(np.float32)
    np.testing.assert_array_equal(jax.jit(jax.vmap(sums))(xs), want)
    np.testing.assert_array_equal(sums(xs[1]), want[1])

  def test_narrows_outward(self):
    third = np.array([1 / 3, -1 / 3])
    with wide.precision():
      box = rounding.Interval(jnp.asarray(third), jnp.asarray(third))
      got = wide.outward(box, jnp.float32)
      self.assertEqual(got.low.dtype, jnp.float32)
      same = wide.outward(box, jnp.float64)
      np.testing.assert_array_equal(same.low, third)
    self.assertTrue(np.all(np.asarray(got.low, np.float64) < third))
    self.assertTrue(np.all(np.asarray(got.high, np.float64) > third))
    self.assertLess(np.max(got.high - got.low), 1e-6)


if __name__ == '__main__':
  absltest.main()
