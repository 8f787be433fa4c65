"""Tests for `intervals.py`."""

import functools
import itertools

from absl.testing import absltest
from absl.testing import parameterized
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import intervals
from saliency_jax.core import jaxprs
from saliency_jax.models import convolutions
from tests import equivalence

_X = jnp.array([0.25, -0.25, 0.75])
_WIDTHS = jnp.array([0.25, 0.5, 0.125])


def _weights(*shape):
  return jax.random.normal(jax.random.key(sum(shape)), shape)


def _net(x):
  """Dense layers, a ReLU, a batch norm of constants, a ReLU, dense again."""
  h = jax.nn.relu(x @ _weights(3, 6) + 0.1)
  mean, variance = 0.2, 0.5 * jnp.ones(6)
  h = (h - mean) * jax.lax.rsqrt(variance + 1e-3) * _weights(6)
  return jax.nn.relu(h @ _weights(6, 5)) @ _weights(5, 2)


def _image_net(fast, x):
  """Convolutions, plain and depthwise, both pools, a clamp, a mean."""
  conv = functools.partial(convolutions.conv, fast=fast)
  h = jnp.clip(conv(x[None], _weights(3, 3, 3, 4)), 0, 6)
  h = convolutions.max_pool(h, window=(2, 2), strides=(2, 2), fast=fast)
  h = convolutions.depthwise_conv(h, _weights(3, 3, 4), fast=fast)
  pools = {'padding': 'VALID', 'window_dimensions': (1, 2, 1, 1)}
  strides = {'window_strides': (1, 2, 1, 1)}
  h = jax.lax.reduce_window(
    jax.nn.relu(h), 0.0, jax.lax.add, **pools, **strides
  )
  h = jnp.mean(h, (1, 2))[0] @ _weights(4, 3)
  return h[jnp.array([1, 2, 0])] - h


def _grid(x, widths, num=9):
  """Returns the points of a grid over a small box, its corners included."""
  steps = [np.linspace(-w, w, num) for w in np.asarray(widths)]
  offsets = np.array([*itertools.product(*steps)])
  return x[None] + jnp.asarray(offsets, x.dtype)


def _draws(x, widths, num=400):
  """Returns random points of a box and, every second, random corners."""
  t = jax.random.uniform(jax.random.key(1), (num, *x.shape), x.dtype, -1, 1)
  t = t.at[::2].set(jnp.sign(t[::2]))
  return x[None] + widths[None] * t


def _bounds(fn, x, widths):
  """Bounds about `x`, compiled: equation by equation takes much longer."""
  around = lambda x: intervals.bounds(fn, intervals.around(x, widths))
  return jax.jit(around)(x)


def _assert_holds(test, box, values):
  test.assertTrue(np.all(box.low <= np.min(values, 0)))
  test.assertTrue(np.all(box.high >= np.max(values, 0)))


class IntervalsTest(parameterized.TestCase):
  @parameterized.parameters(
    lambda x: x @ _weights(3, 4) + 1,
    # Layers without an activation between them: one affine function.
    lambda x: (x @ _weights(3, 4) - 2) @ _weights(4, 4) / 3 - jnp.sum(x),
    # The same entries in both logits, and all of one of them is in the other.
    lambda x: jnp.stack([x, 2 * x]) @ _weights(3, 1) - x[0] * 5,
    lambda x: -jnp.concatenate([x, x[:1]])[::-1] + x[0],
    lambda x: jax.jit(lambda x: x[None] @ _weights(3, 2))(x),
  )
  def test_affine_is_exact(self, fn):
    with jax.enable_x64():
      x, widths = (a.astype(jnp.float64) for a in (_X, _WIDTHS))
      box = _bounds(fn, x, widths)
      corners = jax.jit(jax.vmap(fn))(_grid(x, widths, num=2))
      np.testing.assert_allclose(box.low, corners.min(0), atol=1e-12)
      np.testing.assert_allclose(box.high, corners.max(0), atol=1e-12)
      _assert_holds(self, box, corners)

  @parameterized.parameters(
    (lambda x: jnp.abs(x), 1),
    (lambda x: x**2, 1),
    (lambda x: x**3, 1),
    (lambda x: jnp.square(x), 1),
    (lambda x: jnp.exp(x) + 1, 1),
    (lambda x: jax.nn.sigmoid(-x), 1),
    (lambda x: 2 / (x + 3), 1),
    (lambda x: jnp.tanh(x) * -2, 1),
    (lambda x: jnp.where(jnp.arange(3) > 0, jax.nn.relu(x), 3 * x), 1),
    (lambda x: jnp.max(x), 1),
    (lambda x: jnp.cumsum(jax.nn.relu6(x)), 1),
    (lambda x: x[:2] * x[1:], 1),
    # By middles and radii, which widens a product by a half at most (Rump, Fast
    # and parallel interval arithmetic, 1999).
    (lambda x: x[:1] @ x[1:2], 1.5),
    # Each entry is used once: nothing is lost.
    (
      lambda x: jnp.sum(jax.nn.relu(x) * jnp.array([1.0, -2.0, 3.0], x.dtype)),
      1,
    ),
    # The same entry, used twice, is taken for two.
    (lambda x: jax.nn.relu(x) * jax.nn.relu(x - 0.1), 2),
  )
  def test_agrees_with_brute_force(self, fn, looseness):
    with jax.enable_x64():
      x, widths = (a.astype(jnp.float64) for a in (_X, _WIDTHS))
      box = _bounds(fn, x, widths)
      values = jax.jit(jax.vmap(fn))(_grid(x, widths, num=21))
      _assert_holds(self, box, values)
      extent = np.asarray(jnp.max(values, 0) - jnp.min(values, 0))
      width = np.asarray(box.high - box.low)
      self.assertTrue(np.all(width <= looseness * extent + 1e-12))

  def test_usual_activations_stay_inside(self):
    # One program of all of them, a row each.
    def fn(x):
      shifted = x - jnp.mean(x)
      norm = shifted * jax.lax.rsqrt(jnp.mean(shifted**2) + 1e-2)
      return jnp.stack(
        [
          jax.nn.softplus(x),
          jax.nn.gelu(x),
          jax.nn.gelu(x, approximate=False),
          jax.nn.silu(x),
          jax.nn.elu(x),
          jax.nn.selu(x),
          jax.nn.leaky_relu(x),
          jax.nn.mish(x),
          jax.nn.softmax(x),
          jax.nn.log_softmax(x),
          norm,
          (x + 1.0) ** 2.5,
          (x + 1.0) ** -1.5,
          jnp.where(x > 0, x, 2.0 - x),
          jnp.where(x <= 0.3, x, 2.0 - x),
          jnp.where(x < 0.3, 1.0, -x),
        ]
      )

    for width in (1e-3, 0.2):
      widths = jnp.full_like(_X, width)
      box = _bounds(fn, _X, widths)
      values = jax.jit(jax.vmap(fn))(_grid(_X, widths))
      _assert_holds(self, box, values)
      # Loose where an entry is used more than once, and finite.
      extent = np.asarray(jnp.max(values, 0) - jnp.min(values, 0))
      # A jump takes its whole height.
      loose = np.asarray(box.high - box.low) / np.maximum(extent, width)
      self.assertLess(loose.max(), 40)

  def test_what_is_decided_is_exact(self):
    # -.5 to 0 is not above .1, .65 to .85 is, and 0 to .5 may be.
    fn = lambda x: jnp.where(x > 0.1, 5.0, x)
    box = _bounds(fn, _X, jnp.full_like(_X, 0.25))
    np.testing.assert_allclose(box.low, [0, -0.5, 5], atol=1e-6)
    np.testing.assert_allclose(box.high, [5, 0, 5], atol=1e-6)

  def test_nan_is_never_decided(self):
    # The logarithm of what may be negative may be anything.
    fn = lambda x: jnp.where(jnp.log(x) > -9.0, 1.0, 2.0)
    box = _bounds(fn, _X, _WIDTHS)
    self.assertLessEqual(box.low[1], 1)
    self.assertGreaterEqual(box.high[1], 2)
    fn = lambda x: jnp.where(jnp.isnan(jnp.log(x)), 2.0, 1.0)
    self.assertGreaterEqual(_bounds(fn, _X, _WIDTHS).high[1], 2)

  @parameterized.parameters(0.001, 0.05, 0.5)
  def test_networks_stay_inside(self, width):
    x = _X
    box = _bounds(_net, x, jnp.full_like(x, width))
    values = jax.jit(jax.vmap(_net))(_grid(x, jnp.full_like(x, width)))
    _assert_holds(self, box, values)
    # Loose, but not by more than the depth of the network explains.
    extent = jnp.max(values, 0) - jnp.min(values, 0)
    self.assertLess(np.max((box.high - box.low) / extent), 20)

  @parameterized.product(fast=[True, False], width=[0.003, 0.1])
  def test_image_networks_stay_inside(self, fast, width):
    x = equivalence.examples(1)[0]
    widths = jnp.full_like(x, width)
    fn = jax.jit(functools.partial(_image_net, fast))
    box = _bounds(fn, x, widths)
    values = jax.jit(jax.vmap(fn))(_draws(x, widths))
    _assert_holds(self, box, values)
    extent = jnp.max(values, 0) - jnp.min(values, 0)
    self.assertLess(np.max((box.high - box.low) / extent), 30)

  def test_flax_layers(self):
    module = nnx.Sequential(
      nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0)),
      nnx.BatchNorm(4, rngs=nnx.Rngs(0)),
      nnx.relu,
      lambda h: nnx.avg_pool(h, (2, 2), (2, 2)),
      lambda h: nnx.max_pool(h, (2, 2), (2, 2)),
    )
    module.eval()
    fn = lambda x: module(x[None])
    x = equivalence.examples(1)[0]
    widths = jnp.full_like(x, 0.05)
    with jax.numpy_dtype_promotion('standard'):
      with jax.numpy_rank_promotion('allow'):
        box = _bounds(fn, x, widths)
        _assert_holds(self, box, jax.jit(jax.vmap(fn))(_draws(x, widths)))

  def test_rounding_is_outward(self):
    # A point: what is left is the rounding of a long sum, in any order.
    n = 4096
    x = jnp.asarray(np.random.default_rng(0).normal(size=n), jnp.float32)
    fn = lambda x: jnp.sum(x * jnp.cos(jnp.arange(n, dtype=jnp.float32)))
    box = intervals.bounds(fn, intervals.Interval(x, x))
    terms = np.asarray(x, np.float64) * np.asarray(
      jnp.cos(jnp.arange(n, dtype=jnp.float32)), np.float64
    )
    self.assertLess(box.low, terms.sum())
    self.assertGreater(box.high, terms.sum())
    in_turn = functools.reduce(np.add, np.float32(terms))
    self.assertBetween(in_turn, box.low, box.high)
    self.assertLess(box.high - box.low, 5)

  def test_products_are_precise(self):
    closed = jax.make_jaxpr(
      lambda x: intervals.bounds(
        functools.partial(_image_net, True), intervals.around(x, 0.1 * x)
      )
    )(equivalence.examples(1)[0])
    names = ('dot_general', 'conv_general_dilated')
    found = [
      eqn.params['precision']
      for eqn in jaxprs.equations(closed.jaxpr)
      if eqn.primitive.name in names
    ]
    self.assertGreater(len(found), 6)
    highest = jax.lax.Precision.HIGHEST
    self.assertEqual(set(found), {(highest, highest)})

  def test_signs_of_constants_do_not_hide_rounding(self):
    # The sizes that rounding is measured by are those of all terms.
    big = 2.0**20
    for fn in (
      lambda x: (x + big) - big,
      lambda x: (x - big) + big,
      lambda x: jax.nn.relu(x) * -3.0,
    ):
      box = _bounds(fn, _X, _WIDTHS)
      values = jax.jit(jax.vmap(fn))(_grid(_X, _WIDTHS, num=3))
      _assert_holds(self, box, values)
      self.assertTrue(np.all(box.low < np.min(values, 0)))

  def test_whole_output_is_constant(self):
    box = intervals.bounds(lambda x: jnp.ones(2), intervals.around(_X, _WIDTHS))
    np.testing.assert_array_equal(box.low, 1)
    np.testing.assert_array_equal(box.high, 1)

  def test_division_by_what_may_be_zero(self):
    box = intervals.bounds(lambda x: 1 / x, intervals.around(_X + 0.1, _WIDTHS))
    np.testing.assert_array_equal(box.low[1], -jnp.inf)
    self.assertGreater(box.low[0], 0)

  @parameterized.parameters(
    (lambda x: jnp.sin(x), "no rule for the primitive 'sin'"),
    (lambda x: jnp.sort(x), "primitive 'sort'"),
    (lambda x: jax.lax.cos(x), r"'cos' \(elementary\) at .*_test.py"),
    (lambda x: x**-2, 'no rule for the power -2'),
    (lambda x: (x, x), 'expected one output, got 2'),
    (
      lambda x: jax.lax.scan(lambda c, y: (c + y, c), 0.0, x)[0],
      "primitive 'scan'",
    ),
  )
  def test_unknown_is_named(self, fn, message):
    with self.assertRaisesRegex(ValueError, message):
      _bounds(fn, _X, _WIDTHS)


if __name__ == '__main__':
  absltest.main()
