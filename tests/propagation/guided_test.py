"""Tests for `guided.py`, and for `activations.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
from flax import linen
from flax import nnx
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from saliency_jax import models
from saliency_jax import scores
from saliency_jax.models import convolutions
from saliency_jax.models import layers
from saliency_jax.propagation import guided
from tests import equivalence
from tests import networks

_METHODS = {'guided': guided.guided_backprop, 'deconvnet': guided.deconvnet}


def _draw(*shape, seed=0):
  rng = np.random.default_rng([seed, *shape])
  return rng.normal(size=shape)


def _same(got, want):
  scale = np.max(np.abs(want))
  assert scale > 0
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * scale)


def _reference(layers, x, masked):
  """Goes forward and back through layers, as the papers write it.

  Args:
    layers: `('linear', W, b)`, `('relu',)`, or `('pool', groups)`, which takes
      the largest of each group of entries; the last has one output.
    x: a vector.
    masked: whether the forward mask of a ReLU counts.
  """
  values = [x]
  for name, *rest in layers:
    z = values[-1]
    if name == 'linear':
      values.append(rest[0] @ z + rest[1])
    elif name == 'relu':
      values.append(np.where(z > 0, z, 0))
    else:
      values.append(np.array([z[group].max() for group in rest[0]]))
  back = np.ones(1)
  for (name, *rest), z in reversed(list(zip(layers, values[:-1], strict=True))):
    if name == 'linear':
      back = rest[0].T @ back
    elif name == 'relu':
      back = np.maximum(back, 0) * ((z > 0) if masked else 1)
    else:
      given = np.zeros_like(z)
      for group, r in zip(rest[0], back, strict=True):
        given[group[np.argmax(z[group])]] += r
      back = given
  return back


def _conv_matrix(kernel, side):
  """Returns the matrix of a convolution without padding, of stride 1."""
  a, _, c, d = kernel.shape
  out = side - a + 1
  matrix = np.zeros((out, out, d, side, side, c))
  for i in range(out):
    for j in range(out):
      matrix[i, j, :, i : i + a, j : j + a] = np.moveaxis(kernel, -1, 0)
  return matrix.reshape(out * out * d, side * side * c)


def _mlp(x):
  h = jax.nn.relu(_draw(9, 6) @ x + 1)
  h = jax.nn.relu(_draw(5, 9) @ h - 0.3)
  return (_draw(1, 5, seed=1) @ h)[0]


_MLP = [
  ('linear', _draw(9, 6), 1.0),
  ('relu',),
  ('linear', _draw(5, 9), -0.3),
  ('relu',),
  ('linear', _draw(1, 5, seed=1), 0.0),
]


def _cnn(x, fast=True, pool=convolutions.max_pool):
  conv = functools.partial(convolutions.conv, fast=fast, padding='VALID')
  h = jax.nn.relu(
    conv(jnp.asarray(x).reshape(1, 8, 8, 2), jnp.asarray(_draw(3, 3, 2, 4)))
  )
  h = pool(h, window=(2, 2), strides=(2, 2), fast=fast)
  h = jax.nn.relu(conv(h, jnp.asarray(_draw(2, 2, 4, 3))) + 0.1)
  return h.reshape(-1) @ _draw(12)


_POOLED = [
  [((2 * i + a) * 6 + 2 * j + b) * 4 + c for a in (0, 1) for b in (0, 1)]
  for i in range(3)
  for j in range(3)
  for c in range(4)
]
_CNN = [
  ('linear', _conv_matrix(_draw(3, 3, 2, 4), 8), 0.0),
  ('relu',),
  ('pool', np.array(_POOLED)),
  ('linear', _conv_matrix(_draw(2, 2, 4, 3), 3), 0.1),
  ('relu',),
  ('linear', _draw(12)[None], 0.0),
]


def _pool_by_reshape(h, *, window, strides, fast):
  del window, strides, fast
  return jnp.max(h.reshape(1, 3, 2, 3, 2, 4), (2, 4))


# Two rectifiers that are written in many ways, and their open ranges.
_RELU = {
  'relu': jax.nn.relu,
  'maximum': lambda z: jnp.maximum(0, z),
  'where': lambda z: jnp.where(z > 0, z, 0),
  'where_not': lambda z: jnp.where(z <= 0, 0.0, z),
  'mask': lambda z: (z > 0).astype(z.dtype) * z,
}
_RELU6 = {
  'relu6': jax.nn.relu6,
  'clip': lambda z: jnp.clip(z, 0, 6),
  'clamp': layers.relu6,
  'select': lambda z: jnp.where(z >= 6, 6.0, jnp.where(z <= 0, 0.0, z)),
}
_SMOOTH = {
  'gelu': jax.nn.gelu,
  'exact_gelu': functools.partial(jax.nn.gelu, approximate=False),
  'silu': jax.nn.silu,
  'elu': jax.nn.elu,
  'softplus': jax.nn.softplus,
  'sigmoid': jax.nn.sigmoid,
  'tanh': jnp.tanh,
  'mish': jax.nn.mish,
  'hard_swish': jax.nn.hard_swish,
}


class GuidedTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64())

  @parameterized.product(method=tuple(_METHODS), network=('mlp', 'cnn'))
  def test_as_the_papers_write_it(self, method, network):
    fn, plan, size = {'mlp': (_mlp, _MLP, 6), 'cnn': (_cnn, _CNN, 128)}[network]
    x = _draw(size, seed=1)
    out = jax.jit(functools.partial(_METHODS[method], fn))(x)
    _same(out.scores, _reference(plan, x, masked=method == 'guided'))
    np.testing.assert_allclose(out.info.score, fn(x))
    self.assertEqual(out.info.num_rectifiers, 2)

  @parameterized.named_parameters(*_METHODS.items())
  def test_without_rectifiers_is_the_gradient(self, method):
    # A norm is none, and neither is a product of two factors, or a max-pool.
    def fn(x):
      h = jax.nn.standardize(_draw(9, 6) @ x)
      return jnp.max(h[:4] * h[4:8]) + jnp.linalg.norm(x) * x[0]

    x = _draw(6, seed=1)
    out = method(fn, x)
    _same(out.scores, jax.grad(fn)(x))
    self.assertEqual(out.info.num_rectifiers, 0)

  @parameterized.parameters((_RELU, (0, 1)), (_RELU6, (0, 1, 5)))
  def test_a_rectifier_however_it_is_written(self, ways, shut):
    z, r = np.array([-1, 0, 0.5, 2, 5, 7]), np.array([3.0, 2, -1, 4, 5, 6])
    positive = np.array([3.0, 2, 0, 4, 5, 6])
    masked = positive.copy()
    masked[list(shut)] = 0

    @jax.jit
    def explain(z):
      return {
        way: [m(lambda z, f=f: f(z) @ r, z) for m in _METHODS.values()]
        for way, f in ways.items()
      }

    for way, (by_guided, by_deconvnet) in explain(z).items():
      np.testing.assert_array_equal(by_guided.scores, masked, way)
      np.testing.assert_array_equal(by_deconvnet.scores, positive, way)
      self.assertGreater(by_guided.info.num_rectifiers, 0, way)

  def test_leaky_relu_keeps_its_slope(self):
    z, r = np.array([-1.0, -2, 3, 4]), np.array([1.0, -1, 1, -1])
    out = guided.guided_backprop(lambda z: jax.nn.leaky_relu(z, 0.1) @ r, z)
    np.testing.assert_allclose(out.scores, [0.1, 0, 1, 0])

  def test_a_skip_is_no_part_of_a_rectifier(self):
    z, r = np.array([-1.0, -2, 3, 4]), np.array([1.0, -1, 1, -1])
    out = guided.guided_backprop(lambda z: (z + jax.nn.relu(z)) @ r, z)
    np.testing.assert_allclose(out.scores, [1, -1, 2, -1])

  def test_rectifiers_repeat_what_they_read(self):
    z, low = np.array([[1.0], [-1.0]]), np.array([[0.0, 0.5, 2.0]] * 2)
    fn = lambda z: jnp.sum(jnp.maximum(z, low))
    np.testing.assert_allclose(guided.guided_backprop(fn, z).scores, [[2], [0]])
    np.testing.assert_allclose(guided.deconvnet(fn, z).scores, [[3], [3]])

  @parameterized.named_parameters(*_METHODS.items())
  def test_smooth_activations_are_refused_or_asked_for(self, method):
    z, r = np.array([-1.0, 0.5, 2]), np.array([2.0, -1, 3])
    explain_one = lambda f, z: method(
      lambda z: f(z) @ r, z, smooth='derivative'
    )

    @jax.jit
    def explain(z):
      return {
        name: (explain_one(f, z), _slope(f, z)) for name, f in _SMOOTH.items()
      }

    for name, (out, slope) in explain(z).items():
      np.testing.assert_allclose(
        out.scores, np.maximum(r, 0) * slope, atol=1e-12, err_msg=name
      )
      self.assertEqual(out.info.num_smooth, 1, name)
      with self.assertRaisesRegex(
        ValueError, r'guided_test.py:\d+.*smooth activation \(.*"derivative"'
      ):
        equivalence.traced(method)(lambda z, n=name: _SMOOTH[n](z) @ r, z)

  def test_softmax(self):
    z, r = np.array([-1.0, 0.5, 2]), np.array([2.0, -1, 3])
    fn = lambda z: jax.nn.softmax(z) @ r
    with self.assertRaisesRegex(ValueError, 'explain a logit'):
      guided.guided_backprop(fn, z)
    out = guided.guided_backprop(fn, z, smooth='derivative')
    want = jax.grad(lambda z: jax.nn.softmax(z) @ np.maximum(r, 0))(z)
    np.testing.assert_allclose(out.scores, want, atol=1e-12)

  @parameterized.named_parameters(
    ('lax', functools.partial(_cnn, fast=False)),
    ('reshape', functools.partial(_cnn, pool=_pool_by_reshape)),
  )
  def test_convolutions_and_pools_agree(self, fn):
    # Behind a shut ReLU all of a window is the largest; the first one wins.
    x = _draw(128, seed=1)
    explain = jax.jit(
      lambda fn, x: guided.deconvnet(fn, x).scores, static_argnums=0
    )
    _same(explain(fn, x), _reference(_CNN, x, masked=False))

  def test_at_a_tap_and_pytrees(self):
    def fn(x):
      h = checkpoint_name(jax.nn.relu(_draw(9, 6) @ x['a'] + x['b']), 'h')
      return _draw(9, seed=2) @ jax.nn.relu(h - 0.2) + x['b'][0]

    x = {'a': _draw(6, seed=1), 'b': _draw(9, seed=1)}
    h = np.maximum(_draw(9, 6) @ x['a'] + x['b'], 0)
    at_h = (h > 0.2) * np.maximum(_draw(9, seed=2), 0)
    _same(guided.guided_backprop(fn, x, at='h').scores, at_h)
    got = guided.guided_backprop(fn, x).scores
    _same(got['a'], _draw(9, 6).T @ at_h)
    _same(got['b'], at_h + np.eye(9)[0])
    with self.assertRaisesRegex(ValueError, "named 'g', found 0"):
      guided.guided_backprop(fn, x, at='g')

  def test_refused(self):
    loop = lambda x: jax.lax.fori_loop(0, 3, lambda i, c: 2 * c, jnp.sum(x))
    with self.assertRaisesRegex(ValueError, 'guided .*scans are not entered'):
      guided.guided_backprop(loop, np.ones(3))
    with self.assertRaisesRegex(ValueError, "or 'derivative', got 'tanh'"):
      guided.guided_backprop(jnp.sum, np.ones(3), smooth='tanh')

  def test_nnx_linen_and_plain_code_agree(self):
    class Nnx(nnx.Module):
      def __init__(self, rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dense = nnx.Linear(4, 3, rngs=rngs)

      def __call__(self, x):
        h = nnx.relu(self.norm(self.conv(x)))
        h = nnx.max_pool(h, (2, 2), (2, 2))
        return self.dense(h.mean((1, 2)))

    class Linen(linen.Module):
      @linen.compact
      def __call__(self, x):
        h = linen.BatchNorm(use_running_average=True)(linen.Conv(4, (3, 3))(x))
        h = linen.max_pool(linen.relu(h), (2, 2), (2, 2))
        return linen.Dense(3)(h.mean((1, 2)))

    spec = models.Spec('mine', (6, 6, 2))
    module = Nnx(nnx.Rngs(0))
    p = jax.tree.map(lambda v: v[...], nnx.to_pure_dict(nnx.state(module)))
    by_nnx = models.from_nnx(module, spec)
    variables = {
      'params': {
        'Conv_0': p['conv'],
        'Dense_0': p['dense'],
        'BatchNorm_0': {k: p['norm'][k] for k in ('scale', 'bias')},
      },
      'batch_stats': {
        'BatchNorm_0': {k: p['norm'][k] for k in ('mean', 'var')}
      },
    }
    by_linen = models.from_linen(Linen(), variables, spec)

    def plain(p, x):
      h = jax.lax.conv_general_dilated(
        x[None],
        p['conv']['kernel'],
        (1, 1),
        'SAME',
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      )
      h = h + p['conv']['bias'][None, None, None]
      h = jnp.maximum(h / np.float32(1 + 1e-5) ** 0.5, 0)
      h = jnp.max(h.reshape(3, 2, 3, 2, 4), (1, 3))
      return jnp.mean(h, (0, 1)) @ p['dense']['kernel'] + p['dense']['bias']

    x = _draw(6, 6, 2).astype(np.float32)
    first, *others = (
      guided.guided_backprop(scores.logit(apply, params, 1), x).scores
      for apply, params in (
        (plain, p),
        (by_nnx.apply, by_nnx.params),
        (by_linen.apply, by_linen.params),
      )
    )
    for other in others:
      np.testing.assert_allclose(other, first, atol=1e-6)

  @parameterized.parameters(
    ('squeezenet', jax.nn.relu, 17), ('efficientnet_lite0', layers.relu6, 33)
  )
  def test_published_networks(self, name, activation, num_rectifiers):
    # The same maps by an activation with the derivative of guided maps.
    own = jax.custom_vjp(activation)
    own.defvjp(
      lambda z: jax.vjp(activation, z),
      lambda pullback, r: pullback(jnp.maximum(r, 0)),
    )
    load = functools.partial(networks.shrunk, name, dtype=np.float64)
    model, twin = load(), load(activation=own)
    x = np.random.default_rng(0).uniform(size=model.spec.input_shape)

    @jax.jit
    def explain(params, x):
      gradient = jax.grad(scores.logit(twin.apply, params, 7))
      fn = scores.logit(model.apply, params, 7)
      return guided.guided_backprop(fn, x), gradient(x)

    out, want = explain(model.params, x)
    _same(out.scores, want)
    self.assertEqual(out.info.num_rectifiers, num_rectifiers)


class EquivalenceTest(parameterized.TestCase):
  @parameterized.named_parameters(*_METHODS.items())
  def test_equivalence(self, method):
    equivalence.check(
      self,
      functools.partial(method, smooth='derivative'),
      dtypes=equivalence.ALL_DTYPES,
    )


def _slope(f, z):
  return jax.grad(lambda z: jnp.sum(f(z)))(z)


if __name__ == '__main__':
  absltest.main()
