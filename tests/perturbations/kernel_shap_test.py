"""Tests for `kernel_shap.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax.perturbations import coalitions
from saliency_jax.perturbations import kernel_shap
from tests import equivalence
from tests import random_games

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
    plan = coalitions.Plan(p, np.array([2 / 5, 2 / 8, 1 / 9]), 1, 9)
    plan = plan._replace(layers=plan.layers / plan.layers.sum())
    self.assertEqual(out.info.num_drawn, plan.num_drawn)
    drawn = coalitions.drawn(jax.random.clone(key), plan)
    sets = np.concatenate([coalitions.enumerated(plan), drawn])
    z = np.concatenate([sets, ~sets]).astype(np.float64)
    w = np.tile(coalitions.weights(plan), 2)
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
      num_samples=20,
    )
    np.testing.assert_allclose(out.scores, w, atol=1e-5)
    np.testing.assert_allclose(out.info.explained, 1, atol=1e-5)
    np.testing.assert_allclose(out.info.stderr, 0, atol=1e-5)
    # Nobody, everyone, the samples, and 64 fresh pairs.
    self.assertEqual(out.info.num_calls, 2 + 20 + 128)

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
    inside = np.abs(error) < 1.96 * out.info.stderr
    self.assertBetween(inside.mean(), 0.85, 0.99)

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
    ({'num_fresh': 0}, 'num_fresh must be .* at least 1, got 0'),
    ({'batch_size': 0}, 'batch_size must be .* at least 1, got 0'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), 'num_samples': 30} | settings
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(_explain)(jnp.sum, jnp.ones(8), **settings)


if __name__ == '__main__':
  absltest.main()
