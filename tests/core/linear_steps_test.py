"""Tests for `linear_steps.py`."""

from absl.testing import absltest
from jax import lax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import linear_steps
from saliency_jax.core import relaxations
from saliency_jax.core import rounding
from tests.core import interval_sums_test

_equation = interval_sums_test.equation
_LOW = jnp.array([-0.5, 0.25, -1.0])
_HIGH = jnp.array([0.25, 0.75, -0.5])
_BOX = rounding.Interval(_LOW, _HIGH)
_NONE = linear_steps.Settings({}, {})
_ROWS = jnp.array([[1.0, -2.0, 0.0], [0.0, 3.0, -1.0]])


class LinearStepsTest(absltest.TestCase):
  def test_magnitude(self):
    np.testing.assert_array_equal(linear_steps.magnitude(_BOX), [0.5, 0.75, 1])
    np.testing.assert_array_equal(linear_steps.magnitude(-_HIGH), abs(_HIGH))

  def test_nothing_comes_of_no_coefficient(self):
    values = jnp.array([2.0, 1.0, jnp.inf])
    np.testing.assert_array_equal(linear_steps.dot(_ROWS, values), [0, -np.inf])

  def test_ends_are_the_least(self):
    corners = interval_sums_test.corners(np.asarray(_LOW), np.asarray(_HIGH))
    want = (corners @ np.asarray(_ROWS).T).min(0)
    np.testing.assert_allclose(linear_steps.ends(_ROWS, _BOX), want)

  def test_fitted_sums_what_is_repeated(self):
    given = jnp.arange(12.0).reshape(2, 2, 3)
    for shape, want in (
      ((2, 3), given),
      ((1, 3), given.sum(1, keepdims=True)),
      ((2, 1), given.sum(2, keepdims=True)),
      ((), given.sum((1, 2))),
    ):
      np.testing.assert_array_equal(
        linear_steps.fitted(given, jnp.zeros(shape)), want
      )

  def test_repeated(self):
    (eqn, _) = _equation(lax.sin, jnp.zeros((2, 3)))
    got = linear_steps.repeated(_BOX, eqn.outvars[0])
    np.testing.assert_array_equal(got.low, np.stack([_LOW, _LOW]))
    np.testing.assert_array_equal(got.high, np.stack([_HIGH, _HIGH]))

  def test_constant_is_the_least_of_the_outputs(self):
    found = linear_steps.constant(
      _equation(lax.sin, _LOW), [_BOX], [_BOX], [_ROWS], _NONE
    )
    self.assertEqual(found.given, [None])
    np.testing.assert_allclose(found.offset, linear_steps.ends(_ROWS, _BOX))
    np.testing.assert_array_equal(found.sizes[0], linear_steps.magnitude(_BOX))

  def test_affine_is_its_transpose(self):
    matrix = jnp.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])
    fn = lambda w, x: lax.dot_general(w, x, (((1,), (0,)), ((), ())))
    pair = _equation(fn, matrix, _LOW, moving=(False, True))
    rows = jnp.array([[1.0, 2.0], [-1.0, 0.5]])
    found = linear_steps.affine(pair, [matrix, _BOX], [None], [rows], _NONE)
    self.assertIsNone(found.given[0])
    np.testing.assert_allclose(found.given[1], rows @ matrix)
    np.testing.assert_allclose(found.offset, 0, atol=1e-7)
    np.testing.assert_allclose(
      found.sizes[0], abs(matrix) @ linear_steps.magnitude(_BOX)
    )

  def test_affine_has_the_value_at_zero(self):
    pair = _equation(lax.sub, _HIGH, _LOW, moving=(False, True))
    found = linear_steps.affine(pair, [_HIGH, _BOX], [None], [_ROWS], _NONE)
    np.testing.assert_allclose(found.given[1], -_ROWS)
    np.testing.assert_allclose(found.offset, _ROWS @ _HIGH)

  def test_through_takes_the_line_of_the_sign(self):
    lines = relaxations.Lines(*(jnp.full(3, a) for a in (0.5, -1.0, 2.0, 3.0)))
    given, offset, size = linear_steps.through(_ROWS, lines, _BOX)
    np.testing.assert_allclose(given, [[0.5, -4, 0], [0, 1.5, -2]])
    np.testing.assert_allclose(offset, [-1 - 6, -3 - 3])
    np.testing.assert_allclose(size, 2 * linear_steps.magnitude(_BOX) + 3)


if __name__ == '__main__':
  absltest.main()
