"""Tests for `games.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import maskers
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.perturbations import games
from tests import random_games

# Settings by which each is exact for seven players that add up.
METHODS = {
  'shapley': saliency_jax.shapley,
  'kernel_shap': functools.partial(saliency_jax.kernel_shap, num_samples=40),
  'banzhaf': functools.partial(saliency_jax.banzhaf, num_samples=126),
  'lime': functools.partial(saliency_jax.lime, num_samples=40, alpha=0.0),
}


class GamesTest(parameterized.TestCase):
  @parameterized.parameters(None, 1, 3)
  def test_worths(self, batch_size):
    want = random_games.numbers(3)
    x = random_games.row(want)
    game = games.of(random_games.score(want), x, maskers.entries, None)
    sets = jnp.array([1, 6, 3, 4])
    got = games.worths(
      game,
      lambda i: sets[i] >> jnp.arange(3) & 1 == 1,
      4,
      batch_size=batch_size,
    )
    np.testing.assert_array_equal(got.of, want[sets])
    self.assertEqual(got.nobody, want[0])
    self.assertEqual(got.everyone, want[-1])
    self.assertEqual(got.total, want[-1] - want[0])
    self.assertEqual(got.num_calls, 6)

  def test_black_box_is_called_with_batches(self):
    sizes = []

    def predict(batch):
      sizes.append(len(batch))
      return batch @ np.array([1.0, 2, 4, 8], np.float32)

    game = games.of(
      scores.from_host(predict), jnp.ones(4), maskers.entries, None
    )
    got = games.worths(
      game, lambda i: i >> jnp.arange(4) & 1 == 1, 14, batch_size=4
    )
    np.testing.assert_array_equal(got.of, np.arange(14))
    self.assertEqual(got.everyone, 15)
    self.assertEqual(set(sizes), {4})

  def test_a_tree_and_its_map(self):
    x = {'a': jnp.ones((2, 3)), 'b': jnp.ones(4)}
    masker = functools.partial(maskers.leaves, baseline=0)
    fn = lambda x: jnp.sum(x['a']) + 10 * jnp.sum(x['b'])
    game = games.of(fn, x, masker, None)
    self.assertEqual(game.worth(jnp.array([True, False])), 6)
    self.assertEqual(game.worth(jnp.array([False, True])), 40)
    self.assertEqual(
      jax.tree.map(jnp.shape, game.spread(jnp.ones(2))),
      {'a': (1, 1), 'b': (1,)},
    )

  @parameterized.parameters(*METHODS)
  def test_tokens_of_a_black_box(self, name):
    # 5 is worth 1 and 8 is worth 2; the ends, which are never hidden, a tenth.
    def predict(batch):
      self.assertTrue(np.issubdtype(batch.dtype, np.integer))
      return (batch == 5).sum(1) + 2.0 * (batch == 8).sum(1) + 0.1

    masker = functools.partial(maskers.tokens, mask_id=0, special=(101, 102))
    out = METHODS[name](
      scores.from_host(predict),
      jnp.array([101, 5, 7, 8, 7, 7, 102]),
      key=jax.random.key(0),
      masker=masker,
    )
    np.testing.assert_allclose(out.scores, [0, 1, 0, 2, 0, 0, 0], atol=1e-5)
    np.testing.assert_array_equal(out.scores[jnp.array([0, 6])], 0)

  @parameterized.parameters(None, 2)
  def test_a_background_set(self, batch_size):
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    x = jnp.array([1.0, 2, 3])
    fn = lambda x: x[0] * x[1] + jnp.sin(x[2])
    background = baselines.Background(rows, batch_size)
    masker = functools.partial(maskers.entries, baseline=background)
    explain = functools.partial(saliency_jax.ablation, masker=masker)
    out = jax.jit(lambda x: explain(fn, x, batch_size=2))(x)
    want = []
    for i in range(3):
      hidden = np.tile(np.asarray(x), (5, 1))
      hidden[:, i] = rows[:, i]
      want.append(fn(x) - np.mean([fn(row) for row in hidden]))
    np.testing.assert_allclose(out.scores, want, atol=1e-6)
    nothing = np.mean([fn(row) for row in rows])
    np.testing.assert_allclose(out.info.baseline_score, nothing, atol=1e-6)
    self.assertEqual(out.info.num_calls, 5 * 5)

  def test_orders_are_uniform(self):
    keys = jax.random.split(jax.random.key(0), 6000)
    orders = jax.vmap(lambda k: games.random_order(k, 3))(keys)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    # A multinomial of six orders, 1000 of each.
    self.assertEqual(len(counts), 6)
    self.assertLess(np.abs(counts - 1000).max() / np.sqrt(6000 * 5 / 36), 4.5)

  @parameterized.parameters(True, False)
  def test_a_score_of_numpy(self, jitted):
    explain = lambda x: saliency_jax.ablation(
      lambda x: np.sum(np.asarray(x)), x, masker=maskers.entries
    )
    explain = jax.jit(explain) if jitted else explain
    with self.assertRaisesRegex(
      TypeError, r'explain scores.from_host\(predict'
    ):
      explain(jnp.ones(3))

  def test_one_player(self):
    with self.assertRaisesRegex(ValueError, 'at least 2 players, got 1'):
      games.of(jnp.sum, jnp.ones(1), maskers.entries, None)


if __name__ == '__main__':
  absltest.main()
