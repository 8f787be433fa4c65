"""Tests for `flipping.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import metrics
from saliency_jax.core import baselines
from tests import equivalence


def _count(x):
  """Class 1 while more than half of the entries are alight."""
  return jnp.stack([jnp.array(0.5), jnp.mean(x)])


class FlippingTest(parameterized.TestCase):
  def test_flips_where_half_is_gone(self):
    x = jnp.ones((4, 5, 1))
    got = metrics.decision_flips(
      _count, x, x, key=jax.random.key(0), baseline=baselines.black
    )
    np.testing.assert_allclose(got.fractions, np.linspace(0, 1, 21), atol=1e-6)
    # Argmax takes the first of two equal logits.
    np.testing.assert_array_equal(got.flipped, got.fractions >= 0.5)
    np.testing.assert_allclose(got.whole, [0.5, 1.0])

  @parameterized.product(per_pixel=[False, True], largest_first=[False, True])
  def test_matches_loop(self, per_pixel, largest_first):
    apply, params = equivalence.network()
    (x,) = equivalence.examples(1)
    m = jax.random.normal(jax.random.key(2), x.shape)
    fractions = jnp.array([0.0, 0.1, 0.33, 0.5, 0.9, 1.0])
    got = metrics.decision_flips(
      functools.partial(apply, params),
      x,
      m,
      fractions=fractions,
      per_pixel=per_pixel,
      largest_first=largest_first,
      batch_size=4,
    )
    values = np.sum(m, -1, keepdims=True) if per_pixel else np.asarray(m)
    sign = -1 if largest_first else 1
    order = np.argsort(sign * values.ravel())
    for i, fraction in enumerate(np.asarray(fractions)):
      count = round(float(fraction) * values.size)
      masked = np.zeros(values.size, bool)
      masked[order[:count]] = True
      image = jnp.where(masked.reshape(values.shape), 0.5, x)
      logits = apply(params, image)
      np.testing.assert_allclose(got.logits[i], logits, atol=1e-5)
      np.testing.assert_allclose(
        got.fractions[i], count / values.size, rtol=1e-6
      )
      decision = np.argmax(apply(params, x))
      self.assertEqual(bool(got.flipped[i]), np.argmax(logits) != decision)

  def test_realised_fraction_survives_ties(self):
    x = jnp.ones((4, 5, 2))
    flat = jnp.zeros((4, 5, 1))  # One score for all.
    count = lambda x: jnp.stack([jnp.sum(1 - x), jnp.array(0.0)])
    got = metrics.decision_flips(
      count,
      x,
      flat,
      key=jax.random.key(0),
      fractions=jnp.array([0.3]),
      baseline=baselines.black,
    )
    np.testing.assert_allclose(got.fractions, 0.3)
    np.testing.assert_allclose(got.logits[0, 0], 0.3 * 40)

  def test_bad_arguments(self):
    x = jnp.ones((4, 5, 1))
    with self.assertRaisesRegex(ValueError, r'must be in \[0, 1\], got -0.5'):
      metrics.decision_flips(_count, x, x, fractions=jnp.array([-0.5]))
    with self.assertRaisesRegex(ValueError, 'do not broadcast'):
      metrics.decision_flips(_count, x, x[:2])


if __name__ == '__main__':
  absltest.main()
