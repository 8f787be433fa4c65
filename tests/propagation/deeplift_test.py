"""Tests for `deeplift.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
import numpy as np

from saliency_jax import data
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.models import convolutions
from saliency_jax.propagation import deeplift
from tests import equivalence
from tests import networks as published
from tests.propagation import networks


def _explain(fn, x, **settings):
  explain = functools.partial(deeplift.deeplift, fn, **settings)
  return jax.device_get(jax.jit(explain)(x))


class DeepLiftTest(parameterized.TestCase):
  def test_linear(self):
    w, x, b = (networks.draw(6, seed=seed) for seed in range(3))
    out = _explain(lambda x: w @ x + 3, x, baseline=b)
    np.testing.assert_allclose(out.scores, w * (x - b), rtol=1e-5)
    np.testing.assert_allclose(out.info.score, w @ x + 3, rtol=1e-6)
    np.testing.assert_allclose(out.info.baseline_score, w @ b + 3, rtol=1e-6)
    self.assertLess(out.info.completeness_error, 1e-6)

  def test_loop(self):
    # The rescale rule of section 3.5.2, layer by layer.
    with jax.enable_x64():
      x, b = networks.draw(5, seed=8), networks.draw(5, seed=9)
      layers = [networks.draw(9, 5), networks.draw(8, 9), networks.draw(8)]

      def fn(x):
        return layers[2] @ jnp.tanh(layers[1] @ jax.nn.relu(layers[0] @ x))

      out = _explain(fn, x, baseline=b)
      w, v, u = map(np.asarray, layers)
      z, z0 = w @ x, w @ b
      h, h0 = np.maximum(z, 0), np.maximum(z0, 0)
      y, y0 = v @ h, v @ h0
      m = u * (np.tanh(y) - np.tanh(y0)) / (y - y0)
      m = (v.T @ m) * (h - h0) / (z - z0)
      want = (w.T @ m) * (x - b)
      np.testing.assert_allclose(out.scores, want, rtol=1e-9)

  @parameterized.parameters(False, True)
  def test_equivalence(self, drawn):
    method = deeplift.deeplift
    if drawn:
      method = functools.partial(
        method,
        baseline=functools.partial(baselines.uniform, high=0.2),
        num_baselines=5,
      )
    equivalence.check(self, method, draws=drawn)

  def test_batch_size_bounds_memory(self):
    equivalence.check_memory(
      self,
      functools.partial(
        deeplift.deeplift, baseline=baselines.uniform, num_baselines=128
      ),
    )

  @parameterized.parameters(*networks.NETWORKS)
  def test_complete_and_near_the_example_the_gradient(self, name):
    with jax.enable_x64():
      fn, x = networks.NETWORKS[name]()
      way = networks.draw(*x.shape, seed=77)

      @jax.jit
      def explain(b):
        return (
          deeplift.deeplift(fn, x, baseline=b),
          fn(x),
          fn(b),
          jax.grad(fn)(x),
        )

      b = way / 2
      out, score, baseline_score, grad = jax.device_get(explain(b))
      np.testing.assert_allclose(out.info.score, score, rtol=1e-12)
      np.testing.assert_allclose(
        out.info.baseline_score, baseline_score, rtol=1e-12
      )
      scale = max(abs(score), abs(baseline_score))
      total = score - baseline_score
      self.assertGreater(abs(total), 1e-3 * scale)
      self.assertLess(abs(out.scores.sum() - total), 1e-9 * scale)
      self.assertLess(out.info.completeness_error, 1e-9 * scale)
      # Little moves.
      b = x - 1e-9 * way
      want = (x - b) * grad
      np.testing.assert_allclose(
        explain(b)[0].scores, want, rtol=0, atol=1e-5 * np.abs(want).max()
      )

  @parameterized.parameters(0, 1)
  def test_forms_of_max_pools_agree(self, size):
    # Of a black baseline all entries of a window tie.
    with jax.enable_x64():
      kernel, u = networks.draw(3, 3, 2, 4), networks.draw(4, seed=3)
      x = networks.draw(9, 9, 2, seed=1)
      b = size * networks.draw(9, 9, 2, seed=2)

      def windows(h):
        return convolutions.max_pool(
          h, window=(3, 3), strides=(2, 2), fast=False
        )

      def slices(h):
        return convolutions.max_pool(h, window=(3, 3), strides=(2, 2))

      def entries(h):  # Windows laid side by side, and reduced.
        rows = 2 * jnp.arange(4)[:, None] + jnp.arange(3)[None]
        return jnp.max(h[:, rows][:, :, :, rows], (2, 4))

      found = []
      for pool in (windows, slices, entries):

        def fn(x, pool=pool):
          h = convolutions.conv(x[None], kernel)
          return jnp.mean(pool(h), (0, 1, 2)) @ u

        found.append(_explain(fn, x, baseline=b))
        self.assertLess(found[-1].info.completeness_error, 1e-12)
      for other in found[1:]:
        np.testing.assert_allclose(other.scores, found[0].scores, atol=1e-12)

  def test_lax_and_fast_convolutions_agree(self):
    with jax.enable_x64():
      x, b = networks.draw(8, 8, 3, seed=1), networks.draw(8, 8, 3, seed=2)
      fast, lax = (
        _explain(networks.depthwise(fast), x, baseline=b).scores
        for fast in (True, False)
      )
      np.testing.assert_allclose(fast, lax, atol=1e-12)

  def test_several_baselines_are_averaged(self):
    fn, _ = networks.NETWORKS['mlp']()
    x, references = networks.draw(5), networks.draw(7, 5, seed=3)
    one = lambda b: deeplift.deeplift(fn, x, baseline=b).scores
    each = jax.jit(jax.vmap(one))(references)
    out = _explain(
      fn,
      x,
      key=jax.random.key(0),
      baseline=functools.partial(baselines.reference, references=references),
      num_baselines=300,
      batch_size=100,
    )
    z = (out.scores - np.mean(each, 0)) / out.info.stderr
    self.assertLess(np.abs(z).max(), 4.5)
    self.assertLess(out.info.relative_error, 1e-4)
    np.testing.assert_allclose(
      out.info.stderr, np.std(each, 0) / 300**0.5, rtol=0.2
    )

  def test_scores_at_a_tap(self):
    w, u = networks.draw(7, 5), networks.draw(7, seed=1)
    head = lambda h: u @ jnp.tanh(jax.nn.relu(h))
    trunk = lambda x: jnp.sin(w @ x)
    fn = lambda x: head(checkpoint_name(trunk(x), 'h'))
    x, b = networks.draw(5, seed=2), networks.draw(5, seed=3)
    out = _explain(fn, x, baseline=b, at='h')
    want = _explain(head, trunk(x), baseline=trunk(b))
    np.testing.assert_allclose(out.scores, want.scores, rtol=1e-5)
    self.assertLess(out.info.completeness_error, 1e-6)
    with self.assertRaisesRegex(ValueError, "one value named 'g', found 0"):
      deeplift.deeplift(fn, x, at='g')

  def test_pytree(self):
    x = {'a': networks.draw(3), 'b': (networks.draw(2),), 'c': jnp.ones(2)}
    fn = lambda x: jnp.sum(x['a'] ** 2) * jnp.sum(x['b'][0]) + 1
    out = _explain(fn, x)
    self.assertEqual(jax.tree.structure(out.scores), jax.tree.structure(x))
    self.assertLess(out.info.relative_error, 1e-5)
    np.testing.assert_array_equal(out.scores['c'], 0)

  def test_constant(self):
    out = _explain(lambda x: jnp.float32(3), jnp.ones(4))
    np.testing.assert_array_equal(out.scores, 0)
    self.assertEqual(out.info.relative_error, 0)

  @parameterized.parameters(
    (lambda x: jnp.sort(x)[0], {}, r"'sort' \(unknown\) at .*test.py:\d+"),
    (
      lambda x: jax.lax.scan(lambda c, a: (c * a, c), x[0], x)[0],
      {'unroll': 2},
      r"'scan' \(control flow\) at .*test.py:\d+.*pass unroll=3",
    ),
    (
      lambda x: x[jnp.argmax(x)],
      {},
      r"multipliers have no rule for the primitive '.*' .*test.py:\d+",
    ),
    (
      lambda x: jnp.sum(jax.lax.clamp(x - 1, 2 * x, x + 1)),
      {},
      r"of three inputs have no rule for the primitive 'clamp'",
    ),
    (jnp.sum, {'baseline': lambda x, key: x[:2]}, 'baseline has shape'),
    (
      lambda x: 2 * x,
      {},
      r'return one number, got shapes \[\(3,\)\].*scores.logit',
    ),
    (jnp.sum, {'num_baselines': 0}, 'num_baselines .* got 0'),
    (jnp.sum, {'unroll': -1}, 'unroll .* got -1'),
    (jnp.sum, {'num_baselines': 2}, 'key=jax.random.key'),
  )
  def test_bad_arguments(self, fn, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      deeplift.deeplift(fn, jnp.ones(3), **settings)

  def test_loops_over_constants_need_no_rule(self):
    powers = lambda n: jax.lax.scan(lambda c, _: (2 * c, c), 1.0, None, n)[1]
    out = _explain(lambda x: powers(3) @ x, jnp.ones(3))
    np.testing.assert_allclose(out.scores, [1, 2, 4])


class RealNetworkTest(parameterized.TestCase):
  @parameterized.parameters('efficientnet_lite0', 'squeezenet')
  def test_complete(self, name):
    photo = data.load('photos')[0]
    x = data.prepare(photo['image'], size=(64, 64))
    with jax.enable_x64():
      model = published.shrunk(name, (64, 64), dtype=np.float64)

      @jax.jit
      def explain(params, x):
        fn = scores.logit(model.apply, params, int(photo['label']))
        return deeplift.deeplift(fn, x), fn(x), fn(jnp.zeros_like(x))

      out, score, black = explain(model.params, x.astype(np.float64))
      total = np.sum(np.asarray(out.scores))
      self.assertLess(abs(total - (score - black)), 1e-9 * abs(score))
      self.assertLess(out.info.completeness_error, 1e-9 * abs(score))


if __name__ == '__main__':
  absltest.main()
