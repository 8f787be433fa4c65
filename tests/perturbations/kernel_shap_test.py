"""Tests for `kernel_shap.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax.perturbations import coalitions
from saliency_jax.perturbations import games
from saliency_jax.perturbations import kernel_shap
from tests import equivalence
from tests import random_games
from tests import until

_explain = functools.partial(
  kernel_shap.kernel_shap, masker=maskers.entries, batch_size=None
)


@functools.cache
def _many(unbiased):
  """Returns the true values of a game, and 400 estimates of them."""
  worths = random_games.numbers(6)
  fn, x = random_games.score(worths), random_games.row(worths)
  explain = functools.partial(
    _explain, fn, x, num_samples=36, unbiased=unbiased, num_fresh=40
  )
  keys = jax.random.split(jax.random.key(1), 400)
  out = jax.jit(jax.vmap(lambda key: explain(key=key)))(keys)
  return random_games.shapley(worths), jax.device_get(out)


class KernelShapTest(parameterized.TestCase):
  @parameterized.product(num_players=[2, 3, 5, 6], unbiased=[False, True])
  def test_is_exact_where_all_sets_fit(self, num_players, unbiased):
    worths = random_games.numbers(num_players)
    out = equivalence.compiled(_explain)(
      random_games.score(worths),
      random_games.row(worths),
      num_samples=2**num_players - 2,
      unbiased=unbiased,
    )
    np.testing.assert_allclose(
      out.scores, random_games.shapley(worths), atol=1e-5
    )
    np.testing.assert_array_equal(out.info.stderr, 0)
    self.assertLess(out.info.efficiency_error, 1e-5)
    self.assertEqual(out.info.num_calls, 2**num_players)
    self.assertEqual(out.info.num_drawn, 0)

  @parameterized.parameters(False, True)
  def test_exact_by_brute_force(self, unbiased):
    worths = random_games.numbers(10)
    want = random_games.kernel_shap(worths)
    # What the paper proves of the least squares.
    np.testing.assert_allclose(
      want, random_games.shapley_by_sets(worths), atol=1e-12
    )
    out = equivalence.compiled(_explain)(
      random_games.score(worths),
      random_games.row(worths),
      num_samples=2**10 - 2,
      unbiased=unbiased,
    )
    np.testing.assert_allclose(out.scores, want, atol=2e-6)
    self.assertEqual(out.info.num_calls, 1024)

  def test_matches_the_definition(self):
    # The constrained least squares over single sets, solved by Lagrange.
    p, key = 6, jax.random.key(3)
    worths = random_games.numbers(p)
    fn, x = random_games.score(worths), random_games.row(worths)
    out = equivalence.compiled(_explain)(
      fn, x, key=key, num_samples=30, num_fresh=5
    )
    plan = coalitions.plan(games.of(fn, x, maskers.entries, None), 30)
    np.testing.assert_array_equal(plan.counts, [6, 6, 3])
    self.assertEqual(out.info.num_drawn, 9)
    sets = np.asarray(coalitions.sets(jax.random.clone(key), plan))
    z = np.concatenate([sets, ~sets]).astype(np.float64)
    layers = np.array([2 / 5, 2 / 8, 1 / 9])
    w = np.tile((layers / layers.sum() / [6, 6, 3])[plan.order], 2)
    v = worths[(z @ 2 ** np.arange(p)).astype(int)] - np.float64(worths[0])
    system = np.ones((p + 1, p + 1))
    system[:p, :p], system[p, p] = (z.T * w) @ z, 0
    target = np.append((z.T * w) @ v, worths[-1] - worths[0])
    want = np.linalg.solve(system, target)[:p]
    np.testing.assert_allclose(out.scores, want, atol=1e-5)

  def test_additive_games_are_exact_from_few_draws(self):
    w = np.array([3.0, 0, -1, 0.5, 2, 0, 1, 1], np.float32)
    out = equivalence.compiled(_explain)(
      lambda x: jnp.sum(w * x) + 2,
      jnp.ones(8),
      key=jax.random.key(0),
      num_samples=30,
    )
    np.testing.assert_allclose(out.scores, w, atol=1e-5)
    np.testing.assert_allclose(out.info.explained, 1, atol=1e-5)
    np.testing.assert_allclose(out.info.stderr, 0, atol=1e-5)
    # Nobody, everyone, the samples, and 64 fresh pairs.
    self.assertEqual(out.info.num_calls, 2 + 30 + 128)

  def test_has_no_bias(self):
    want, out = _many(True)
    error = out.scores - want
    z = error.mean(0) / (error.std(0, ddof=1) / np.sqrt(len(error)))
    self.assertLess(np.abs(z).max(), 4.5)

  @parameterized.parameters(False, True)
  def test_standard_errors(self, unbiased):
    want, out = _many(unbiased)
    error = out.scores - want
    ratio = np.sqrt((out.info.stderr**2).mean() / error.var(0).mean())
    self.assertBetween(ratio, 0.9, 1.15)
    inside = np.abs(error) < out.info.margin
    self.assertBetween(inside.mean(), 0.92, 0.985)

  @parameterized.parameters(
    (16, 0.9, 0.98), (36, 0.92, 0.98), (200, 0.93, 0.98)
  )
  def test_margins_of_few_draws(self, num_pairs, least, largest):
    worths = random_games.numbers(10)
    fn, x = random_games.score(worths), random_games.row(worths)
    explain = functools.partial(
      _explain, fn, x, num_samples=2 * num_pairs, num_fresh=1
    )
    keys = jax.random.split(jax.random.key(1), 100)
    info = jax.jit(jax.vmap(lambda key: explain(key=key).info))(keys)
    truth = jax.jit(lambda: _explain(fn, x, num_samples=1022).scores)()
    inside = np.abs(info.values - truth[None]) < info.margin
    # 1000 values, those of a map not independent.
    self.assertBetween(inside.mean(), least, largest)

  def test_too_few_pairs_for_a_standard_error(self):
    worths = random_games.numbers(8)
    fn, x = random_games.score(worths), random_games.row(worths)
    out = equivalence.compiled(_explain)(
      fn, x, key=jax.random.key(0), num_samples=18
    )
    self.assertTrue(np.all(np.isinf(out.info.stderr)))
    self.assertTrue(np.all(np.isinf(out.info.margin)))

  @parameterized.parameters(False, True)
  def test_until_it_is_good_and_on(self, unbiased):
    worths = random_games.numbers(8)
    fn, x = random_games.score(worths), random_games.row(worths)

    def explain(fn, num, **settings):
      return kernel_shap.kernel_shap(
        fn,
        x,
        key=jax.random.key(2),
        masker=maskers.entries,
        num_samples=2 * num,
        unbiased=unbiased,
        num_fresh=5,
        batch_size=7,
        **settings,
      )

    good = until.check(
      self, explain, fn, few=20, many=45, most=127, tolerance=0.12
    )
    num = int(good.info.draws.num)
    self.assertEqual(good.info.num_calls, 2 + 2 * num + 10)
    same, whole = jax.jit(
      lambda: (explain(fn, num), explain(fn, 127, tolerance=1e-6))
    )()
    np.testing.assert_allclose(good.scores, same.scores, atol=1e-5)
    np.testing.assert_allclose(good.info.stderr, same.info.stderr, atol=1e-5)
    # All sets, in the end.
    self.assertEqual(whole.info.draws, (127, True))
    np.testing.assert_allclose(
      whole.scores, random_games.shapley(worths), atol=1e-5
    )

  @parameterized.parameters(False, True)
  def test_judges_the_fit_on_fresh_draws(self, unbiased):
    want, out = _many(unbiased)
    # What the values themselves explain of all sets.
    worths = random_games.numbers(6)
    exact = equivalence.compiled(_explain)(
      random_games.score(worths), random_games.row(worths), num_samples=62
    )
    np.testing.assert_allclose(exact.scores, want, atol=1e-5)
    best = float(exact.info.explained)
    self.assertBetween(best, 0.05, 0.95)
    # Estimates predict less, and in the mean not much less.
    self.assertBetween(np.median(out.info.explained), best - 0.3, best + 0.05)

  def test_equivalence(self):
    method = functools.partial(
      kernel_shap.kernel_shap,
      masker=functools.partial(maskers.grid, cells=(2, 3)),
      num_samples=28,
      num_fresh=6,
    )
    equivalence.check(self, method, draws=True)

  def test_batch_size_bounds_memory(self):
    method = functools.partial(
      kernel_shap.kernel_shap, masker=maskers.grid, num_samples=104, num_fresh=8
    )
    equivalence.check_memory(self, method)

  @parameterized.parameters(
    ({'key': None}, 'this method draws: pass key=jax.random.key'),
    ({'num_samples': 17}, 'at least 18 for 8 players, got 17: ask for more'),
    ({'num_samples': 21, 'unbiased': True}, 'at least 22 for 8 .*, got 21'),
    ({'num_samples': 254, 'tolerance': 0.1, 'key': None}, 'method draws: pass'),
    ({'num_fresh': 0}, 'num_fresh must be .* at least 1, got 0'),
    ({'batch_size': 0}, 'batch_size must be .* at least 1, got 0'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), 'num_samples': 30} | settings
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(_explain)(jnp.sum, jnp.ones(8), **settings)


if __name__ == '__main__':
  absltest.main()
