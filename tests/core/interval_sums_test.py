"""Tests for `interval_sums.py`: each rule against every corner of a box."""

import itertools

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import interval_sums
from saliency_jax.core import primitives
from saliency_jax.core import rounding

_LOW = np.float32([-0.5, 0.25, -1.0, 0.0])
_HIGH = np.float32([0.25, 0.75, -0.5, 2.0])
_MATRIX = np.float32([[1, -2, 3, 0.5], [0, 1, -1, 4], [-3, 0.25, 2, -1]])


def equation(fn, *args, moving=None):
  """Returns the one equation that a function is."""
  (eqn,) = jax.make_jaxpr(fn)(*args).jaxpr.eqns
  return primitives.Equation(eqn, moving or (True,) * len(args))


def _box(low, high):
  return rounding.Interval(jnp.asarray(low), jnp.asarray(high))


def _point(a):
  return _box(a, a)


def corners(low, high):
  """Returns every corner of a box, in float64."""
  ends = np.stack([low, high], -1).reshape(-1, 2).astype(np.float64)
  return np.array([*itertools.product(*ends)]).reshape(-1, *low.shape)


class IntervalSumsTest(parameterized.TestCase):
  def test_ends_of_what_is_increasing(self):
    pair = equation(lax.max, _LOW, _LOW)
    (got,) = interval_sums.ends(
      pair, _box(_LOW, _HIGH), _box(_LOW[::-1], _HIGH[::-1])
    )
    np.testing.assert_array_equal(got.low, np.maximum(_LOW, _LOW[::-1]))
    np.testing.assert_array_equal(got.high, np.maximum(_HIGH, _HIGH[::-1]))

  @parameterized.parameters(True, False)
  def test_a_product_with_a_constant(self, first):
    if first:
      fn = lambda w, x: lax.dot_general(w, x, (((1,), (0,)), ((), ())))
      pair = equation(fn, _MATRIX, _LOW, moving=(False, True))
      boxes = _point(_MATRIX), _box(_LOW, _HIGH)
    else:
      fn = lambda x, w: lax.dot_general(x, w, (((0,), (1,)), ((), ())))
      pair = equation(fn, _LOW, _MATRIX, moving=(True, False))
      boxes = _box(_LOW, _HIGH), _point(_MATRIX)
    (got,) = interval_sums.weighted(pair, *boxes)
    values = corners(_LOW, _HIGH) @ _MATRIX.T.astype(np.float64)
    self.assertTrue(np.all(got.low <= values.min(0)))
    self.assertTrue(np.all(got.high >= values.max(0)))
    # The exact range but for rounding.
    np.testing.assert_allclose(got.low, values.min(0), atol=2e-5)
    np.testing.assert_allclose(got.high, values.max(0), atol=2e-5)

  def test_a_sum(self):
    pair = equation(lambda x: lax.reduce_sum_p.bind(x, axes=(0,)), _LOW)
    (got,) = interval_sums.weighted(pair, _box(_LOW, _HIGH))
    for end, sums in ((got.low, _LOW), (got.high, _HIGH)):
      np.testing.assert_allclose(end, sums.sum(), atol=1e-5)
    self.assertLess(got.low, _LOW.astype(np.float64).sum())
    self.assertGreater(got.high, _HIGH.astype(np.float64).sum())

  def test_products_of_what_moves(self):
    fn = lambda x, y: lax.dot_general(x, y, (((0,), (0,)), ((), ())))
    low, high = _LOW[::-1].copy(), _HIGH[::-1].copy()
    (got,) = interval_sums.products(
      equation(fn, _LOW, low), _box(_LOW, _HIGH), _box(low, high)
    )
    values = np.einsum('ai,bi->ab', corners(_LOW, _HIGH), corners(low, high))
    self.assertLessEqual(got.low, values.min())
    self.assertGreaterEqual(got.high, values.max())
    # By middles and radii: no wider than all the terms of `m m -+ ...` say.
    m, r = (_LOW + _HIGH) / 2, (_HIGH - _LOW) / 2
    n, s = m[::-1], r[::-1]
    spread = np.abs(m) @ s + r @ np.abs(n) + r @ s
    np.testing.assert_allclose(got.low, m @ n - spread, atol=1e-4)
    np.testing.assert_allclose(got.high, m @ n + spread, atol=1e-4)

  def test_precise_asks_for_all_of_the_precision(self):
    (eqn, _) = equation(
      lambda a, b: lax.dot(a, b, precision='default'), _MATRIX, _LOW
    )
    text = str(jax.make_jaxpr(interval_sums.precise, 0)(eqn, _MATRIX, _LOW))
    self.assertIn('HIGHEST', text)
    (got,) = interval_sums.precise(eqn, _MATRIX, _LOW)
    np.testing.assert_allclose(got, _MATRIX @ _LOW, rtol=1e-6)

  @parameterized.parameters(
    (lax.neg, lambda a: np.abs(a)),
    (lax.sub, lambda a, b: np.abs(a) + np.abs(b)),
    (lax.add, lambda a, b: np.abs(a) + np.abs(b)),
    (lambda a, b: a * b, lambda a, b: np.abs(a) * np.abs(b)),
  )
  def test_sizes(self, fn, want):
    args = (_LOW, _HIGH)[: want.__code__.co_argcount]
    (eqn, _) = equation(fn, *args)
    (got,) = interval_sums.sizes(eqn, *map(jnp.asarray, args))
    np.testing.assert_allclose(got, want(*args), rtol=1e-7)


if __name__ == '__main__':
  absltest.main()
