"""Tests for `banzhaf.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax.perturbations import banzhaf
from tests import equivalence
from tests import random_games
from tests import until

_explain = functools.partial(
  banzhaf.banzhaf, masker=maskers.entries, batch_size=None
)


class BanzhafTest(parameterized.TestCase):
  @parameterized.parameters(2, 3, 5, 10)
  def test_is_exact_where_all_sets_fit(self, num_players):
    worths = random_games.numbers(num_players)
    out = equivalence.compiled(_explain)(
      random_games.score(worths),
      random_games.row(worths),
      num_samples=2**num_players - 2,
    )
    np.testing.assert_allclose(
      out.scores, random_games.banzhaf(worths), atol=1e-6
    )
    np.testing.assert_array_equal(out.info.stderr, 0)
    np.testing.assert_array_equal(out.info.margin, 0)
    self.assertEqual(out.info.num_calls, 2**num_players)

  def test_estimates(self):
    worths = random_games.numbers(6)
    fn, x = random_games.score(worths), random_games.row(worths)
    keys = jax.random.split(jax.random.key(1), 400)
    explain = lambda key: _explain(fn, x, key=key, num_samples=40)
    out = jax.device_get(jax.jit(jax.vmap(explain))(keys))
    error = out.scores - random_games.banzhaf(worths)
    deviation = error.std(0, ddof=1)
    self.assertLess(np.abs(error.mean(0) / deviation).max() * 400**0.5, 4.5)
    # 400 variances, each of 20 pairs: their ratio is known to a tenth.
    ratio = (out.info.stderr**2).mean(0) / deviation**2
    self.assertBetween(ratio.min(), 0.75, 1.3)
    self.assertBetween(ratio.max(), 0.75, 1.3)
    self.assertEqual(out.info.num_calls[0], 42)
    # 19 degrees of freedom.
    inside = np.abs(error) < out.info.margin
    self.assertBetween(inside.mean(), 0.92, 0.98)
    np.testing.assert_allclose(out.info.margin / out.info.stderr, 2.093, 1e-3)

  def test_matches_the_definition(self):
    # The mean with a player, less the mean without it, of the same sets.
    worths, key = random_games.numbers(5), jax.random.key(3)
    out = equivalence.compiled(_explain)(
      random_games.score(worths),
      random_games.row(worths),
      key=key,
      num_samples=12,
    )
    half = np.array(
      [
        jax.random.bernoulli(
          jax.random.fold_in(jax.random.clone(key), i), 0.5, (5,)
        )
        for i in range(6)
      ]
    )
    sets = np.concatenate([half, ~half])
    worth = worths[sets @ 2 ** np.arange(5)]
    want = [worth[s].mean() - worth[~s].mean() for s in sets.T]
    np.testing.assert_allclose(out.scores, want, atol=1e-6)

  def test_until_it_is_good_and_on(self):
    worths = random_games.numbers(6)
    fn, x = random_games.score(worths), random_games.row(worths)

    def explain(fn, num, **settings):
      return banzhaf.banzhaf(
        fn,
        x,
        key=jax.random.key(2),
        masker=maskers.entries,
        num_samples=2 * num,
        batch_size=7,
        **settings,
      )

    # Of 62 sets all are drawn more than once.
    many = lambda fn, num, **settings: explain(fn, min(num, 30), **settings)
    good = until.check(self, many, fn, few=9, many=18, most=30, tolerance=0.3)
    num = int(good.info.draws.num)
    self.assertEqual(good.info.num_calls, 2 + 2 * num)
    whole = jax.jit(lambda: explain(fn, 31, tolerance=1e-3))()
    self.assertEqual(whole.info.draws, (32, True))

  def test_equivalence(self):
    method = functools.partial(
      banzhaf.banzhaf,
      masker=functools.partial(maskers.grid, cells=(2, 3)),
      num_samples=8,
    )
    equivalence.check(self, method, draws=True)

  @parameterized.parameters(
    ({'key': None}, 'this method draws: pass key=jax.random.key'),
    ({'num_samples': 3}, 'num_samples must be at least 4 for 8 .*, got 3: ask'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), 'num_samples': 30} | settings
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(_explain)(jnp.sum, jnp.ones(8), **settings)


if __name__ == '__main__':
  absltest.main()
