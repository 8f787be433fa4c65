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
    self.assertTrue(plan.is_whole)
    for key in (None, jax.random.key(0)):
      sets = np.asarray(coalitions.sets(key, plan))
      both = np.concatenate([sets, ~sets])
      self.assertLen(np.unique(both, axis=0), 2**p - 2)
      # The Shapley kernel, up to a factor.
      size = sets.sum(1)
      kernel = [1 / (math.comb(p, s) * s * (p - s)) for s in size]
      np.testing.assert_allclose(
        coalitions.weights(plan, jnp.float32),
        np.array(kernel) / np.sum(kernel),
        rtol=1e-5,
      )
      np.testing.assert_array_equal(coalitions.unseen(plan, jnp.float32), 0)

  @parameterized.parameters((8, 20), (8, 60), (8, 200), (7, 90), (40, 1500))
  def test_keeps_to_its_budget(self, p, num_samples):
    plan = _plan(p, num_samples)
    self.assertLen(plan.order, num_samples // 2)
    self.assertFalse(plan.is_whole)
    np.testing.assert_array_equal(plan.order[:p], 0)
    self.assertTrue(np.all(plan.counts <= plan.limits))
    weights = np.asarray(coalitions.weights(plan, jnp.float32), np.float64)
    self.assertAlmostEqual(weights.sum(), 1, delta=1e-6)
    # What may be drawn is drawn by its weight, to a pair.
    free = (plan.counts < plan.limits) & (np.arange(len(plan.groups)) > 0)
    share = plan.groups[free] / plan.groups[free].sum()
    drawn = plan.counts[free]
    self.assertLessEqual(np.abs(drawn - share * drawn.sum()).max(), 2)
    # A group's pairs weigh what the group does, if there are any.
    if np.all(plan.counts):
      by_group = np.bincount(plan.order, weights)
      np.testing.assert_allclose(by_group, plan.groups, rtol=1e-5)

  @parameterized.parameters((8, 40, 254), (40, 300, 1500))
  def test_few_are_the_first_of_many(self, p, few, many):
    one, two = _plan(p, few), _plan(p, many)
    num = len(one.order)
    np.testing.assert_array_equal(one.order, two.order[:num])
    key = jax.random.key(0)
    np.testing.assert_array_equal(
      coalitions.sets(key, one),
      coalitions.sets(jax.random.clone(key), two)[:num],
    )
    # What is said of the first of many is what is said of few.
    first = jnp.asarray(num, jnp.int32)
    for of in (coalitions.weights, coalitions.unseen):
      got, want = of(two, jnp.float32, first), of(one, jnp.float32)
      np.testing.assert_allclose(got[:num], want, rtol=1e-6)
      np.testing.assert_array_equal(got[num:], 0)

  def test_unseen(self):
    plan = _plan(8, 100)
    np.testing.assert_array_equal(plan.counts, [8, 19, 15, 8])
    want = (1 - np.array([1, 19 / 28, 15 / 56, 8 / 35]))[plan.order]
    np.testing.assert_allclose(
      coalitions.unseen(plan, jnp.float32), want, rtol=1e-5
    )

  def test_missing_groups_have_their_weight_elsewhere(self):
    plan = _plan(8, 18)
    np.testing.assert_array_equal(plan.counts, [8, 1, 0, 0])
    self.assertEqual(coalitions.fewest(plan), 11)
    np.testing.assert_allclose(
      coalitions.weights(plan, jnp.float32)[-1],
      plan.groups[1:].sum(),
      rtol=1e-5,
    )

  def test_draws_of_a_layer_that_is_too_long_to_list(self):
    p = 40
    plan = coalitions.Plan(
      p, np.array([0.1, 0.1, 0.1, 0.7]), 3, np.full(4000, 3)
    )
    sets = np.asarray(coalitions.sets(jax.random.key(0), plan))
    np.testing.assert_array_equal(sets.sum(1), 4)
    z = (sets.mean(0) - 4 / p) / np.sqrt(4 / p * (1 - 4 / p) / len(sets))
    self.assertLess(np.abs(z).max(), 4.5)
    np.testing.assert_allclose(coalitions.unseen(plan, jnp.float32), 1, 1e-5)

  def test_sizes_of_what_is_not_listed(self):
    # Round the weight in equal steps: shares are met to a few draws, from the
    # first on, and each size has its turn by chance.
    layers = np.array([0.1, 0.3, 0.15, 0.05, 0.2, 0.2])
    plan = coalitions.Plan(300, layers, 1, np.full(200, 1))
    draw = lambda key: jnp.sum(coalitions.sets(key, plan), 1)
    keys = jax.random.split(jax.random.key(0), 300)
    sizes = np.asarray(jax.jit(jax.vmap(draw))(keys))
    share = layers[1:] / layers[1:].sum()
    for num in (20, 77, 200):
      for k, want in enumerate(share):
        got = np.sum(sizes[:, :num] == k + 2, 1)
        self.assertLessEqual(np.abs(got - want * num).max(), 3.5)
    first = np.mean(sizes[:, 0] == 2) - share[0]
    self.assertLess(abs(first) / np.sqrt(share[0] * (1 - share[0]) / 300), 4.5)

  def test_second_moment(self):
    p = 6
    plan = _plan(p, 2**p - 2)
    sets = np.asarray(coalitions.sets(None, plan), np.float64)
    centred = sets - sets.mean(1, keepdims=True)
    weights = np.asarray(coalitions.weights(plan, jnp.float32), np.float64)
    np.testing.assert_allclose(
      (centred.T * weights) @ centred,
      coalitions.second_moment(plan) * (np.eye(p) - 1 / p),
      atol=1e-6,
    )

  def test_too_few_samples(self):
    message = 'num_samples must be at least 18 for 8 players, got 17: .*fewer'
    with self.assertRaisesRegex(ValueError, message):
      _plan(8, 17)


if __name__ == '__main__':
  absltest.main()
