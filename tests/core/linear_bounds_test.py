"""Tests for `linear_bounds.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import intervals
from saliency_jax.core import linear_bounds
from saliency_jax.core import wide
from saliency_jax.models import convolutions
from tests import equivalence

_X = jnp.array([0.25, -0.25, 0.75, 0.1])


def _weights(*shape, scale=1.0):
  key = jax.random.key(sum(shape))
  return scale * jax.random.normal(key, shape)


def dense_layers(sizes):
  """Returns the weights and biases of dense layers."""
  return [
    (_weights(a, b, scale=a**-0.5), _weights(b, scale=0.1))
    for a, b in zip(sizes[:-1], sizes[1:], strict=True)
  ]


def dense(layers, x):
  for w, b in layers[:-1]:
    x = jax.nn.relu(x @ w + b)
  w, b = layers[-1]
  return x @ w + b


def published(layers, x, width, *, tighten):
  """CROWN as in the paper, for dense layers and ReLUs, in numpy.

  It stands for auto_LiRPA, whose last release (0.3) wants torch before 1.13.
  Bounds before each activation are those of CROWN itself, or of intervals.
  """
  layers = [tuple(np.asarray(a, np.float64) for a in l) for l in layers]
  x = np.asarray(x, np.float64)

  def lower(rows, num, ends):
    """The least of `rows` times what `num` layers make."""
    w, b = layers[num - 1]
    rows, offset = rows @ w.T, rows @ b
    for (w, b), (low, high) in list(
      zip(layers[: num - 1], ends[: num - 1], strict=True)
    )[::-1]:
      unsure = (low < 0) & (high > 0)
      upper = np.where(unsure, high / (high - low), high > 0)
      lower = np.where(unsure, high > -low, high > 0)
      up, down = np.maximum(rows, 0), np.minimum(rows, 0)
      offset = offset - (down * upper * low) @ unsure
      rows = up * lower + down * upper
      rows, offset = rows @ w.T, offset + rows @ b
    return rows @ x - width * np.abs(rows).sum(1) + offset

  ends, box = [], (x - width, x + width)
  for num, (w, b) in enumerate(layers, 1):
    middle, radius = (box[0] + box[1]) / 2, (box[1] - box[0]) / 2
    spread = radius @ np.abs(w)
    low, high = middle @ w + b - spread, middle @ w + b + spread
    if tighten or num == len(layers):
      eye = np.eye(len(b))
      low = np.maximum(low, lower(eye, num, ends))
      high = np.minimum(high, -lower(-eye, num, ends))
    ends.append((low, high))
    box = np.maximum(low, 0), np.maximum(high, 0)
  return ends[-1]


def _bounds(fn, tighten=0):
  """Returns compiled linear bounds, and those of intervals, by width."""

  @jax.jit
  def find(x, width):
    box = intervals.around(x, jnp.full_like(x, width))
    return (
      linear_bounds.bounds(fn, box, tighten=tighten),
      intervals.bounds(fn, box),
    )

  return find


def _draws(x, width, num=300):
  """Returns random points of a cube and, every second, random corners."""
  t = jax.random.uniform(jax.random.key(1), (num, *x.shape), x.dtype, -1, 1)
  t = t.at[::2].set(jnp.sign(t[::2]))
  return x[None] + width * t


def _activations(x):
  """A layer of activations of each kind, between dense ones."""
  h = 2 * x @ _weights(4, 6) + 0.1
  made = [
    jax.nn.leaky_relu(h),
    jax.nn.elu(h),
    jax.nn.gelu(h),
    jax.nn.silu(h),
    jax.nn.log_sigmoid(h),
    jax.nn.relu6(3 * h),
    jax.nn.hard_silu(h),
    jnp.sqrt(2 + jnp.abs(h)),
    1 / (2 + jax.nn.relu(h)),
    h * h[::-1],
  ]
  return jnp.stack(made) @ _weights(6, 2)


def _blocks(x):
  """Residuals, a gate, layer norm, attention, softmax margins."""
  h = jax.nn.gelu(x @ _weights(4, 12)).reshape(4, 3)
  h = h + jax.nn.silu(h @ _weights(3, 3)) @ _weights(3, 3)
  off = h - jnp.mean(h, -1, keepdims=True)
  h = off * jax.lax.rsqrt(jnp.mean(off**2, -1, keepdims=True) + 0.1)
  q, k, v = (h @ _weights(3, 3, n)[..., 0] for n in (1, 2, 4))
  h = h + jax.nn.softmax(q @ k.T / 2) @ v
  h = h * jax.nn.sigmoid(jnp.mean(h, 0, keepdims=True))
  p = jax.nn.softmax(jnp.mean(h, 0) @ _weights(3, 5))
  return p[:1] - p[1:]


def _image_net(x):
  """A convolution, batch norm, pools, a residual."""
  h = convolutions.conv(x[None], _weights(3, 3, 3, 4, scale=0.3))
  scale = jax.lax.rsqrt(jnp.abs(_weights(4)) + 1e-3)
  h = jax.nn.relu((h - 0.1) * scale[None, None, None])
  h = convolutions.max_pool(h, window=(2, 2), strides=(2, 2))
  h = h + jax.nn.relu6(h @ _weights(4, 4, 1)[..., 0])
  h = jax.lax.reduce_window(
    h, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 1, 1, 1), 'SAME'
  )
  return jnp.mean(h, (0, 1, 2)) @ _weights(4, 3)


class LinearBoundsTest(parameterized.TestCase):
  def test_affine_is_exact(self):
    def fn(x):
      h = (x @ _weights(4, 5) - 2) @ _weights(5, 4, 1)[..., 0] / 3
      h = jnp.concatenate([h, x[::-1], jnp.cumsum(x), x[:1] * 2 - h[:1]])
      return h - jnp.sum(x)

    x, width = _X, 0.3
    box, _ = _bounds(fn)(x, width)
    jacobian = np.asarray(jax.jacobian(fn)(x), np.float64)
    spread = width * np.abs(jacobian).sum(1)
    np.testing.assert_allclose(box.low, fn(x) - spread, rtol=3e-6, atol=3e-6)
    np.testing.assert_allclose(box.high, fn(x) + spread, rtol=3e-6, atol=3e-6)

  @parameterized.parameters(0, 100)
  def test_is_as_published(self, tighten):
    layers = dense_layers([4, 7, 6, 3])
    find = _bounds(lambda x: dense(layers, x), tighten)
    for width in (0.05, 0.4):
      box, _ = find(_X, width)
      low, high = published(layers, _X, width, tighten=bool(tighten))
      np.testing.assert_allclose(box.low, low, rtol=1e-5, atol=1e-5)
      np.testing.assert_allclose(box.high, high, rtol=1e-5, atol=1e-5)

  @parameterized.parameters(
    (_activations, 0.4), (_blocks, 1e-3), (_image_net, 0.1)
  )
  def test_networks_stay_inside(self, fn, width):
    with jax.enable_x64():
      x = _X.astype(jnp.float64)
      if fn is _image_net:
        x = equivalence.examples(1, jnp.float64)[0]
      find = _bounds(fn)
      run = jax.jit(jax.vmap(fn))
      for w in (width, width / 16):
        box, wider = find(x, w)
        values = np.asarray(run(_draws(x, w)))
        # The function itself is off by some rounding.
        slack = 1e-12 * np.abs(values).max()
        self.assertTrue(np.all(box.low <= values.min(0) + slack))
        self.assertTrue(np.all(box.high >= values.max(0) - slack))
        self.assertTrue(np.all(box.low >= wider.low))
        self.assertTrue(np.all(box.high <= wider.high))
      # What lines give away is of the second order in the width, so that a
      # tenth of the width gives a tenth of the share; what intervals give away
      # behind a second layer is of the first order.
      jacobian = np.asarray(jax.jit(jax.jacrev(fn))(x))
      axes = tuple(range(box.low.ndim, jacobian.ndim))
      extent = 2 * np.abs(jacobian).sum(axes)
      wide_box, narrow_box = (find(x, w)[0] for w in (1e-6, 1e-7))
      share = (wide_box.high - wide_box.low) / (1e-6 * extent) - 1
      less = (narrow_box.high - narrow_box.low) / (1e-7 * extent) - 1
      # And rounding, which is all there is to the piecewise linear ones.
      self.assertTrue(np.all(less < share / 5 + 1e-3))
      if fn is not _activations:
        loose = find(x, 1e-7)[1]
        self.assertTrue(np.all((loose.high - loose.low) / 1e-7 > 1.1 * extent))

  def test_rows_and_mixes(self):
    layers = dense_layers([4, 7, 3])
    fn = lambda x: dense(layers, x)
    traced = linear_bounds.trace(fn, _X)
    with wide.precision():
      box = intervals.around(
        _X.astype(jnp.float64), jnp.full(4, 0.3, jnp.float64)
      )
      tape = linear_bounds.record(traced, box)
      rows = jnp.array([[1.0, -2.0, 0.5]], jnp.float64)
      chosen = linear_bounds.choices(traced, tape)
      own = linear_bounds.below(traced, tape, rows)
      same = linear_bounds.below(traced, tape, rows, mixes=chosen)
      np.testing.assert_allclose(own.slope, same.slope, atol=1e-12)
      # Any slopes are sound, and these are not the best.
      other = {v: 1 - mix for v, mix in chosen.items()}
      worse = linear_bounds.below(traced, tape, rows, mixes=other)
      points = np.asarray(_draws(_X, 0.3), np.float64)
      values = [np.asarray(a, np.float64) for a in (*layers[0], *layers[1])]
      w, b, v, c = values
      values = (np.maximum(points @ w + b, 0) @ v + c) @ np.asarray(rows[0])
      for found in (own, worse):
        lines = points @ found.slope[0] + found.offset
        self.assertTrue(np.all(lines <= values))

  def test_wide_sums_are_exact(self):
    n = 20_000
    w = jax.random.normal(jax.random.key(0), (n, 2))
    x = jax.random.normal(jax.random.key(1), (n,))
    # Both logits share most of their weights.
    w += 9 * w[:, :1]
    box, _ = _bounds(lambda x: (x @ w)[:1] - (x @ w)[1:])(x, 1e-3)
    gap = np.asarray(w, np.float64) @ [1, -1]
    # Of the box as float32 holds it.
    box_of = intervals.around(x, jnp.full_like(x, 1e-3))
    ends = [np.asarray(a, np.float64) for a in box_of]
    low = np.minimum(ends[0] * gap, ends[1] * gap).sum()
    np.testing.assert_allclose(box.low, low, rtol=1e-6)
    self.assertLessEqual(box.low[0], low)

  def test_jit_and_vmap(self):
    fn = lambda x: jnp.tanh(x @ _weights(4, 2)) @ _weights(2, 2)
    bound = lambda x: linear_bounds.bounds(fn, intervals.around(x, 0.1 + 0 * x))
    xs = jnp.stack([_X, _X[::-1]])
    together = jax.jit(jax.vmap(bound))(xs)
    for i, x in enumerate(xs):
      alone = bound(x)
      np.testing.assert_allclose(together.low[i], alone.low, rtol=1e-6)
      np.testing.assert_allclose(together.high[i], alone.high, rtol=1e-6)
      self.assertEqual(alone.low.dtype, x.dtype)

  def test_whole_output_is_constant(self):
    box, _ = _bounds(lambda x: jnp.ones(2))(_X, 0.1)
    np.testing.assert_allclose(box.low, 1, rtol=1e-6)
    np.testing.assert_allclose(box.high, 1, rtol=1e-6)

  @parameterized.parameters(
    (lambda x: jnp.sin(x), "no rule for the primitive 'sin'"),
    (lambda x: (x, x), 'expected one output, got 2'),
  )
  def test_unknown_is_named(self, fn, message):
    with self.assertRaisesRegex(ValueError, message):
      linear_bounds.bounds(fn, intervals.around(_X, 0.1 + 0 * _X))


if __name__ == '__main__':
  absltest.main()
