"""Tests for `reveal_cancel.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.propagation import deeplift
from saliency_jax.propagation import reveal_cancel
from tests import equivalence
from tests.propagation import networks

_METHOD = functools.partial(deeplift.deeplift, rule=reveal_cancel.reveal_cancel)


def _split(a):
  return np.maximum(a, 0), np.minimum(a, 0)


class RevealCancelTest(parameterized.TestCase):
  @parameterized.parameters((2.0, 5.0), (5.0, 2.0), (3.0, 3.0))
  def test_both_inputs_of_a_minimum_have_half(self, a, b):
    # Figure 3 of the paper: min(a, b) = a - relu(a - b), from 0.
    fn = lambda x: x[0] - jax.nn.relu(x[0] - x[1])
    out = _METHOD(fn, jnp.array([a, b]))
    np.testing.assert_allclose(out.scores, min(a, b) / 2, rtol=1e-6)

  def test_loop(self):
    # Section 3.5.3, layer by layer, for two rectified layers.
    with jax.enable_x64():
      x, b = networks.draw(5, seed=8), networks.draw(5, seed=9)
      w, v, u = networks.draw(7, 5), networks.draw(6, 7), networks.draw(6)
      fn = lambda x: u @ jax.nn.relu(v @ jax.nn.relu(w @ x))
      out = jax.jit(functools.partial(_METHOD, fn, baseline=b))(x)
      w, v, u, x, b = map(np.asarray, (w, v, u, x, b))
      relu = lambda z: np.maximum(z, 0)

      def gather(w, d):
        terms = w * d
        return np.sum(relu(terms), 1), np.sum(np.minimum(terms, 0), 1)

      def curve(z0, up, down):
        both = relu(z0 + up + down)
        first = relu(z0 + up) - relu(z0) + both - relu(z0 + down)
        second = relu(z0 + down) - relu(z0) + both - relu(z0 + up)
        return first / 2, second / 2

      ratio = lambda a, b: np.divide(a, b, out=np.zeros_like(a), where=b != 0)
      z = gather(w, x - b)
      h = curve(w @ b, *z)
      y = gather(v, sum(h))
      k = curve(v @ relu(w @ b), *y)
      m = [u * ratio(a, c) for a, c in zip(k, y, strict=True)]
      terms = v * sum(h)
      m = np.sum(v * np.where(terms > 0, m[0][:, None], m[1][:, None]), 0)
      m = [m * ratio(a, c) for a, c in zip(h, z, strict=True)]
      terms = w * (x - b)
      m = np.sum(w * np.where(terms > 0, m[0][:, None], m[1][:, None]), 0)
      np.testing.assert_allclose(out.scores, m * (x - b), rtol=1e-9)

  @parameterized.parameters('activations', 'cnn', 'resnet', 'tokens')
  def test_complete(self, name):
    with jax.enable_x64():
      fn, x = networks.NETWORKS[name]()
      b = networks.draw(*x.shape, seed=77) / 2
      out = jax.jit(functools.partial(_METHOD, fn, baseline=b))(x)
      scale = max(abs(out.info.score), abs(out.info.baseline_score))
      self.assertLess(out.info.completeness_error, 1e-9 * scale)

  def test_norms_keep_the_parts(self):
    # A scaling and a shift between a sum and its ReLU, and one of each apart.
    w, x, b = networks.draw(6, 5), networks.draw(5), networks.draw(5, seed=1)
    scale, shift = networks.draw(6, seed=2), networks.draw(6, seed=3)
    apart = lambda x: jnp.sum(jax.nn.relu((w @ x) * scale + shift))
    merged = lambda x: jnp.sum(jax.nn.relu((w * scale[:, None]) @ x + shift))
    got, want = (_METHOD(fn, x, baseline=b).scores for fn in (apart, merged))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)

  def test_equivalence(self):
    equivalence.check(self, _METHOD)


if __name__ == '__main__':
  absltest.main()
