"""Tests for `debiasing.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import metrics
from saliency_jax.core import sampling
from saliency_jax.solvers import infilling
from tests import equivalence


def _bright(x):
  """Class 1 while the mean is above .5."""
  return jnp.stack([jnp.array(0.5), jnp.mean(x)]) * 20


class RoadTest(parameterized.TestCase):
  def test_matches_loop(self):
    apply, params = equivalence.network()
    (x,) = equivalence.examples(1)
    scores = jax.random.normal(jax.random.key(2), x.shape)
    key, noise, fractions = jax.random.key(3), 0.1, (0.2, 0.5, 0.9)
    order = np.argsort(-np.sum(scores, -1).ravel())
    num = order.size
    label = int(np.argmax(apply(params, x)))
    infill = jax.jit(infilling.infill)
    curves = {'best_first': [], 'worst_first': []}
    for place, (name, kept) in enumerate(curves.items()):
      ordered = order if name == 'best_first' else order[::-1]
      for i, fraction in enumerate(fractions):
        gone = np.zeros(num, bool)
        gone[ordered[: round(fraction * num)]] = True
        gone = gone.reshape(x.shape[:2])
        filled = infill(x, jnp.asarray(1 - gone, jnp.float32)).value
        draw = sampling.draw_key(key, 1 + place * len(fractions) + i)
        noisy = filled + noise * sampling.normal(draw, x)
        logits = apply(params, jnp.where(gone[..., None], noisy, x))
        kept.append(float(jax.nn.softmax(logits)[label]))
    got = jax.jit(
      functools.partial(
        metrics.road,
        functools.partial(apply, params),
        fractions=fractions,
        noise=noise,
        batch_size=4,
      )
    )(x, scores, key=key)
    for name, want in curves.items():
      np.testing.assert_allclose(getattr(got, name), want, atol=1e-5)
    gap = np.mean(curves['worst_first']) - np.mean(curves['best_first'])
    np.testing.assert_allclose(got.gap, gap, atol=1e-5)
    self.assertLess(got.residual, 1e-4)

  def test_decision_of_a_plateau(self):
    # A bright half on black: without it all is black, and dark half alone, all
    # bright, whatever part of the half goes.
    x = jnp.zeros((8, 8, 1)).at[:, :4].set(1.0).at[:, 4].set(1.0)
    got = metrics.road(
      _bright,
      x,
      x,
      key=jax.random.key(0),
      label=1,
      fractions=(0.3, 0.62),
      noise=0,
    )
    # 19 and 40 of 64 pixels; the second is all that is bright.
    np.testing.assert_allclose(got.fractions, np.array([19, 40]) / 64)
    np.testing.assert_array_equal(got.right_best_first[1], 0)
    np.testing.assert_array_equal(got.right_worst_first, [1, 1])
    # With all of one colour left, all becomes that colour.
    whole = jax.nn.softmax(_bright(jnp.ones((8, 8, 1))))[1]
    np.testing.assert_allclose(got.worst_first[1], whole, rtol=1e-4)
    none = jax.nn.softmax(_bright(jnp.zeros((8, 8, 1))))[1]
    np.testing.assert_allclose(got.best_first[1], none, atol=1e-5)
    self.assertGreater(got.gap, 0.4)

  def test_gap_of_the_opposite_map(self):
    apply, params = equivalence.network()
    (x,) = equivalence.examples(1)
    scores = jax.random.normal(jax.random.key(2), (*x.shape[:2], 1))
    measure = jax.jit(
      lambda s: metrics.road(
        functools.partial(apply, params), x, s, key=jax.random.key(0), noise=0
      )
    )
    a, b = measure(scores), measure(-scores)
    np.testing.assert_allclose(a.gap, -b.gap, atol=1e-6)
    np.testing.assert_allclose(a.best_first, b.worst_first, atol=1e-6)

  def test_not_finite(self):
    x = jnp.ones((4, 4, 1))
    measure = jax.jit(
      lambda s: metrics.road(_bright, x, s, key=jax.random.key(0))
    )
    got = measure(x.at[0, 0].set(jnp.nan))
    for name in ('best_first', 'right_worst_first', 'gap'):
      self.assertTrue(np.isnan(getattr(got, name)).all(), name)
    self.assertTrue(np.isfinite(got.residual))

  def test_bad_arguments(self):
    x, key = jnp.ones((4, 4, 1)), jax.random.key(0)
    with self.assertRaisesRegex(ValueError, r'noise must be in \[0, inf\)'):
      metrics.road(_bright, x, x, key=key, noise=-1)
    with self.assertRaisesRegex(ValueError, r'in \[0, 1\], got 1.5'):
      metrics.road(_bright, x, x, key=key, fractions=(0.5, 1.5))
    with self.assertRaisesRegex(ValueError, 'do not broadcast'):
      metrics.road(_bright, x, x[:2], key=key)


if __name__ == '__main__':
  absltest.main()
