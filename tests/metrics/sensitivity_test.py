"""Tests for `sensitivity.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import metrics
from tests import equivalence


class SensitivityTest(parameterized.TestCase):
  def test_log_odds_of_a_linear_model(self):
    # Two classes, z_1 - z_0 = <a, x> - 6: the log-odds is linear in what is
    # left.
    a = jnp.arange(1.0, 9.0).reshape(2, 4, 1)
    x = jnp.ones((2, 4, 1))
    logits_fn = lambda x: jnp.stack([jnp.array(6.0), jnp.sum(a * x)])
    fractions = jnp.arange(9.0) / 8
    got = metrics.log_odds_curves(logits_fn, x, -a, fractions=fractions)
    left = 36 - np.append(0, np.cumsum(np.arange(8, 0, -1)))
    np.testing.assert_allclose(got.log_odds, left - 6, rtol=1e-6)
    np.testing.assert_allclose(got.log_odds_ratio, left - 36, atol=1e-5)
    prob = 1 / (1 + np.exp(-(left - 6.0)))
    np.testing.assert_allclose(got.prob, prob, rtol=1e-5)
    np.testing.assert_allclose(got.log_prob, np.log(prob), rtol=1e-5, atol=1e-6)
    # 8, 7, 6, 5 and 4 leave 6, which ties; class 0 comes first.
    np.testing.assert_array_equal(got.flipped, left <= 6)
    self.assertEqual(got.key_size, 5 / 8)
    last = metrics.log_odds_curves(
      logits_fn, x, a, fractions=fractions, largest_first=False
    )
    self.assertEqual(last.key_size, 8 / 8)

  def test_no_flip_has_infinite_key_size(self):
    x = jnp.ones((2, 4, 1))
    sure = lambda x: jnp.stack([jnp.array(0.0), 9 + jnp.sum(x)])
    got = metrics.log_odds_curves(sure, x, x)
    self.assertLen(got.fractions, 41)
    self.assertEqual(got.key_size, np.inf)

  def test_log_odds_of_a_certain_classifier_stay_finite(self):
    x = jnp.ones((2, 4, 1))
    certain = lambda x: jnp.stack([jnp.array(0.0), 100 + jnp.sum(x)])
    got = metrics.log_odds_curves(certain, x, x, fractions=jnp.array([0.0]))
    np.testing.assert_allclose(got.log_odds, 108)

  def test_label_and_loop(self):
    apply, params = equivalence.network()
    (x,) = equivalence.examples(1)
    m = jax.random.normal(jax.random.key(2), x.shape)
    got = metrics.log_odds_curves(
      functools.partial(apply, params),
      x,
      m,
      label=2,
      fractions=jnp.array([0.25]),
    )
    size = np.sum(np.abs(m), -1).ravel()
    order = np.argsort(-size)[: size.size // 4]
    black = np.array(x).reshape(size.size, -1)
    black[order] = 0
    prob = jax.nn.softmax(apply(params, jnp.asarray(black.reshape(x.shape))))
    np.testing.assert_allclose(got.prob[0], prob[2], rtol=1e-5)
    odds = np.log(prob[2] / (1 - prob[2]))
    np.testing.assert_allclose(got.log_odds[0], odds, rtol=1e-4)
    with self.assertRaisesRegex(ValueError, 'label 4 is not one of 4'):
      metrics.log_odds_curves(functools.partial(apply, params), x, m, label=4)

  def test_three_readings(self):
    apply, params = equivalence.network()
    xs = equivalence.examples(5)
    measure = lambda x: metrics.log_odds_curves(
      functools.partial(apply, params), x, x, label=0
    )
    curves = jax.jit(jax.vmap(measure))(xs)
    got = metrics.summarize_log_odds(curves)
    p = np.asarray(curves.prob, np.float64)
    odds = np.log(p / (1 - p))
    np.testing.assert_allclose(
      got.mean_log_odds_ratio, np.mean(odds - odds[:, :1], 0), atol=1e-5
    )
    np.testing.assert_allclose(
      got.mean_log_prob, np.mean(np.log(p), 0), atol=1e-5
    )
    mean = np.mean(p, 0)
    np.testing.assert_allclose(
      got.log_odds_of_mean, np.log(mean / (1 - mean)), atol=1e-5
    )


if __name__ == '__main__':
  absltest.main()
