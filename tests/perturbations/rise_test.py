"""Tests for `rise.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from skimage import transform

from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.perturbations import rise
from tests import equivalence
from tests import until


def _masks(key, n, size, cells, keep_prob):
  return jax.vmap(
    lambda i: rise.random_mask(
      jax.random.fold_in(key, i), size, cells, jnp.array(keep_prob)
    )
  )(jnp.arange(n))


class RiseTest(parameterized.TestCase):
  @parameterized.parameters(None, 1, 5)
  def test_matches_loop(self, batch_size):
    fn = equivalence.score_fn(score=scores.prob)
    (x,) = equivalence.examples(1)
    key = jax.random.key(1)
    out = rise.rise(
      fn, x, key=key, num_masks=12, cells=3, batch_size=batch_size
    )
    # Equation 6 of the paper: a Monte Carlo sum over masks.
    want = np.zeros((8, 6))
    terms = []
    for mask in np.asarray(_masks(key, 12, (8, 6), (3, 3), 0.5)):
      terms.append(float(fn(x * mask[..., None])) * mask / 0.5)
      want += terms[-1] / 12
    np.testing.assert_allclose(out.scores[..., 0], want, rtol=1e-5)
    np.testing.assert_allclose(
      out.info.stderr[..., 0],
      np.std(terms, 0, ddof=1) / np.sqrt(12),
      rtol=1e-4,
      atol=1e-6,
    )

  @parameterized.parameters(
    ((8, 6), (3, 3)), ((9, 9), (2, 9)), ((5, 4), (5, 1))
  )
  def test_masks(self, size, cells):
    masks = np.asarray(_masks(jax.random.key(0), 4000, size, cells, 0.3))
    self.assertEqual(masks.shape, (4000, *size))
    self.assertTrue(np.all((-1e-6 <= masks) & (masks <= 1 + 1e-6)))
    # E[M] = p in every pixel.
    stderr = masks.std(0) / np.sqrt(4000)
    self.assertLess(np.max(np.abs(masks.mean(0) - 0.3) / stderr), 4.5)

  def test_masks_are_crops_of_a_stretched_grid(self):
    # One cell of 4 x 4 pixels a side, stretched to 12 x 12 and cut at a shift.
    cut = {
      tuple(np.round(m.ravel(), 5))
      for m in np.asarray(_masks(jax.random.key(0), 400, (8, 8), (2, 2), 0.5))
    }
    want = set()
    for bits in range(16):
      grid = np.array([bits >> k & 1 for k in range(4)], np.float32)
      whole = transform.resize(
        grid.reshape(2, 2),
        (12, 12),
        order=1,
        mode='reflect',
        anti_aliasing=False,
      )
      for top in range(4):
        for left in range(4):
          crop = np.asarray(whole)[top : top + 8, left : left + 8]
          want.add(tuple(np.round(crop.ravel(), 5)))
    self.assertContainsSubset(cut, want)
    self.assertGreater(len(cut), 100)

  def test_finds_the_pixel(self):
    # E[f(xM) M(j)] / p of f = the value at one pixel: (Cov[M_i, M_j] + p^2)/p.
    x = jnp.ones((8, 8, 1))
    out = rise.rise(
      lambda x: x[2, 5, 0],
      x,
      key=jax.random.key(0),
      num_masks=4000,
      cells=4,
      keep_prob=0.4,
      batch_size=500,
    )
    self.assertEqual(np.argmax(out.scores), 2 * 8 + 5)
    masks = np.asarray(_masks(jax.random.key(9), 20000, (8, 8), (4, 4), 0.4))
    terms = masks[:, 2, 5, None, None] * masks / 0.4
    error = np.sqrt(
      terms.var(0) / 20000 + np.asarray(out.info.stderr[..., 0]) ** 2
    )
    z = (np.asarray(out.scores[..., 0]) - terms.mean(0)) / error
    self.assertLess(np.max(np.abs(z)), 4.5)

  def test_constant_score(self):
    (x,) = equivalence.examples(1)
    out = rise.rise(
      lambda x: jnp.array(0.25),
      x,
      key=jax.random.key(0),
      num_masks=4000,
      cells=2,
      batch_size=500,
    )
    self.assertEqual(out.info.score_std, 0)
    self.assertEqual(out.info.mean_score, 0.25)
    self.assertLess(np.max(np.abs(out.scores - 0.25) / out.info.stderr), 4.5)

  def test_all_kept(self):
    (x,) = equivalence.examples(1)
    fn = equivalence.score_fn()
    out = rise.rise(
      fn, x, key=jax.random.key(0), num_masks=3, keep_prob=1, cells=2
    )
    np.testing.assert_allclose(out.scores, jnp.full((8, 6, 1), fn(x)), 1e-5)

  def test_half_precision_keeps_every_draw(self):
    x = jax.random.uniform(jax.random.key(1), (7, 7, 3), jnp.bfloat16)
    w = jax.random.normal(jax.random.key(2), x.shape) / 5

    def fn(x):
      logit = jnp.sum(w * x.astype(jnp.float32))
      return jax.nn.sigmoid(logit + 1).astype(x.dtype)

    key = jax.random.key(0)
    out = jax.jit(lambda x: rise.rise(fn, x, key=key, num_masks=4000, cells=3))(
      x
    )
    # The same draws, averaged in float64.
    masks = _masks(jax.random.clone(key), 4000, (7, 7), (3, 3), 0.5)
    values = jax.vmap(
      lambda m: fn((m[..., None] * x.astype(m.dtype)).astype(x.dtype))
    )(masks)
    masks = np.asarray(masks, np.float64)
    terms = np.asarray(values, np.float64)[:, None, None] * masks / 0.5
    want = terms.mean(0)
    got = np.asarray(out.scores[..., 0], np.float64)
    self.assertGreater(np.corrcoef(got.ravel(), want.ravel())[0, 1], 0.99)
    # What the scores' own dtype keeps, and no less.
    np.testing.assert_allclose(got, want, rtol=2**-8)
    np.testing.assert_allclose(
      out.info.stderr[..., 0], terms.std(0, ddof=1) / 4000**0.5, rtol=1e-3
    )

  @parameterized.parameters(np.uint8, np.int32)
  def test_integer_pixels(self, dtype):
    x = np.random.default_rng(0).integers(0, 256, (8, 6, 3)).astype(dtype)
    w = np.random.default_rng(1).normal(size=x.shape).astype(np.float32) / 50
    fn = lambda x: jnp.tanh(jnp.sum(w * (x.astype(jnp.float32) / 255)))
    key = jax.random.key(1)
    out = rise.rise(fn, x, key=key, num_masks=12, cells=3, baseline=200)
    want = np.zeros((8, 6))
    for mask in np.asarray(
      _masks(jax.random.clone(key), 12, *((8, 6), (3, 3), 0.5))
    ):
      m = mask[..., None]
      want += (
        float(fn(np.round(m * x + 200 * (1 - m)).astype(dtype))) * mask / 6
      )
    np.testing.assert_allclose(out.scores[..., 0], want, atol=1e-6)
    self.assertEqual(out.scores.dtype, jnp.float32)
    self.assertEqual(out.info.mean_score.dtype, jnp.float32)

  def test_until_it_is_good_and_on(self):
    x = jnp.linspace(0.5, 1.5, 48).reshape(4, 4, 3)

    def explain(fn, num, **settings):
      key = jax.random.key(1)
      settings |= {'num_masks': num, 'cells': 2, 'batch_size': 8}
      return rise.rise(fn, x, key=key, **settings)

    until.check(
      self,
      explain,
      lambda x: jnp.tanh(jnp.mean(x[:2]) - x[3, 3, 0]),
      few=30,
      many=60,
      most=4000,
      tolerance=0.02,
    )

  @parameterized.parameters(baselines.black, baselines.uniform)
  def test_equivalence(self, baseline):
    method = functools.partial(
      rise.rise, num_masks=7, cells=(3, 2), baseline=baseline
    )
    equivalence.check(self, method, draws=True, score=scores.prob)

  def test_batch_size_bounds_memory(self):
    equivalence.check_memory(self, functools.partial(rise.rise, num_masks=128))

  @parameterized.parameters(
    (
      {'num_masks': 0},
      r'num_masks must be a whole number of at least 1, got 0',
    ),
    ({'keep_prob': 0}, r'keep_prob must be in \(0, 1\], got 0'),
    ({'keep_prob': 1.5}, r'keep_prob must be in \(0, 1\], got 1.5'),
    ({'cells': 7}, r'cells must be a whole number in \[1, 6\], got 7'),
    ({'cells': (0, 2)}, r'cells must be a whole number in \[1, 8\], got 0'),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
    ({'baseline': lambda x, key: x[0]}, 'baseline has shape'),
    ({'key': None}, 'key=jax.random.key'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), 'cells': 2} | settings
    with self.assertRaisesRegex(ValueError, message):
      rise.rise(jnp.sum, jnp.ones((8, 6, 3)), **settings)


if __name__ == '__main__':
  absltest.main()
