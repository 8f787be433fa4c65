"""Tests for `convolutions.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.models import convolutions


def setUpModule():
  jax.config.update('jax_enable_x64', True)


def tearDownModule():
  jax.config.update('jax_enable_x64', False)


def _data(window):
  # Odd and even sides: 'SAME' pads them differently at stride 2.
  x = jax.random.normal(jax.random.key(0), (2, 8, 9, 3), jnp.float64)
  k = jax.random.normal(jax.random.key(1), (window, window, 3), jnp.float64)
  return x, k


def _score(conv):
  return lambda x, k: jnp.sum(jnp.sin(conv(x, k)))


def _grad(f):
  return jax.grad(f, (0, 1))


def _norm(f):
  """A number made of both gradients, to be differentiated once more."""
  return lambda *a: sum(jnp.sum(jnp.sin(g)) for g in _grad(f)(*a))


def _push(f):
  """The derivative along a direction that depends on the point."""
  return lambda *a: jax.jvp(f, a, tuple(jnp.cos(b) for b in a))[1]


_TRANSFORMS = dict(
  forward=lambda f: f,
  grad=_grad,
  jvp=_push,
  grad_of_grad=lambda f: _grad(_norm(f)),
  jvp_of_grad=lambda f: _push(_grad(f)),
  grad_of_jvp=lambda f: _grad(_push(f)),
)


class DepthwiseConvTest(parameterized.TestCase):
  @parameterized.parameters(
    (1, 3, 'SAME'),
    (2, 3, 'SAME'),
    (1, 5, 'SAME'),
    (2, 5, 'SAME'),
    (2, 3, 'VALID'),
  )
  def test_matches_xla(self, stride, window, padding):
    x, k = _data(window)

    @functools.partial(jax.jit, static_argnums=2)
    def all_orders(x, k, fast):
      conv = functools.partial(
        convolutions.depthwise_conv,
        strides=(stride, stride),
        padding=padding,
        fast=fast,
      )
      return {n: t(_score(conv))(x, k) for n, t in _TRANSFORMS.items()}

    jax.tree.map(
      functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9),
      all_orders(x, k, True),
      all_orders(x, k, False),
    )

  @parameterized.parameters(1, 2)
  def test_matches_loop(self, stride):
    x, k = _data(3)
    out = convolutions.depthwise_conv(
      x, k, strides=(stride, stride), padding='VALID'
    )
    for i in range(out.shape[1]):
      for j in range(out.shape[2]):
        a, b = stride * i, stride * j
        want = np.sum(x[:, a : a + 3, b : b + 3] * k[None], (1, 2))
        np.testing.assert_allclose(out[:, i, j], want, rtol=1e-12, atol=1e-12)

  @parameterized.product(stride=(1, 2), axes=((0, None), (None, 0), (0, 0)))
  def test_vmap_matches_loop(self, stride, axes):
    x, k = _data(3)
    xs = jnp.stack([x, 2 * x]) if axes[0] == 0 else x
    ks = jnp.stack([k, k**2]) if axes[1] == 0 else k
    conv = functools.partial(
      convolutions.depthwise_conv, strides=(stride, stride)
    )
    hessian_product = _push(_grad(_score(conv)))
    hessian_product = jax.jit(hessian_product)
    got = jax.vmap(hessian_product, axes)(xs, ks)
    for i in range(2):
      want = hessian_product(
        xs[i] if axes[0] == 0 else x, ks[i] if axes[1] == 0 else k
      )
      jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9),
        jax.tree.map(lambda a, i=i: a[i], got),
        want,
      )

  def test_vmap_fuses_a_batch_into_one_call(self):
    x, k = _data(3)
    f = lambda x: convolutions.depthwise_conv(x[None], k)[0]
    shapes = [
      e.outvars[0].aval.shape
      for e in jax.make_jaxpr(jax.vmap(f))(x).eqns
      if e.primitive.name == 'depthwise_conv_conv'
    ]
    self.assertEqual(shapes, [x.shape])

  @parameterized.parameters(True, False)
  def test_lowers_to_slices_on_cpu_alone(self, cpu):
    x, k = _data(3)
    traced = jax.jit(convolutions.depthwise_conv).trace(x, k)
    platform = 'cpu' if cpu else 'cuda'
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    self.assertEqual('stablehlo.convolution' in text, not cpu)
    self.assertEqual('stablehlo.slice' in text, cpu)

  def test_linear_transpose(self):
    x, k = _data(5)
    f = functools.partial(convolutions.depthwise_conv, kernel=k, strides=(2, 2))
    y = jnp.cos(f(x))
    (back,) = jax.linear_transpose(f, x)(y)
    np.testing.assert_allclose(jnp.sum(back * x), jnp.sum(y * f(x)), rtol=1e-12)

  def test_sharded_over_devices(self):
    x, k = _data(3)
    mesh = jax.make_mesh(
      (2,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
    )
    f = lambda x: jax.grad(_score(convolutions.depthwise_conv))(x, k)
    sharded = jax.shard_map(
      f,
      mesh=mesh,
      in_specs=jax.P('data'),
      out_specs=jax.P('data'),
      check_vma=False,
    )
    np.testing.assert_allclose(jax.jit(sharded)(x), f(x), rtol=1e-12)


class ConvTest(parameterized.TestCase):
  @parameterized.parameters(
    ((1, 1), 1, 'SAME'),
    ((1, 1), 2, 'SAME'),
    ((3, 3), 1, 'SAME'),
    ((3, 3), 2, 'SAME'),
    ((3, 2), 2, 'VALID'),
  )
  def test_fast_matches_plain(self, window, stride, padding):
    orders = ('forward', 'grad_of_grad', 'jvp_of_grad')
    x, _ = _data(3)
    k = jax.random.normal(jax.random.key(2), (*window, 3, 4), jnp.float64)

    @functools.partial(jax.jit, static_argnums=2)
    def all_orders(x, k, fast):
      conv = functools.partial(
        convolutions.conv,
        strides=(stride, stride),
        padding=padding,
        fast=fast,
      )
      return [_TRANSFORMS[t](_score(conv))(x, k) for t in orders]

    jax.tree.map(
      functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9),
      all_orders(x, k, True),
      all_orders(x, k, False),
    )

  @parameterized.parameters((1, 'SAME'), (2, 'SAME'), (2, 'VALID'))
  def test_gradient_is_a_convolution_by_the_kernel_turned_around(
    self, stride, padding
  ):
    # In the body of a loop XLA's CPU backend has fast kernels for no other.
    x, _ = _data(3)
    k = jax.random.normal(jax.random.key(2), (3, 3, 3, 4), jnp.float64)
    conv = functools.partial(
      convolutions.conv, strides=(stride, stride), padding=padding
    )
    text = jax.jit(jax.grad(_score(conv))).lower(x, k).as_text()
    self.assertEqual(text.count('x[0, 1, i, o]->'), 2)
    self.assertEqual(text.count('stablehlo.convolution'), 2)


class MaxPoolTest(parameterized.TestCase):
  @parameterized.parameters(
    ((3, 3), (2, 2)), ((2, 2), (2, 2)), ((2, 3), (1, 2))
  )
  def test_fast_matches_plain(self, window, strides):
    x, _ = _data(3)

    @functools.partial(jax.jit, static_argnums=1)
    def all_orders(x, fast):
      pool = functools.partial(
        convolutions.max_pool, window=window, strides=strides, fast=fast
      )
      score = lambda x: jnp.sum(jnp.sin(pool(x)))
      return pool(x), jax.grad(score)(x), jax.hessian(score)(x)

    got, want = all_orders(x, True), all_orders(x, False)
    np.testing.assert_array_equal(got[0], want[0])
    for a, b in zip(got[1:], want[1:], strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-12)

  @parameterized.parameters(((0, 0),), ((1, 1),), ((0, 1),))
  def test_first_of_ties_has_the_gradient(self, padding):
    # Whole numbers: most windows tie.
    x = jax.random.randint(jax.random.key(0), (2, 9, 8, 3), 0, 3)
    x = x.astype(jnp.float64)
    weights = jnp.cos(jnp.arange(150.0)).reshape(2, 5, 5, 3)

    @functools.partial(jax.jit, static_argnums=1)
    def grad(x, fast):
      pool = functools.partial(
        convolutions.max_pool,
        window=(3, 3),
        strides=(2, 2),
        padding=(padding, padding),
        fast=fast,
      )

      def score(x):
        y = pool(x)
        return jnp.sum(y * weights[:, : y.shape[1], : y.shape[2]])

      return pool(x), jax.grad(score)(x)

    got, want = grad(x, True), grad(x, False)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_allclose(got[1], want[1], rtol=1e-12)


if __name__ == '__main__':
  absltest.main()
