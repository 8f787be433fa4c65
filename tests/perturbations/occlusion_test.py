"""Tests for `occlusion.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import baselines
from saliency_jax.core import jaxprs
from saliency_jax.perturbations import occlusion
from tests import equivalence


def _occlusion_loop(fn, x, window, stride, baseline):
  """Occlusion as it is described: hide, measure, average over windows."""
  h, w, _ = x.shape
  total, count = np.zeros((h, w)), np.zeros((h, w))
  for top in range(0, h - window[0] + stride[0], stride[0]):
    for left in range(0, w - window[1] + stride[1], stride[1]):
      at = np.s_[top : top + window[0], left : left + window[1]]
      hidden = np.array(x)
      hidden[at] = baseline[at]
      total[at] += fn(x) - fn(hidden)
      count[at] += 1
  return total / count


class OcclusionTest(parameterized.TestCase):
  def test_one_pixel_of_a_linear_function(self):
    x = jax.random.uniform(jax.random.key(0), (4, 3, 2))
    w = jax.random.normal(jax.random.key(1), (4, 3, 2))
    out = occlusion.occlusion(
      lambda x: jnp.sum(w * x) + 2,
      x,
      window=1,
      stride=1,
      baseline=baselines.black,
    )
    np.testing.assert_allclose(
      out.scores, (w * x).sum(-1, keepdims=True), atol=1e-5
    )
    np.testing.assert_array_equal(out.info.num_calls, 13)
    np.testing.assert_allclose(out.info.spread, 0, atol=1e-5)

  @parameterized.parameters(
    ((4, 3), (2, 3), 5), ((3, 5), (2, 2), None), ((8, 6), (1, 1), 1)
  )
  def test_matches_loop(self, window, stride, batch_size):
    fn = equivalence.score_fn()
    (x,) = equivalence.examples(1)
    baseline = np.full(x.shape, 0.5, np.float32)
    out = occlusion.occlusion(
      fn, x, window=window, stride=stride, batch_size=batch_size
    )
    want = _occlusion_loop(jax.jit(fn), np.asarray(x), window, stride, baseline)
    np.testing.assert_allclose(out.scores[..., 0], want, atol=1e-6)
    self.assertEqual(out.info.num_calls, out.info.drops.size + 1)

  def test_spread_of_overlapping_windows(self):
    # Windows of two pixels over weights (1, 2, 4): drops 3 and 6.
    x = jnp.ones((1, 3, 1))
    w = jnp.array([1.0, 2.0, 4.0])[None, :, None]
    out = occlusion.occlusion(
      lambda x: jnp.sum(w * x),
      x,
      window=(1, 2),
      stride=1,
      baseline=baselines.black,
    )
    np.testing.assert_allclose(out.info.drops, [[3, 6]])
    np.testing.assert_allclose(out.scores[0, :, 0], [3, 4.5, 6])
    np.testing.assert_allclose(out.info.spread[0, :, 0], [0, 1.5, 0])

  @parameterized.parameters(baselines.black, baselines.mean, baselines.uniform)
  def test_fills_with(self, baseline):
    (x,) = equivalence.examples(1)
    fn = equivalence.score_fn()
    out = occlusion.occlusion(
      fn, x, window=(8, 6), stride=1, baseline=baseline, key=jax.random.key(3)
    )
    drop = fn(x) - fn(baselines.evaluate(baseline, x, jax.random.key(3)))
    np.testing.assert_allclose(out.info.drops, [[drop]], rtol=1e-4)

  @parameterized.parameters(baselines.constant, baselines.uniform)
  def test_equivalence(self, baseline):
    method = functools.partial(
      occlusion.occlusion, window=(4, 3), stride=(3, 2), baseline=baseline
    )
    equivalence.check(self, method, draws=baseline is baselines.uniform)

  def test_batch_size_bounds_memory(self):
    equivalence.check_memory(
      self, functools.partial(occlusion.occlusion, window=8, stride=4)
    )

  @parameterized.parameters(np.uint8, np.int32)
  def test_integer_pixels(self, dtype):
    x = np.random.default_rng(0).integers(0, 256, (8, 6, 3)).astype(dtype)
    w = np.random.default_rng(1).normal(size=x.shape).astype(np.float32) / 50
    seen = []

    def fn(x):
      seen.append(x.dtype)
      return jnp.tanh(jnp.sum(w * (x.astype(jnp.float32) / 255)))

    out = occlusion.occlusion(fn, x, window=4, stride=2, baseline=127)
    want = _occlusion_loop(fn, x, (4, 4), (2, 2), np.full(x.shape, 127, dtype))
    np.testing.assert_allclose(out.scores[..., 0], want, atol=1e-6)
    self.assertEqual(set(seen), {np.dtype(dtype)})
    for leaf in (out.scores, out.info.drops, out.info.spread, out.info.score):
      self.assertEqual(leaf.dtype, jnp.float32)
    with self.assertRaisesRegex(ValueError, r'baseline 0.5 .* baseline=127'):
      occlusion.occlusion(fn, x, window=4, stride=2)

  def test_no_array_is_larger_than_the_map(self):
    # 125 x 125 windows over 256 x 256 pixels, jitted and, an equation after
    # the other, eager.
    x = jnp.zeros((256, 256, 1))
    explain = functools.partial(
      occlusion.occlusion, jnp.sum, window=8, stride=2, batch_size=1
    )
    self.assertLess(equivalence.temp_bytes(explain, x), 10 * x.nbytes)
    equations = jaxprs.equations(jax.make_jaxpr(explain)(x).jaxpr)
    sizes = [v.aval.size for eqn in equations for v in eqn.outvars]
    self.assertLessEqual(max(sizes), x.size)

  def test_takes_no_gradient(self):
    # A step has no gradient, and is explained all the same.
    x = jnp.ones((4, 4, 1))
    out = occlusion.occlusion(
      lambda x: jnp.where(x[1, 2, 0] > 0.7, 1.0, 0.0), x, window=1, stride=1
    )
    want = np.zeros((4, 4, 1))
    want[1, 2] = 1
    np.testing.assert_array_equal(out.scores, want)

  @parameterized.parameters(
    ({'window': 9}, r'window must be a whole number in \[1, 8\], got 9'),
    ({'window': (2, 7)}, r'window must be a whole number in \[1, 6\], got 7'),
    ({'stride': 5}, r'stride must be a whole number in \[1, 4\], got 5'),
    ({'stride': 0}, r'stride must be a whole number in \[1, 4\], got 0'),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
    ({'baseline': lambda x, key: x[0]}, 'baseline has shape'),
    ({'baseline': baselines.uniform}, 'key=jax.random.key'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'window': 4, 'stride': 2} | settings
    with self.assertRaisesRegex(ValueError, message):
      occlusion.occlusion(jnp.sum, jnp.ones((8, 6, 3)), **settings)


if __name__ == '__main__':
  absltest.main()
