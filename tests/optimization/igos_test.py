"""Tests for `igos.py` and the descent that it shares."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.core import sampling
from saliency_jax.core import stretching
from saliency_jax.optimization import descent
from saliency_jax.optimization import igos
from saliency_jax.optimization import masks
from tests import equivalence

_igos = equivalence.compiled(igos.igos)
_SMALL = {'resolution': 3, 'num_steps': 3, 'path_steps': 4, 'upper': 8.0}


def _up(mask, x):
  """Stretches a mask to its image, corners aligned."""
  aligned = stretching.aligned
  return maskers.grid(x, cells=mask.shape, stretch=aligned).spread(mask)


def _sigmoid(x):
  """A score that saturates in one corner of the image."""
  return jax.nn.sigmoid(12 * jnp.mean(x[:4, :4]) - 4)


def _flat(x):
  """A score that no step under a heavy price can lower, far from its fall."""
  return jax.nn.sigmoid(60 * jnp.mean(x[:4, :4]) - 20)


def _igos_loop(fn, x, key, noisy, scale, sigma=0.045):
  """Three steps as Algorithm 1 of the paper writes them, at scale 1."""
  blur = jax.jit(baselines.gaussian_blur)(x)
  up = lambda m: _up(m, x)

  def price(m):
    down, across = jnp.diff(m, axis=0), jnp.diff(m, axis=1)
    tv = jnp.mean(down**2) + jnp.mean(across**2)
    return scale * (jnp.mean(jnp.abs(1 - m)) + 20 * tv)

  @jax.jit
  def total(m):
    return fn(x * up(m) + blur * (1 - up(m))) + price(m)

  @jax.jit
  def along_path(m, share, noise):
    score = lambda m: fn(noisy(x, blur, share * up(m), noise))
    return jax.grad(score)(m)

  price_grad = jax.jit(jax.grad(price))
  mask, trace, steps = np.ones((3, 3), np.float32), [], []
  for t in range(3):
    trace.append(total(mask))
    direction = np.array(price_grad(mask))
    for s in range(1, 5):
      noise_key = sampling.draw_key(key, 4 * t + s - 1)
      noise = sigma * sampling.normal(noise_key, x)
      direction += np.asarray(along_path(mask, s / 4, noise)) / 4
    a = 8.0
    while True:
      new = np.clip(mask - a * direction, 0, 1)
      if total(new) - trace[-1] <= -a * 1e-4 * np.sum(direction**2):
        break
      if a == 1e-5:
        new, a = mask, 0.0
        break
      a = max(0.2 * a, 1e-5)
    mask = new
    steps.append(a)
  return mask, [*trace, total(mask)], steps


class IgosTest(parameterized.TestCase):
  @parameterized.parameters(
    (descent.noisy_image, lambda x, b, m, n: (x + n) * m + b * (1 - m)),
    (descent.noisy_composite, lambda x, b, m, n: x * m + b * (1 - m) + n),
  )
  def test_matches_loop(self, place_noise, noisy):
    (x,) = equivalence.examples(1)
    fn = equivalence.score_fn(score=scores.prob)
    got = _igos(
      fn,
      x,
      key=jax.random.key(3),
      place_noise=place_noise,
      l1=0.01,
      tv=0.2,
      weight_path=(1.0,),
      **_SMALL,
    )
    mask, trace, steps = _igos_loop(fn, x, jax.random.key(3), noisy, 0.01)
    np.testing.assert_allclose(got.info.mask, mask, atol=1e-5)
    np.testing.assert_allclose(got.info.descent.objective, trace, atol=1e-6)
    np.testing.assert_allclose(got.info.descent.step_size, steps, rtol=1e-5)
    np.testing.assert_allclose(
      got.scores, _up(jnp.asarray(1 - mask), x), atol=1e-5
    )

  @parameterized.parameters(
    # Linear in the composite: mean s/S. Quadratic about the baseline: mean
    # (s/S)^2.
    (lambda x: jnp.sum(x), 0.525),
    (lambda x: jnp.sum(x**2), 0.35875),
  )
  def test_direction_carries_the_factor_of_the_path(self, fn, factor):
    (x,) = equivalence.examples(1)
    settings = {'resolution': 4, 'baseline': baselines.black, 'l1': 0, 'tv': 0}
    out = _igos(
      lambda x: 1e-4 * fn(x),
      x,
      num_steps=1,
      upper=1.0,
      lower=1.0,
      forced=True,
      slope=0.0,
      sigma=0,
      **settings,
    )
    grad = jax.grad(lambda m: 1e-4 * fn(x * _up(m, x)))(jnp.ones((4, 4)))
    # One step of length one.
    np.testing.assert_allclose(1 - out.info.mask, factor * grad, atol=2e-7)

  @parameterized.product(
    fn=[_sigmoid, _flat], objective=[masks.deletion, masks.insertion]
  )
  def test_objective_never_increases_and_mask_stays_in_the_box(
    self, fn, objective
  ):
    out = _igos(
      fn,
      jnp.ones((8, 8, 1)),
      key=jax.random.key(0),
      resolution=8,
      objective=objective,
      baseline=baselines.black,
    )
    trace = out.info.descent
    self.assertLessEqual(np.max(np.diff(trace.objective)), 0)
    self.assertLess(trace.objective[-1], trace.objective[0])
    self.assertBetween(np.min(out.info.mask), 0, 1)
    self.assertBetween(np.max(out.info.mask), 0, 1)
    np.testing.assert_array_equal(trace.step_size > 0, trace.accepted)
    np.testing.assert_allclose(
      out.info.accepted_fraction, np.mean(trace.accepted), rtol=1e-6
    )
    # The evidence is found.
    inside = np.mean(out.scores[:4, :4])
    self.assertGreater(inside, 2 * np.mean(out.scores[4:, 4:]))

  def test_trace_is_the_plain_objective(self):
    x = jnp.ones((8, 8, 1))
    out = _igos(
      _sigmoid,
      x,
      key=jax.random.key(0),
      resolution=8,
      baseline=baselines.black,
      tv=2.0,
    )
    mask, scale = out.info.mask, out.info.descent.scale[-1]
    price = scale * (masks.sparsity(mask) + 2 * masks.total_variation(mask))
    score = _sigmoid(x * mask[..., None])
    np.testing.assert_allclose(out.info.score, score, atol=1e-6)
    np.testing.assert_allclose(
      out.info.descent.objective[-1], score + price, atol=1e-6
    )
    np.testing.assert_allclose(out.info.removed, jnp.mean(1 - mask))

  def test_paper_stalls_and_flags_forced_steps(self):
    explain = functools.partial(
      _igos,
      _flat,
      jnp.ones((8, 8, 1)),
      key=jax.random.key(0),
      resolution=8,
      baseline=baselines.black,
      l1=2.0,
      tv=400.0,
    )
    paper = explain(**igos.PAPER).info
    self.assertTrue(np.any(~paper.descent.accepted))
    forced = paper.descent.step_size[~paper.descent.accepted]
    np.testing.assert_allclose(forced, 1e-5)
    np.testing.assert_array_equal(paper.descent.scale, 1)
    self.assertLess(paper.removed, 0.01)

    stalled = explain(weight_path=(1.0,)).info
    self.assertLess(stalled.removed, 0.01)
    refused = ~stalled.descent.accepted
    self.assertTrue(np.any(refused))
    np.testing.assert_array_equal(stalled.descent.step_size[refused], 0)

    rescued = explain().info
    self.assertGreater(rescued.removed, 0.05)
    self.assertLess(rescued.score, 0.5)
    self.assertLessEqual(np.max(np.diff(rescued.descent.objective)), 0)
    self.assertLess(rescued.descent.scale[-1], 1)

  def test_steps_grow_where_the_prediction_is_sure(self):
    # Nothing that a step of 1 removes moves it.
    sure = lambda x: jax.nn.sigmoid(40 * (jnp.mean(x) - 0.5))
    explain = functools.partial(
      _igos,
      sure,
      jnp.ones((8, 8, 1)),
      sigma=0,
      resolution=8,
      baseline=baselines.black,
      upper=1.0,
    )
    info = explain().info
    self.assertGreater(info.removed, 0.3)
    self.assertLess(info.score, 0.5)
    self.assertBetween(jnp.max(info.descent.step_size), 5, 125)
    self.assertLessEqual(np.max(np.diff(info.descent.objective)), 0)
    paper = explain(**igos.PAPER).info
    self.assertLess(paper.removed, 0.01)
    self.assertLessEqual(jnp.max(paper.descent.step_size), 1)

  def test_longer_steps_are_held_to_the_same_slope(self):
    # Steps of .1 lower nothing; the third, five times as long, lowers F by .03,
    # where .5 slope |d|^2 = .012 is demanded.
    score = lambda m: jnp.where(jnp.sum(m) < 3.9, 1 - 0.15 * jnp.sum(1 - m), 1)
    mask, trace = descent.descend(
      score,
      lambda m, part, draw: -0.1 * jnp.sum(1 - m),
      lambda m: jnp.zeros(()),
      jnp.ones((2, 2)),
      weight_path=(1.0, 0.5),
      num_steps=3,
      path_steps=1,
      search=descent.Search(
        upper=0.1, lower=0.1, decay=0.5, slope=0.6, forced=False
      ),
      batch_size=None,
    )
    np.testing.assert_array_equal(trace.accepted, [False, False, True])
    np.testing.assert_allclose(trace.step_size, [0, 0, 0.5])
    np.testing.assert_allclose(mask, 0.95, rtol=1e-6)

  def test_no_key_is_needed_without_noise(self):
    fn = equivalence.score_fn(score=scores.prob)
    (x,) = equivalence.examples(1)
    out = _igos(fn, x, sigma=0, **_SMALL)
    self.assertTrue(np.all(np.isfinite(out.scores)))
    with self.assertRaisesRegex(ValueError, 'pass key='):
      igos.igos(fn, x, **_SMALL)

  def test_weights(self):
    def preset(*cells):
      axes = [*range(len(cells))]
      players = maskers.grid(jnp.zeros(cells), cells=cells, axes=axes)
      return descent.weights(players, None, None)

    self.assertEqual(preset(28, 28), (1.0, 20.0))
    self.assertEqual(preset(200, 200), descent.WEIGHTS[224])
    self.assertEqual(preset(2, 2), descent.WEIGHTS[7])
    # Thirteen columns are a chain of thirteen; a volume has its cube root.
    self.assertEqual(preset(13), descent.WEIGHTS[14])
    self.assertEqual(preset(28, 28, 28), descent.WEIGHTS[28])
    # Columns have no order, and their variation no price.
    players = maskers.entries(jnp.zeros(7))
    self.assertEqual(descent.weights(players, 0.5, None), (0.5, 0.0))
    self.assertEqual(descent.weights(players, None, 3.0), (1.0, 3.0))
    with self.assertRaisesRegex(ValueError, 'tv must be in'):
      descent.weights(players, None, -1)

  def test_equivalence(self):
    method = functools.partial(igos.igos, l1=0.01, tv=0.2, **_SMALL)
    equivalence.check(
      self, method, draws=True, score=scores.prob, batch_sizes=(3,)
    )

  def test_memory(self):
    method = functools.partial(
      igos.igos, resolution=4, num_steps=2, path_steps=128
    )
    equivalence.check_memory(self, method)

  @parameterized.parameters(
    (
      {'num_steps': 0},
      r'num_steps must be a whole number of at least 1, got 0',
    ),
    (
      {'path_steps': 0},
      r'path_steps must be a whole number of at least 1, got 0',
    ),
    ({'sigma': -1.0}, r'sigma must be in \[0, inf\), got -1.0'),
    ({'resolution': 0}, 'resolution must be a whole number .*, got 0'),
    ({'sigma': float('inf')}, r'sigma must be in \[0, inf\), got inf'),
    ({'path_steps': 2**40}, 'path_steps must be a whole number in'),
    ({'l1': -1.0}, r'l1 must be in \[0, inf\), got -1.0'),
    ({'weight_path': (1.0, -2.0)}, 'each of weight_path must be in'),
    ({'resolution': 20}, r'must be a whole number in \[1, 8\], got 20'),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
    ({'weight_path': ()}, 'weight_path must hold at least one scale'),
    ({'decay': 1.0}, r'decay must be in \(0, 1\), got 1.0'),
    ({'baseline': lambda x, key: x[:2]}, 'baseline has shape'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'resolution': 4, **settings}
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(igos.igos)(
        _sigmoid, jnp.ones((8, 8, 1)), key=jax.random.key(0), **settings
      )


if __name__ == '__main__':
  absltest.main()
