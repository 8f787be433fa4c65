"""Tests for `grad_cam.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

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
      jnp.ones((4, 4, 1)),
    )
    np.testing.assert_array_equal(out.scores, 0)
    self.assertEqual(out.info.discarded, 0)

  @parameterized.parameters(*METHODS)
  def test_bad_arguments(self, method):
    x = jnp.ones((8, 12, 3))
    with self.assertRaisesRegex(ValueError, "'conv9', found 0.*'features'"):
      method(_fn, x, name='conv9')
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

  def test_name_may_be_bound(self):
    method = functools.partial(grad_cam.grad_cam, name='input')
    fn = lambda x: jnp.sum(checkpoint_name(x * 1, 'input') ** 2)
    out = method(fn, jnp.ones((2, 3, 1)))
    np.testing.assert_allclose(out.scores, np.full((2, 3, 1), 2.0))


if __name__ == '__main__':
  absltest.main()
