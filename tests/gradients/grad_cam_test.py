"""Tests for `grad_cam.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from saliency_jax import taps
from saliency_jax.gradients import grad_cam
from tests import equivalence

METHODS = (grad_cam.grad_cam, grad_cam.grad_cam_pp)


def _layer(x):
  """Two channels of half the size: the halves' means, and their squares."""
  h, w, c = x.shape
  pooled = x.reshape(h // 2, 2, w // 2, 2, c).mean((1, 3, 4))
  return jnp.stack([pooled, pooled**2], -1)


def _fn(x):
  features = checkpoint_name(_layer(x), 'features')
  # A CAM network: global average pooling and a linear layer.
  return jnp.mean(features, (0, 1)) @ jnp.array([3.0, -2.0]) + 1


class GradCamTest(parameterized.TestCase):
  def test_of_a_cam_network(self):
    x = jax.random.uniform(jax.random.key(0), (8, 12, 3))
    out = grad_cam.grad_cam(_fn, x)
    layer = np.asarray(_layer(x))
    # alpha_k = w_k / hw, and the raw map sums to the score less its bias.
    raw = (layer @ np.array([3.0, -2.0])) / 24
    np.testing.assert_allclose(out.info.raw, raw, rtol=1e-5)
    np.testing.assert_allclose(raw.sum(), out.info.score - 1, rtol=1e-5)
    want = jax.image.resize(jnp.maximum(out.info.raw, 0), (8, 12), 'bilinear')
    np.testing.assert_array_equal(out.scores[..., 0], want)

  def test_grad_cam_pp_loop(self):
    x = jax.random.uniform(jax.random.key(0), (8, 12, 3)) - 0.3
    layer = np.asarray(_layer(x), np.float64)
    score = lambda a: (
      jnp.sum(a[..., 0] * a[..., 1]) - 0.2 * jnp.sum(a[..., 1] ** 2)
    )
    fn = lambda x: score(checkpoint_name(_layer(x), 'features'))
    grad = np.asarray(jax.grad(score)(_layer(x)), np.float64)
    raw = np.zeros(layer.shape[:2])
    for k in range(2):
      a, g = layer[..., k], grad[..., k]
      # Equation 19, with Y = exp(score), whose derivatives are powers of g.
      alpha = g**2 / (2 * g**2 + a.sum() * g**3)
      raw += (alpha * np.maximum(g, 0)).sum() * a
    out = grad_cam.grad_cam_pp(fn, x)
    np.testing.assert_allclose(out.info.raw, raw, rtol=1e-3)

  def test_activation(self):
    x = jax.random.uniform(jax.random.key(0), (8, 12, 3)) * 2 - 1
    out = grad_cam.grad_cam(_fn, x)
    signed = grad_cam.grad_cam(_fn, x, activation=lambda a: a)
    self.assertGreaterEqual(jnp.min(out.scores), 0)
    self.assertLess(jnp.min(signed.scores), 0)
    self.assertEqual(signed.info.discarded, 0)
    raw = np.asarray(out.info.raw)
    np.testing.assert_allclose(
      out.info.discarded, np.abs(raw[raw < 0]).sum() / np.abs(raw).sum(), 1e-5
    )

  @parameterized.parameters(*METHODS)
  def test_equivalence(self, method):
    equivalence.check(self, method)

  @parameterized.parameters(*METHODS)
  def test_zero_gradient(self, method):
    out = method(
      lambda x: 0 * jnp.sum(checkpoint_name(_layer(x), 'features')),
      jnp.ones((6, 6, 1)),
    )
    np.testing.assert_array_equal(out.scores, 0)
    self.assertEqual(out.info.discarded, 0)

  @parameterized.parameters(*METHODS)
  def test_bad_arguments(self, method):
    x = jnp.ones((8, 12, 3))
    with self.assertRaisesRegex(
      ValueError,
      r"'conv9', found 0.*'features'.*h = jax.*checkpoint_name\(h, 'conv9'\)",
    ):
      method(_fn, x, name='conv9')
    with self.assertRaisesRegex(ValueError, r'channels first: pass jnp.moveax'):
      method(_fn, jnp.ones((3, 8, 12)))
    with self.assertRaisesRegex(ValueError, r"makes \(288,\) of 'features'"):
      method(_fn, x, layout=lambda a: jnp.ones(288))
    with self.assertRaisesRegex(
      ValueError, r"'flat' to be .*K\], got \(288,\)"
    ):
      method(
        lambda x: jnp.sum(checkpoint_name(x.ravel(), 'flat')), x, name='flat'
      )

  @parameterized.parameters(*METHODS)
  def test_layer_in_a_batch_of_one(self, method):
    x = jax.random.uniform(jax.random.key(0), (8, 12, 3))

    def batched(x):
      features = checkpoint_name(_layer(x)[None], 'features')
      return jnp.mean(features, (0, 1, 2)) @ jnp.array([3.0, -2.0]) + 1

    equivalence.assert_close(method(batched, x), method(_fn, x))
    with self.assertRaisesRegex(ValueError, r'got \(2, 8, 12, 3\)'):
      method(
        lambda x: jnp.sum(checkpoint_name(jnp.stack([x, x]), 'features')), x
      )

  @parameterized.parameters(*METHODS)
  def test_channels_first(self, method):
    x = jax.random.uniform(jax.random.key(0), (8, 12, 3))
    want = method(_fn, x)
    for axes in ((2, 0, 1), (None, 2, 0, 1)):

      def fn(x, axes=axes):
        layer = _layer(x).transpose(2, 0, 1)
        layer = checkpoint_name(layer[None] if None in axes else layer, 'first')
        return jnp.mean(layer, (-2, -1)).ravel() @ jnp.array([3.0, -2.0]) + 1

      read = functools.partial(method, fn, x, name='first')
      equivalence.assert_close(read(layout=taps.channels_first), want)
      with self.assertRaisesRegex(ValueError, 'layout=taps.channels_first'):
        read()

  @parameterized.parameters(*METHODS)
  def test_tokens(self, method):
    # Patches of 2 x 2 pixels after a class token, as a network for batches has
    # them: the map is that of the patches where they lie.
    x = jax.random.uniform(jax.random.key(0), (8, 12, 3))

    def tokens(x):
      return jnp.concatenate([jnp.ones((1, 2)), _layer(x).reshape(24, 2)])

    def fn(x):
      named = checkpoint_name(tokens(x)[None], 'tokens')[0]
      return jnp.mean(named[1:], 0) @ jnp.array([3.0, -2.0]) + 1

    read = functools.partial(method, fn, x, name='tokens')
    got = read(layout=functools.partial(taps.grid, shape=(4, 6), skip=1))
    equivalence.assert_close(got, method(_fn, x))
    with self.assertRaisesRegex(
      ValueError, r'tokens \[N, K\]: .*taps.grid, shape=\(4, 6\), skip=1'
    ):
      read()
    with self.assertRaisesRegex(ValueError, r'24 tokens, got 25 tokens'):
      read(layout=functools.partial(taps.grid, shape=(4, 6)))

  @parameterized.parameters(
    # Layer, image, what it may be.
    ((8, 16, 16), (16, 16, 3), r'\[K, h, w\]'),
    ((512, 7, 7), (224, 224, 3), r'\[K, h, w\]'),
    ((1, 512, 7, 7), (224, 224, 3), r'\[K, h, w\]'),
    ((7, 7, 7), (224, 224, 3), r'\[K, h, w\]'),
    ((197, 768), (224, 224, 3), r'shape=\(14, 14\), skip=1'),
    ((1, 196, 768), (224, 224, 3), r'shape=\(14, 14\), skip=0'),
    ((1, 1, 197, 768), (224, 224, 3), r'tokens'),
    ((1, 200, 768), (224, 224, 3), r'shape=\(rows, columns\)'),
  )
  def test_layouts_in_doubt(self, layer, image, message):
    def fn(x):
      return jnp.sum(checkpoint_name(jnp.sum(x) * jnp.ones(layer), 'features'))

    x = jax.ShapeDtypeStruct(image, jnp.float32)
    with self.assertRaisesRegex(ValueError, message):
      jax.eval_shape(functools.partial(grad_cam.grad_cam, fn), x)

  @parameterized.parameters(
    ((7, 7, 512), (224, 224, 3)),
    ((1, 1, 512), (224, 224, 3)),
    ((1, 14, 14, 96), (224, 224, 3)),
    ((1, 12, 64), (32, 400, 1)),  # A panorama, and no tokens.
    ((4, 13, 64), (128, 400, 3)),
  )
  def test_layouts_beyond_doubt(self, layer, image):
    def fn(x):
      return jnp.sum(checkpoint_name(jnp.sum(x) * jnp.ones(layer), 'features'))

    x = jax.ShapeDtypeStruct(image, jnp.float32)
    out = jax.eval_shape(functools.partial(grad_cam.grad_cam, fn), x)
    self.assertEqual(out.info.raw.shape, layer[-3:-1])

  def test_name_may_be_bound(self):
    method = functools.partial(grad_cam.grad_cam, name='input')
    fn = lambda x: jnp.sum(checkpoint_name(x * 1, 'input') ** 2)
    out = method(fn, jnp.ones((2, 3, 1)))
    np.testing.assert_allclose(out.scores, np.full((2, 3, 1), 2.0))


if __name__ == '__main__':
  absltest.main()
