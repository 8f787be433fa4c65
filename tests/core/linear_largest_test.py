"""Tests for `linear_largest.py`."""

from absl.testing import absltest
from absl.testing import parameterized
from jax import lax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import linear_largest
from saliency_jax.core import linear_steps
from saliency_jax.core import rounding
from tests.core import interval_sums_test

_equation = interval_sums_test.equation
_NONE = linear_steps.Settings({}, {})
_WINDOWS = {
  'overlap': dict(window_dimensions=(2, 2)),
  'strides and edges': dict(
    window_dimensions=(2, 3), window_strides=(2, 1), padding=((1, 0), (0, 2))
  ),
  'cut off': dict(window_dimensions=(2, 2), padding=((-1, 0), (0, -1))),
  'spread out': dict(window_dimensions=(2, 2), window_dilation=(2, 1)),
  'apart': dict(window_dimensions=(2, 3), base_dilation=(1, 2)),
}


def _pool(x, **settings):
  known = {'window_strides': (1, 1), 'padding': ((0, 0), (0, 0))} | settings
  return lax.reduce_window(x, -jnp.inf, lax.max, **known)


class WindowsTest(parameterized.TestCase):
  @parameterized.named_parameters(*((n, s) for n, s in _WINDOWS.items()))
  def test_are_what_jax_takes_the_largest_of(self, settings):
    x = np.random.default_rng(0).permutation(20).reshape(4, 5)
    x = x.astype(np.float32)
    (eqn, _) = _equation(lambda x: _pool(x, **settings), x)
    index = linear_largest.windows(eqn)
    taken = np.where(index < 0, -np.inf, x.ravel()[index]).max(-1)
    np.testing.assert_array_equal(taken, _pool(x, **settings))

  @parameterized.parameters((0,), (1,), (0, 1))
  def test_of_axes(self, *axes):
    x = np.random.default_rng(0).permutation(20).reshape(4, 5)
    x = x.astype(np.float32)
    (eqn, _) = _equation(lambda x: lax.reduce_max(x, axes), jnp.asarray(x))
    taken = x.ravel()[linear_largest.windows(eqn)].max(-1)
    np.testing.assert_array_equal(taken, x.max(axes))


class LargestTest(parameterized.TestCase):
  @parameterized.parameters(lax.reduce_max, lax.reduce_min)
  def test_holds_every_value(self, reduce):
    rng = np.random.default_rng(0)
    low = rng.normal(size=(3, 4)).astype(np.float32)
    high = low + rng.uniform(0, 1.5, size=(3, 4)).astype(np.float32)
    high[1] = low[1] = np.float32([0, 1, 5, 2])  # A row that does not move.
    low[2], high[2] = low[2] - [0, 9, 9, 9], high[2] - [0, 9, 9, 9]
    pair = _equation(lambda x: reduce(x, (1,)), jnp.asarray(low))
    box = rounding.Interval(jnp.asarray(low), jnp.asarray(high))
    out = rounding.Interval(*(reduce(a, (1,)) for a in box))
    rows = jnp.concatenate([jnp.eye(3), -jnp.eye(3)])
    found = linear_largest.largest(pair, [box], [out], [rows], _NONE)
    x = rng.uniform(low, high, size=(4000, 3, 4))
    x[:12] = np.where(np.eye(12).reshape(12, 3, 4) > 0, high, low)
    x[12:24] = np.where(np.eye(12).reshape(12, 3, 4) > 0, low, high)
    values = np.max(x, -1) if reduce is lax.reduce_max else np.min(x, -1)
    values = np.concatenate([values, -values], 1)
    lines = np.einsum('kij,nij->nk', found.given[0], x) + np.array(found.offset)
    self.assertTrue(np.all(lines <= values + 1e-5))
    # Of what does not move, or of one that is always largest, exactly.
    sure = [1, 4] + ([2, 5] if reduce is lax.reduce_max else [])
    np.testing.assert_allclose(
      lines[:, sure], values[:, sure], rtol=1e-5, atol=1e-5
    )


if __name__ == '__main__':
  absltest.main()
