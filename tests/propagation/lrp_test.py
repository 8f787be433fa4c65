"""Tests for `lrp.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from saliency_jax.models import convolutions
from saliency_jax.propagation import attention
from saliency_jax.propagation import composites
from saliency_jax.propagation import lrp
from tests import equivalence
from tests.propagation import networks

_zero = functools.partial(composites.epsilon, epsilon=0.0)


def _draw(*shape, seed=0):
  rng = np.random.default_rng([seed, *shape])
  scale = max(np.prod(shape[:-1]), 1) ** 0.5
  return jnp.asarray(rng.normal(size=shape) / scale, jnp.float64)


def _mlp(x, bias=0.3, activation=jax.nn.relu):
  h = activation(x @ _draw(6, 9) + bias)
  h = activation(h @ _draw(9, 5) - bias)
  return (h @ _draw(5, 3) + bias)[1]


def _batch_norm(h, bias=0.4, seed=0):
  shape = (1, 1, 1, h.shape[-1])
  mean, var = _draw(*shape, seed=seed), _draw(*shape, seed=1) ** 2
  scale = jax.lax.rsqrt(var + 1e-3) * _draw(*shape, seed=2)
  return (h - bias * mean) * scale + bias


def _resnet(x, fast=True, bias=0.4, activation=jax.nn.relu):
  conv = functools.partial(convolutions.conv, fast=fast)
  h = conv(2 * x[None] - bias, _draw(3, 3, 2, 4), strides=(2, 1)) - bias
  h = activation(_batch_norm(h, bias))
  skip = h
  h = activation(_batch_norm(conv(h, _draw(1, 1, 4, 4)), bias, 3))
  h = convolutions.depthwise_conv(h, _draw(3, 3, 4), fast=fast)
  h = checkpoint_name(activation(skip + _batch_norm(h, bias)), 'features')
  h = convolutions.max_pool(h, window=(2, 2), strides=(2, 2), fast=fast)
  return (jnp.mean(h, (1, 2)) @ _draw(4, 3) + bias)[0, 1]


class LrpTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64())

  @parameterized.named_parameters(
    ('mlp', _mlp, (6,)), ('resnet', _resnet, (8, 6, 2))
  )
  def test_without_biases_is_gradient_times_input(self, fn, shape):
    fn, x = functools.partial(fn, bias=0.0), _draw(*shape)
    got = lrp.lrp(fn, x, composite=_zero)
    want = x * jax.grad(fn)(x)
    np.testing.assert_allclose(got.scores, want, atol=1e-12)
    self.assertGreater(np.max(np.abs(want)), 1e-2)
    np.testing.assert_allclose(sum(got.info.absorbed), 0, atol=1e-12)

  @parameterized.parameters(
    *((network, composites.epsilon) for network in networks.NETWORKS),
    ('depthwise', composites.epsilon_gamma_box),
    ('vit', attention.attn_lrp),
  )
  def test_keeps_what_it_does_not_absorb(self, network, composite):
    fn, x = networks.NETWORKS[network]()
    method = functools.partial(lrp.lrp, fn, composite=composite)
    scores, info = jax.jit(method)(x)
    self.assertGreater(np.max(np.abs(scores)), 1e-3)
    whole = np.sum(scores) + sum(info.absorbed)
    np.testing.assert_allclose(whole, info.score, rtol=1e-9)
    np.testing.assert_allclose(info.score, fn(x), rtol=1e-9)
    self.assertLess(info.conservation_error, 1e-9 * abs(info.score))

  def test_biases_absorb_their_share(self):
    x, w, u, b = _draw(6), _draw(6, 9), _draw(9), _draw(9, seed=4)
    fn = lambda x: jnp.dot(jax.nn.relu(x @ w + b), u)
    scores, info = lrp.lrp(fn, x, composite=_zero)
    on = (x @ w + b > 0).astype(x.dtype)
    np.testing.assert_allclose(info.absorbed.layers, jnp.sum(on * b * u))
    np.testing.assert_allclose(scores, x * (w @ (on * u)))
    scores, info = lrp.lrp(fn, x, composite=_zero, absorb_bias=False)
    shares = on * u * (x @ w + b) / (x @ w)
    np.testing.assert_allclose(scores, x * (w @ shares))
    np.testing.assert_allclose(info.absorbed.layers, 0, atol=1e-12)

  def test_epsilon_is_relative(self):
    got = [
      lrp.lrp(
        lambda x, s=s: s * _mlp(x),
        _draw(6),
        composite=functools.partial(composites.epsilon, epsilon=0.1),
      ).scores
      for s in (1.0, 1e3)
    ]
    np.testing.assert_allclose(got[1], 1e3 * got[0], rtol=1e-9)

  @parameterized.parameters(
    jax.nn.relu,
    jax.nn.relu6,
    jax.nn.leaky_relu,
    jax.nn.elu,
    jax.nn.gelu,
    functools.partial(jax.nn.gelu, approximate=False),
    jax.nn.silu,
    jax.nn.softplus,
    jax.nn.sigmoid,
    jax.nn.hard_swish,
    jax.nn.mish,
    jnp.tanh,
    lambda z: jnp.clip(z, -1, 1),
    lambda z: jax.lax.max(z, jnp.zeros(())),
    lambda z: jnp.where(z > 0, z, 0),
    lambda z: jax.lax.select(z > 0, z, jnp.zeros_like(z)),
    lambda z: z * (z > 0).astype(z.dtype),
    lambda z: jnp.where(0 < z, 1.5 * z, jnp.exp(z) - z),
  )
  def test_activations_pass(self, activation):
    x, w, u = _draw(6), _draw(6, 9), _draw(9)
    fn = lambda x: jnp.dot(activation(2 * (x @ w) + 0.1), u)
    z = 2 * x @ w
    got = lrp.lrp(fn, x, composite=_zero).scores
    shares = activation(z + 0.1) * u / (z + 0.1)
    np.testing.assert_allclose(got, 2 * x * (w @ shares), rtol=1e-9)

  @parameterized.parameters(
    lambda h: convolutions.max_pool(
      h, window=(2, 2), strides=(2, 2), fast=False
    ),
    lambda h: convolutions.max_pool(h, window=(2, 2), strides=(2, 2)),
    lambda h: jnp.max(h.reshape(1, 3, 2, 2, 2, 2), (2, 4)),
    lambda h: (
      -jax.lax.reduce_window(
        -h, jnp.inf, jax.lax.min, (1, 2, 2, 1), (1, 2, 2, 1), 'VALID'
      )
    ),
  )
  def test_max_pools_give_to_the_winner(self, pool):
    x, u = _draw(1, 6, 4, 2), _draw(3, 2, 2)
    got = lrp.lrp(
      lambda x: jnp.sum(pool(x) * u[None]), x, composite=_zero
    ).scores
    blocks = np.asarray(x).reshape(3, 2, 2, 2, 2)
    top = blocks.max((1, 3), keepdims=True)
    want = np.where(blocks == top, top * u[:, None, :, None], 0)
    np.testing.assert_allclose(got, want.reshape(x.shape), rtol=1e-12)

  @parameterized.parameters(
    composites.epsilon_plus, composites.epsilon_gamma_box
  )
  def test_convolutions_agree(self, composite):
    x = _draw(8, 6, 2)
    scores = [
      jax.jit(
        functools.partial(
          lrp.lrp, functools.partial(_resnet, fast=fast), composite=composite
        )
      )(x).scores
      for fast in (True, False)
    ]
    np.testing.assert_allclose(*scores, rtol=1e-9, atol=1e-12)

  @parameterized.parameters(
    composites.epsilon, composites.epsilon_plus, composites.epsilon_gamma_box
  )
  def test_batch_norm_is_folded(self, composite):
    # The same network with the scale and the shift in the convolution.
    x, k = _draw(6, 5, 2), _draw(3, 3, 2, 4)
    s, t = _draw(1, 1, 1, 4) + 1, _draw(1, 1, 1, 4, seed=1)
    u = _draw(4, seed=3)
    head = lambda h: jnp.dot(jnp.mean(jax.nn.relu(h), (0, 1, 2)), u)
    apart = lambda x: head((convolutions.conv(x[None], k) - 0.5) * s + t)
    folded = lambda x: head(convolutions.conv(x[None], k * s) + t - 0.5 * s)
    explain = functools.partial(lrp.lrp, x=x, composite=composite)
    want = explain(folded).scores
    np.testing.assert_allclose(explain(apart).scores, want, rtol=1e-9)
    alone = explain(apart, merge=False).scores
    # Without a bias in the convolution `epsilon` is the same either way.
    moved = np.max(np.abs(alone - want))
    self.assertEqual(moved > 1e-3, composite is not composites.epsilon)

  def test_relevance_at_a_tap(self):
    x = _draw(8, 6, 2)
    scores, info = lrp.lrp(_resnet, x, at='features')
    self.assertEqual(scores.shape, (1, 4, 6, 4))
    np.testing.assert_allclose(info.around, 0)
    whole = jnp.sum(scores) + sum(info.absorbed)
    np.testing.assert_allclose(whole, info.score, rtol=1e-9)
    # There are ways around this one.
    fn = lambda x: jnp.sum(checkpoint_name(jax.nn.relu(x), 'h') + x)
    scores, info = lrp.lrp(fn, x, at='h', composite=_zero)
    np.testing.assert_allclose(scores, jax.nn.relu(x), rtol=1e-9)
    np.testing.assert_allclose(info.around, jnp.sum(x))
    with self.assertRaisesRegex(ValueError, "one value named 'g', found 0"):
      lrp.lrp(fn, x, at='g')

  def test_composites_see_depth_and_tap(self):
    seen = []

    def composite(place):
      if composites.is_layer(place):
        seen.append((place.depth, place.tap, composites.is_convolution(place)))
      return composites.epsilon(place)

    explain = functools.partial(lrp.lrp, _resnet, composite=composite)
    jax.eval_shape(explain, _draw(8, 6, 2))
    self.assertEqual(
      list(dict.fromkeys(seen[::-1])),
      [
        (3, 'features', False),
        (2, None, True),
        (1, None, True),
        (0, None, True),
      ][::-1],
    )

  def test_of_a_pytree(self):
    x = {'a': _draw(4), 'b': (_draw(3), jnp.ones(2))}
    w = _draw(7)
    fn = lambda x: jnp.dot(jnp.concatenate([x['a'], x['b'][0]]), w)
    scores, _ = lrp.lrp(fn, x, composite=_zero)
    np.testing.assert_allclose(scores['a'], x['a'] * w[:4])
    np.testing.assert_allclose(scores['b'][0], x['b'][0] * w[4:])
    np.testing.assert_array_equal(scores['b'][1], 0)

  @parameterized.parameters(
    (lambda x: jnp.sum(jnp.sort(x)), r"relevances have no rule .*'sort'"),
    (
      lambda x: jax.lax.scan(lambda c, _: (c * x, c), x, length=33)[0][0],
      r"relevances have no rule .*'scan' \(control flow\) at .*lrp_test.py"
      '.*of 33 steps: pass unroll=33',
    ),
    (lambda x: x, r'expected a score of one number, got \(6,\)'),
  )
  def test_refuses(self, fn, message):
    with self.assertRaisesRegex(ValueError, message):
      lrp.lrp(fn, _draw(6))
    with self.assertRaisesRegex(ValueError, "a function.* got 'epsilon'"):
      lrp.lrp.__wrapped__(jnp.sum, _draw(6), composite='epsilon')
    for made in (composites.epsilon, attention.cp_lrp):
      with self.assertRaisesRegex(ValueError, r'got 0.1: .*functools.partial'):
        made.__wrapped__(0.1)
    with self.assertRaisesRegex(ValueError, r'transforms.at_tap\(method, "emb'):
      lrp.lrp(jnp.sum, jnp.arange(3), at='embeddings')


class LrpEquivalenceTest(parameterized.TestCase):
  def test_equivalence(self):
    equivalence.check(self, lrp.lrp, dtypes=equivalence.ALL_DTYPES)


if __name__ == '__main__':
  absltest.main()
