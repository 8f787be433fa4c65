"""Tests for `mask.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from saliency_jax import maskers
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.core import stretching
from saliency_jax.optimization import mask
from saliency_jax.optimization import masks
from tests import equivalence


def _up(mask, x):
  """Stretches a mask to its image, corners aligned."""
  aligned = stretching.aligned
  return maskers.grid(x, cells=mask.shape, stretch=aligned).spread(mask)


def _blob(x):
  """A score that reads one corner of the image."""
  return jax.nn.sigmoid(8 * jnp.mean(x[:4, :4]) - 4)


class MaskTest(parameterized.TestCase):
  def test_matches_loop(self):
    (x,) = equivalence.examples(1)
    fn = equivalence.score_fn(score=scores.prob)
    got = mask.mask(fn, x, resolution=3, num_steps=6, l1=0.1, tv=0.3)
    blur = jax.jit(baselines.gaussian_blur)(x)

    @jax.jit
    def loss(m):
      up = _up(m, x)
      down, across = jnp.diff(m, axis=0), jnp.diff(m, axis=1)
      tv = jnp.mean(down**2) + jnp.mean(across**2)
      regulariser = 0.1 * jnp.mean(jnp.abs(1 - m)) + 0.3 * tv
      return fn(x * up + blur * (1 - up)) + regulariser

    grad = jax.jit(jax.grad(loss))
    m, first, second = np.ones((3, 3), np.float32), 0.0, 0.0
    trace = [loss(m)]
    for t in range(1, 7):  # Adam, written out.
      g = np.asarray(grad(m))
      first = 0.9 * first + 0.1 * g
      second = 0.999 * second + 0.001 * g**2
      step = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
      m = np.clip(m - 0.1 * step, 0, 1)
      trace.append(loss(m))
    np.testing.assert_allclose(got.info.mask, m, atol=1e-4)
    np.testing.assert_allclose(got.info.objective, trace, atol=1e-5)

  def test_finds_the_evidence_and_keeps_the_rest(self):
    x = jnp.ones((12, 12, 1))
    out = mask.mask(
      _blob, x, resolution=12, baseline=baselines.black, num_steps=60, tv=0.0
    )
    self.assertEqual(out.scores.shape, (12, 12, 1))
    np.testing.assert_allclose(out.scores[:4, :4], 1, atol=0.02)
    np.testing.assert_allclose(out.scores[4:], 0, atol=0.02)
    np.testing.assert_allclose(out.scores[:, 4:], 0, atol=0.02)
    self.assertLess(out.info.score, 0.03)
    np.testing.assert_allclose(out.info.removed, 16 / 144, atol=0.01)

  def test_optimizer_and_objective_are_arguments(self):
    x = jnp.ones((6, 6, 1))
    out = mask.mask(
      _blob,
      x,
      resolution=6,
      baseline=baselines.black,
      objective=masks.insertion,
      optimizer=optax.sgd(2.0),
      num_steps=40,
    )
    self.assertLess(out.info.objective[-1], out.info.objective[0])
    self.assertGreater(jnp.min(out.scores[:4, :4]), 0.5)

  def test_equivalence(self):
    equivalence.check(
      self,
      functools.partial(mask.mask, resolution=3, num_steps=4),
      score=scores.prob,
    )

  @parameterized.parameters(
    (
      {'num_steps': 0},
      r'num_steps must be a whole number of at least 1, got 0',
    ),
    ({'resolution': 0}, 'resolution must be a whole number .*, got 0'),
    ({'resolution': 20}, r'must be a whole number in \[1, 8\], got 20'),
    ({'baseline': lambda x, key: x[:2]}, 'baseline has shape'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'resolution': 4, **settings}
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(mask.mask)(_blob, jnp.ones((8, 8, 1)), **settings)


if __name__ == '__main__':
  absltest.main()
