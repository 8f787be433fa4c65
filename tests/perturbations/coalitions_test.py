"""Tests for `coalitions.py`."""

import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax.perturbations import coalitions
from saliency_jax.perturbations import games


def _plan(num_players, num_samples):
  game = games.of(jnp.sum, jnp.ones(num_players), maskers.entries, None)
  return coalitions.plan(game, num_samples)


class CoalitionsTest(parameterized.TestCase):
  @parameterized.parameters(2, 3, 4, 5, 6, 7, 8)
  def test_enumerates_every_pair_once(self, p):
    plan = _plan(p, 2**p - 2)
    self.assertEqual(plan.num_drawn, 0)
    sets = coalitions.enumerated(plan)
    both = np.concatenate([sets, ~sets])
    self.assertLen(np.unique(both, axis=0), 2**p - 2)
    # The Shapley kernel, up to a factor.
    size = sets.sum(1)
    kernel = [1 / (math.comb(p, s) * s * (p - s)) for s in size]
    np.testing.assert_allclose(
      coalitions.weights(plan), np.array(kernel) / np.sum(kernel)
    )

  @parameterized.parameters((8, 20), (8, 60), (8, 200), (7, 90), (40, 1500))
  def test_keeps_to_its_budget(self, p, num_samples):
    plan = _plan(p, num_samples)
    num_pairs = len(coalitions.enumerated(plan)) + plan.num_drawn
    self.assertEqual(num_pairs, num_samples // 2)
    self.assertGreaterEqual(plan.num_drawn, 2)
    self.assertGreaterEqual(plan.num_whole, 1)
    weights = coalitions.weights(plan)
    self.assertLen(weights, num_pairs)
    self.assertAlmostEqual(weights.sum(), 1)

  def test_draws(self):
    p = 8
    plan = _plan(p, 16 + 2 * 4000)._replace(num_whole=1, num_drawn=4000)
    sets = np.asarray(coalitions.drawn(jax.random.key(0), plan))
    size = sets.sum(1)
    share = np.array([2 / (2 * 6), 2 / (3 * 5), 1 / (4 * 4)])
    # One draw from each of 4000 parts of the weight.
    np.testing.assert_allclose(
      [np.mean(size == k) for k in (2, 3, 4)], share / share.sum(), atol=5e-4
    )
    # All pairs of a layer come once before any of them comes again.
    for k, num in ((2, 28), (3, 56), (4, 35)):
      pairs, counts = np.unique(sets[size == k], axis=0, return_counts=True)
      self.assertLen(pairs, num)
      self.assertLessEqual(counts.max() - counts.min(), 1)

  def test_draws_of_a_layer_that_is_too_long_to_list(self):
    p = 40
    plan = coalitions.Plan(p, np.array([0.1, 0.1, 0.1, 0.7]), 3, 4000)
    sets = np.asarray(coalitions.drawn(jax.random.key(0), plan))
    np.testing.assert_array_equal(sets.sum(1), 4)
    z = (sets.mean(0) - 4 / p) / np.sqrt(4 / p * (1 - 4 / p) / len(sets))
    self.assertLess(np.abs(z).max(), 4.5)
    np.testing.assert_array_equal(coalitions.unseen(plan, jnp.asarray(sets)), 1)

  def test_second_moment(self):
    p = 6
    plan = _plan(p, 2**p - 2)
    sets = coalitions.enumerated(plan) * 1.0
    centred = sets - sets.mean(1, keepdims=True)
    weights = coalitions.weights(plan)
    np.testing.assert_allclose(
      (centred.T * weights) @ centred,
      coalitions.second_moment(plan) * (np.eye(p) - 1 / p),
      atol=1e-12,
    )

  def test_too_few_samples(self):
    message = 'num_samples must be at least 18 for 8 players, got 17: .*fewer'
    with self.assertRaisesRegex(ValueError, message):
      _plan(8, 17)


if __name__ == '__main__':
  absltest.main()
