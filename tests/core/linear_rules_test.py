"""Each rule of linear bounds against brute force, on a small box."""

import itertools

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import interval_rules
from saliency_jax.core import intervals
from saliency_jax.core import linear_bounds
from saliency_jax.core import primitives
from saliency_jax.core import units
from saliency_jax.core import wide
from tests.core import interval_rules_test

_X = jnp.array([0.25, -0.25, 0.75])
_WIDTHS = jnp.array([0.25, 0.5, 0.125])

# Beside the cases of intervals, one program each: what the rules look into.
_MORE = {
  'pow of one': lambda x: (x + 1.5) ** 2.5,
  'pow of two': lambda x: (x + 1.5) ** x,
  'mul by itself': lambda x: x * x,
  'dot of two': lambda x: jnp.outer(x, 1 + x) @ jnp.outer(x - 1, x),
  'div of two': lambda x: x / (x[::-1] + 2),
  'div by less than zero': lambda x: (1 + x) / (x[::-1] - 2),
  'div by what may be zero': lambda x: jnp.clip(x / (x + 0.2), -1, 1),
  'size one': lambda x: x / (x[:1] + 2) + jnp.maximum(x[:1], x) * x[1:2],
  'clamp between what moves': lambda x: lax.clamp(x - 0.1, x * 2, x + 0.2),
  'gelu': jax.nn.gelu,
  'slope that moves': lambda x: jnp.where(
    x >= 0, x, (x > 0.1).astype(x.dtype) * x
  ),
  'softmax': jax.nn.softmax,
  'masked softmax': lambda x: jax.nn.softmax(
    jnp.where(jnp.arange(3) > 0, 3 * x, -jnp.inf)
  ),
  'softmax of what moves twice': lambda x: jax.nn.softmax(
    jnp.where(x > 0, x, -x)
  ),
  'log_softmax': jax.nn.log_softmax,
  'max of negatives': lambda x: jnp.min(jnp.outer(x, jnp.arange(-1.0, 2)), 0),
  'stop_gradient': lambda x: lax.stop_gradient(x) - x,
}


def _windows(x):
  """Windows that overlap, reach over the edge, and are spread out."""
  h = jnp.stack([x, x[::-1], x * x, -x])[None, :, :, None]
  return lax.reduce_window(
    h,
    -jnp.inf,
    lax.max,
    window_dimensions=(1, 2, 2, 1),
    window_strides=(1, 1, 2, 1),
    padding=((0, 0), (1, 0), (0, 1), (0, 0)),
    base_dilation=(1, 1, 1, 1),
    window_dilation=(1, 2, 1, 1),
  )


_CASES = {**interval_rules_test.CASES, **_MORE, 'windows': _windows}


def _all(x):
  """Every function at once: to compile each alone would take minutes."""
  made = [f(x).astype(x.dtype).ravel() for f in _CASES.values()]
  return jnp.concatenate(made)


def _names():
  """Returns the names of the functions that made each value of `_all`."""
  sizes = [jax.eval_shape(f, _X).size for f in _CASES.values()]
  return np.repeat([*_CASES], sizes)


class LinearRulesTest(parameterized.TestCase):
  def test_holds_every_value(self):
    @jax.jit
    def below(widths):
      traced = linear_bounds.trace(_all, _X)
      with wide.precision():
        box = intervals.around(
          _X.astype(jnp.float64), widths.astype(jnp.float64)
        )
        tape = linear_bounds.record(traced, box)
        (out,) = tape.closed.jaxpr.outvars
        rows = linear_bounds.identity(out.aval.shape)
        found = linear_bounds.below(
          traced, tape, jnp.concatenate([rows, -rows])
        )
        least = linear_bounds.least(found, box)
        # Their own rounding to float32 is for `wide.outward`.
        return jax.tree.map(lambda a: a.astype(jnp.float32), (found, least))

    steps = [np.linspace(-w, w, 9) for w in np.asarray(_WIDTHS)]
    offsets = np.array([*itertools.product(*steps)], np.float32)
    for scale in (1.0, 0.0):
      found, least = below(scale * _WIDTHS)
      slope, offset = (np.asarray(a, np.float64) for a in found)
      points = np.asarray(_X)[None] + scale * offsets
      values = jax.jit(jax.vmap(_all))(jnp.asarray(points))
      values = np.asarray(values, np.float64)
      values = np.concatenate([values, -values], 1)
      lines = points @ slope.T + offset[None]
      size = np.abs(points) @ np.abs(slope).T + np.abs(offset)[None]
      size += np.abs(values)
      # Of the functions in float32, and of the lines.
      self.assertTrue(np.all(lines <= values + 2e-5 * (1 + size)))
      self.assertTrue(np.all(np.isfinite(slope)))
      self.assertTrue(np.all(least <= values.min(0) + 2e-5 * (1 + size[0])))
      if not scale:
        # At a point they are exact, but where a function jumps, and where
        # logits are infinite: a softmax is then known to be a share.
        loose = np.abs(least - values[0]) > 1e-4 * (1 + size[0])
        found = {*np.tile(_names(), 2)[loose].tolist()}
        self.assertLessEqual(found, {'masked softmax', 'ne'})

  def test_every_name_has_a_case(self):
    roles = (
      primitives.MOVES,
      primitives.SUMS,
      primitives.PRODUCTS,
      primitives.QUOTIENTS,
    )
    own = set(linear_bounds.RULES) - {*roles, units.ACTIVATION, units.SOFTMAX}
    own -= {'reciprocal'}
    self.assertLessEqual(own, set(interval_rules_test.CASES))
    self.assertLessEqual(own, set(interval_rules.RULES) | _increasing())


def _increasing():
  return set(primitives.of_kind(primitives.INCREASING))


if __name__ == '__main__':
  absltest.main()
