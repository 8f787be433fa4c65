"""Tests for `relaxations.py`: lines against brute force, in float64."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from saliency_jax.core import bending
from saliency_jax.core import relaxations
from saliency_jax.core import rounding

_erf = special.erf
_sigmoid = special.expit
_softplus = lambda z: np.logaddexp(z, 0)

# A function by numpy, the same by JAX, and its curve.
_ANYWHERE = {
  'abs': (np.abs, jnp.abs),
  'elu': (
    lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    jax.nn.elu,
    bending.elu(1.0),
  ),
  'selu': (
    lambda z: np.where(z > 0, z, 1.7 * np.expm1(np.minimum(z, 0))),
    lambda z: jax.nn.elu(z, 1.7),
    bending.elu(1.7),
  ),
  'erf': (_erf, jax.lax.erf),
  'erfc': (special.erfc, jax.lax.erfc),
  'exp': (np.exp, jnp.exp),
  'exp2': (np.exp2, jnp.exp2),
  'expm1': (np.expm1, jnp.expm1),
  'gelu': (
    lambda z: z * special.ndtr(z),
    functools.partial(jax.nn.gelu, approximate=False),
    bending.GELU,
  ),
  'gelu by tanh': (
    lambda z: z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    jax.nn.gelu,
    bending.GELU,
  ),
  'hard_silu': (
    lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
    jax.nn.hard_silu,
    bending.HARD_SILU,
  ),
  'hard_tanh': (
    lambda z: np.clip(z, -1, 1),
    jax.nn.hard_tanh,
    bending.HARD_TANH,
  ),
  'logistic': (_sigmoid, jax.nn.sigmoid),
  'mish': (
    lambda z: z * np.tanh(_softplus(z)),
    jax.nn.mish,
    bending.MISH,
  ),
  'cube': (lambda z: z**3, lambda z: z**3, bending.power(3)),
  'relu': (
    lambda z: np.maximum(z, 0),
    jax.nn.relu,
    bending.BROKEN,
  ),
  'silu': (
    lambda z: z * _sigmoid(z),
    jax.nn.silu,
    bending.swish(1.0),
  ),
  'softplus': (_softplus, jax.nn.softplus, bending.SOFTPLUS),
  'square': (np.square, jnp.square),
  'swish': (
    lambda z: z * _sigmoid(1.702 * z),
    lambda z: z * jax.nn.sigmoid(1.702 * z),
    bending.swish(1.702),
  ),
  'tanh': (np.tanh, jnp.tanh),
}
_POSITIVE = {
  'log': (np.log, jnp.log),
  'log1p': (np.log1p, jnp.log1p),
  'power': (lambda z: z**2.5, lambda z: z**2.5, bending.power(2.5)),
  'reciprocal': (np.reciprocal, jnp.reciprocal),
  'root': (lambda z: z**-1.5, lambda z: z**-1.5, bending.power(-1.5)),
  'rsqrt': (lambda z: z**-0.5, jax.lax.rsqrt),
  'sqrt': (np.sqrt, jnp.sqrt),
}
_ENDS = np.array(
  [
    *[(-3.0, 2.0), (-0.5, 4.0), (-6.0, 1.0), (0.5, 0.75), (-2.0, -1.0)],
    *[(-30.0, 25.0), (-1e-9, 3e-9), (1.0, 1.0), (0.0, 0.0), (0.0, 2.0)],
    *[(-3.0, 0.0), (5.0, 5.0 + 1e-12), (-8.0, -4.0), (-0.01, 0.01)],
  ]
).T
# Of ends that no function is known beyond.
_ABOVE_ZERO = np.array(
  [(1e-6, 1.0), (0.5, 0.75), (1.0, 1.0), (2.0, 30.0), (0.1, 0.10001)]
).T


def _envelopes(fn, curve, ends):
  """Returns what no line below, or above, exceeds in the middle of intervals.

  That is the least, and the largest, of all chords over the middle.
  """
  low, high = ends
  middle = low / 2 + high / 2
  t = np.linspace(0, 1, 201)[:, None]
  # A chord's best end may be a kink.
  kinks = np.reshape(curve.kinks, (-1, 1)) + 0 * low
  left = np.concatenate([low + (middle - low) * t, np.clip(kinks, low, middle)])
  right = np.concatenate(
    [middle + (high - middle) * t, np.clip(kinks, middle, high)]
  )
  width = right[None] - left[:, None]
  share = (middle - left[:, None]) / np.where(width > 0, width, 1)
  start = fn(left)[:, None]
  chords = start + share * (fn(right)[None] - start)
  return chords.min((0, 1)), chords.max((0, 1))


def _lines(fn, curve, ends, mix=None):
  """Returns lines, the interval, the mix that was chosen, and the grid."""
  low, high = map(jnp.asarray, ends)
  z = relaxations.points(rounding.Interval(low, high), curve)
  grid = relaxations.grid(z, fn(z), curve)
  return (
    relaxations.lines(grid, None if mix is None else jnp.asarray(mix)),
    relaxations.interval(grid),
    relaxations.mixed(grid),
    grid,
  )


class RelaxationsTest(parameterized.TestCase):
  @parameterized.named_parameters(
    *((n, n, f, _ENDS) for n, f in _ANYWHERE.items()),
    *((n, n, f, _ABOVE_ZERO) for n, f in _POSITIVE.items()),
  )
  def test_lines(self, name, functions, ends):
    numpy_fn, fn, *curve = functions
    (curve,) = curve or [bending.CURVES[name]]
    low, high = ends
    t = np.linspace(0, 1, 4001)[:, None]
    z = np.clip(low + (high - low) * t, low, high)
    z[-1] = high
    want = numpy_fn(z)
    mixes = [None, *(np.full((2, low.size), s) for s in (0.0, 0.3, 1.0))]
    with jax.enable_x64():
      run = jax.jit(lambda ends: [_lines(fn, curve, ends, m) for m in mixes])
      found = jax.device_get(run(ends))
    for lines, box, _, _ in found:
      below = lines.low_slope * z + lines.low_offset
      above = lines.high_slope * z + lines.high_offset
      # numpy's own rounding is none of the lines'.
      slack = 1e-15 * (np.abs(want) + np.abs(lines.low_slope * z))
      self.assertTrue(np.all(below <= want + slack))
      slack = 1e-15 * (np.abs(want) + np.abs(lines.high_slope * z))
      self.assertTrue(np.all(above >= want - slack))
      self.assertTrue(np.all(box.low <= want.min(0)))
      self.assertTrue(np.all(box.high >= want.max(0)))
    # And none is better in the middle, but for what the cells leave: what the
    # function may bend by in one, once in the offset and once in the slope.
    lines, _, chosen, grid = found[0]
    middle = low / 2 + high / 2
    least, most = _envelopes(numpy_fn, curve, ends)
    eps = np.finfo(float).eps
    for value, best, slope, offset, bend in (
      (1, least, lines.low_slope, lines.low_offset, grid.below),
      (-1, most, lines.high_slope, lines.high_offset, grid.above),
    ):
      size = np.abs(slope) * np.abs(z).max(0) + np.abs(offset)
      left = value * (best - slope * middle - offset)
      allowed = 2 * bend.max(0) + grid.slack + 16 * eps * size
      self.assertTrue(np.all(left <= allowed))
    # The slopes that are chosen are a mix, too, where they are extreme ones.
    self.assertTrue(np.all((chosen >= 0) & (chosen <= 1)))

  def test_relu_is_as_published(self):
    low, high = np.array([[-3.0, 2.0], [-2.0, 3.0], [-2.0, -1.0], [1.0, 2.0]]).T
    with jax.enable_x64():
      lines, _, mix, _ = _lines(
        jax.nn.relu, bending.BROKEN, np.stack([low, high])
      )
      mixed = _lines(jax.nn.relu, bending.BROKEN, np.stack([low, high]), mix)[0]
    slope = np.array([2 / 5, 3 / 5, 0, 1])
    np.testing.assert_allclose(lines.low_slope, [0, 1, 0, 1], atol=1e-14)
    np.testing.assert_allclose(lines.low_offset, 0, atol=1e-13)
    np.testing.assert_allclose(lines.high_slope, slope, rtol=1e-14)
    np.testing.assert_allclose(
      lines.high_offset, [6 / 5, 6 / 5, 0, 0], atol=1e-13
    )
    for a, b in zip(lines, mixed, strict=True):
      np.testing.assert_allclose(a, b, atol=1e-13)

  def test_second_derivatives(self):
    """The curvatures that are claimed, against differences on small cells."""
    h = 2.0**-7
    for name, (fn, _, *curve) in (_ANYWHERE | _POSITIVE).items():
      (curve,) = curve or [bending.CURVES[name]]
      if curve.second is None:
        continue
      middle = np.arange(2.0, 1200) * h
      if name not in _POSITIVE:
        middle = np.concatenate([-middle, middle])
      # By the mean value theorem it is the second derivative somewhere there.
      second = (fn(middle + h) - 2 * fn(middle) + fn(middle - h)) / h**2
      size = np.abs(fn(middle + h)) + np.abs(fn(middle - h))
      with jax.enable_x64(), self.subTest(name):
        ends = (jnp.asarray(middle + d) for d in (-h, h))
        least, most = map(np.asarray, curve.second(*ends))
        # Rounding, and what the curvatures are raised by.
        slack = 8 * np.finfo(float).eps * size / h**2 + 1e-12
        slack += 1e-3 * np.maximum(np.abs(least), np.abs(most))
        kinks = np.array(curve.kinks)[:, None]
        kinked = np.any(np.abs(middle[None] - kinks) < h, 0)
        self.assertTrue(np.all((least - slack <= second) | kinked))
        self.assertTrue(np.all((most + slack >= second) | kinked))

  def test_outside_of_its_domain_there_are_no_lines(self):
    ends = np.array([(-1.0, 1.0), (0.0, 1.0), (1.0, np.inf)]).T
    with jax.enable_x64():
      lines, *_ = _lines(jnp.log, bending.CURVES['log'], ends)
      values = rounding.Interval(np.full(3, -np.inf), np.full(3, np.inf))
      lines = relaxations.finite(relaxations.Lines(*lines), values)
    np.testing.assert_array_equal(lines.low_slope, 0)
    np.testing.assert_array_equal(lines.low_offset[:2], -np.inf)
    self.assertFalse(np.any(np.isnan(np.stack(lines))))

  def test_the_larger_of_two(self):
    low, high = np.array([-1.0, -1.0, -1.0]), np.array([2.0, 2.0, 2.0])
    other = np.array([-3.0, 1.0, 5.0])
    with jax.enable_x64():
      lines = relaxations.of_larger(
        rounding.Interval(jnp.asarray(low), jnp.asarray(high)),
        jnp.asarray(other),
      )
    np.testing.assert_allclose(lines.high_slope, [1, 1 / 3, 0], atol=1e-14)
    np.testing.assert_allclose(lines.high_offset, [0, 4 / 3, 5], atol=1e-13)


if __name__ == '__main__':
  absltest.main()
