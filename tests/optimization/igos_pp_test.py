"""Tests for `igos_pp.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.core import stretching
from saliency_jax.optimization import igos_pp
from saliency_jax.optimization import masks
from tests import equivalence

_igos_pp = equivalence.compiled(igos_pp.igos_pp)


def _up(mask, x):
  """Stretches a mask to its image, corners aligned."""
  aligned = stretching.aligned
  return maskers.grid(x, cells=mask.shape, stretch=aligned).spread(mask)


def _blob(x):
  return jax.nn.sigmoid(12 * jnp.mean(x[:4, :4]) - 4)


class IgosPpTest(parameterized.TestCase):
  def test_first_step_is_along_the_four_gradients(self):
    (x,) = equivalence.examples(1)
    fn = equivalence.score_fn(score=scores.prob)
    out = _igos_pp(
      fn,
      x,
      resolution=3,
      sigma=0,
      l1=0,
      num_steps=1,
      path_steps=5,
      upper=0.5,
      lower=0.5,
      forced=True,
    )
    blur = baselines.gaussian_blur(x)

    def term(kept):
      return fn(x * kept + blur * (1 - kept))

    def path(d, i):
      up = lambda m: _up(m, x)
      total = 0.0
      for s in np.arange(1, 6, dtype=np.float32) / 5:
        total += term(s * up(d)) - term(1 - s * up(i))
        both = up(d) * up(i)
        total += term(s * both) - term(1 - s * both)
      return total / 10

    ones = jnp.ones((3, 3))
    d, i = jax.jit(jax.grad(path, (0, 1)))(ones, ones)
    np.testing.assert_allclose(
      out.info.deletion, np.clip(1 - 0.5 * d, 0, 1), atol=1e-6
    )
    np.testing.assert_allclose(
      out.info.insertion, np.clip(1 - 0.5 * i, 0, 1), atol=1e-6
    )

  def test_finds_the_evidence(self):
    x = jnp.ones((8, 8, 1))
    out = _igos_pp(
      _blob, x, key=jax.random.key(0), resolution=8, baseline=baselines.black
    )
    info = out.info
    self.assertEqual(out.scores.shape, (8, 8, 1))
    np.testing.assert_allclose(info.mask, info.deletion * info.insertion)
    self.assertLessEqual(np.max(np.diff(info.descent.objective)), 0)
    for mask in (info.mask, info.deletion, info.insertion):
      self.assertBetween(np.min(mask), 0, 1)
      self.assertBetween(np.max(mask), 0, 1)
    self.assertGreater(
      np.mean(out.scores[:4, :4]), 2 * np.mean(out.scores[4:, 4:])
    )
    # Both ends of the objective moved: deleted the score falls, inserted it
    # rises.
    blend = lambda kept: x * kept
    kept = masks.deletion(_blob, blend, info.mask[..., None])
    removed = -masks.insertion(_blob, blend, info.mask[..., None])
    self.assertLess(kept, _blob(x))
    self.assertGreater(removed, _blob(0 * x))
    four = (
      masks.deletion(_blob, blend, info.deletion[..., None])
      + masks.insertion(_blob, blend, info.insertion[..., None])
      + kept
      - removed
    ) / 2
    np.testing.assert_allclose(info.score, four, atol=1e-6)

  def test_equivalence(self):
    method = functools.partial(
      igos_pp.igos_pp,
      resolution=3,
      num_steps=2,
      path_steps=3,
      l1=0.01,
      tv=0.2,
    )
    equivalence.check(
      self,
      method,
      draws=True,
      score=scores.prob,
      batch_sizes=(8,),
      dtypes=(jnp.float64,),
    )

  @parameterized.parameters(
    (
      {'num_steps': 0},
      r'num_steps must be a whole number of at least 1, got 0',
    ),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
    ({'resolution': 20}, r'must be a whole number in \[1, 8\], got 20'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'resolution': 4, **settings}
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(igos_pp.igos_pp)(
        _blob, jnp.ones((8, 8, 1)), key=jax.random.key(0), **settings
      )


if __name__ == '__main__':
  absltest.main()
