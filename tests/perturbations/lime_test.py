"""Tests for `lime.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from sklearn import linear_model

from saliency_jax import maskers
from saliency_jax.core import describing
from saliency_jax.perturbations import lime
from tests import equivalence
from tests import random_games
from tests import until

_explain = functools.partial(lime.lime, masker=maskers.entries, batch_size=None)


class LimeTest(parameterized.TestCase):
  def test_linear_score(self):
    w = np.array([3.0, 0, -1, 0.5], np.float32)
    out = equivalence.compiled(_explain)(
      lambda x: jnp.sum(w * x) + 2,
      jnp.ones(4),
      key=jax.random.key(0),
      num_samples=40,
      alpha=0.0,
      num_fresh=10,
    )
    np.testing.assert_allclose(out.scores, w, atol=1e-5)
    np.testing.assert_allclose(out.info.intercept, 2, atol=1e-5)
    np.testing.assert_allclose(out.info.explained, 1, atol=1e-5)
    np.testing.assert_allclose(out.info.stderr, 0, atol=1e-5)
    self.assertEqual(out.info.num_calls, 52)

  @parameterized.parameters((0.25, 1.0), (0.6, 5.0))
  def test_matches_scikit_learn(self, width, alpha):
    worths, key = random_games.numbers(5), jax.random.key(3)
    out = equivalence.compiled(_explain)(
      random_games.score(worths),
      random_games.row(worths),
      key=key,
      num_samples=60,
      width=width,
      alpha=alpha,
      num_fresh=20,
    )
    sets = np.array(
      [
        jax.random.bernoulli(
          jax.random.fold_in(jax.random.clone(key), i), 0.5, (5,)
        )
        for i in range(80)
      ]
    )
    worth = worths[sets @ 2 ** np.arange(5)]
    # The cosine of nobody to everyone is 0, as scikit-learn has it.
    cosine = sets.sum(1) / np.sqrt(5 * np.maximum(sets.sum(1), 1))
    weights = np.exp(-((1 - cosine) ** 2) / width**2)
    model = linear_model.Ridge(alpha=alpha)
    model.fit(sets[:60], worth[:60], sample_weight=weights[:60])
    np.testing.assert_allclose(out.scores, model.coef_, atol=1e-5)
    np.testing.assert_allclose(out.info.intercept, model.intercept_, atol=1e-5)
    np.testing.assert_allclose(
      out.info.explained,
      model.score(sets[60:], worth[60:], sample_weight=weights[60:]),
      atol=1e-4,
    )
    weights = weights[:60]
    present = weights @ sets[:60] / weights.sum()
    equal = weights.sum() ** 2 / (weights**2).sum()
    np.testing.assert_allclose(
      out.info.effective_samples,
      equal * (4 * present * (1 - present)).min(),
      rtol=1e-4,
    )

  def test_standard_errors(self):
    worths = random_games.numbers(5)
    fn, x = random_games.score(worths), random_games.row(worths)
    keys = jax.random.split(jax.random.key(1), 400)
    explain = lambda key: _explain(fn, x, key=key, num_samples=120, num_fresh=2)
    out = jax.device_get(jax.jit(jax.vmap(explain))(keys))
    ratio = (out.info.stderr**2).mean(0) / out.scores.var(0, ddof=1)
    # The penalty and the weights make them right to the order 1 / samples.
    self.assertBetween(ratio.min(), 0.75, 1.3)
    self.assertBetween(ratio.max(), 0.75, 1.3)

  def test_standard_errors_of_few_draws(self):
    worths = random_games.numbers(5)
    fn, x = random_games.score(worths), random_games.row(worths)

    def explain(key, num):
      return _explain(fn, x, key=key, num_samples=num, alpha=1e-3, num_fresh=2)

    keys = jax.random.split(jax.random.key(1), 400)
    out = jax.jit(jax.vmap(functools.partial(explain, num=32)))(keys)
    truth = jax.jit(lambda key: explain(key, 20000))(jax.random.key(2)).scores
    enough = np.asarray(out.info.effective_samples) >= 6
    np.testing.assert_array_equal(
      np.isinf(out.info.stderr), np.broadcast_to(~enough[:, None], (400, 5))
    )
    self.assertGreater(enough.sum(), 200)
    inside = np.abs(out.scores - truth[None]) < out.info.margin
    self.assertBetween(inside[enough].mean(), 0.89, 0.99)

  def test_a_kernel_that_sees_one_draw_is_not_sure(self):
    out = jax.jit(
      lambda: _explain(
        lambda x: x @ jnp.arange(1.0, 7),
        jnp.ones(6),
        key=jax.random.key(0),
        width=0.01,
        num_samples=1000,
        tolerance=10.0,
      )
    )()
    self.assertLess(out.info.effective_samples, 7)
    self.assertTrue(np.isinf(out.info.stderr).all())
    self.assertTrue(np.isinf(out.info.margin).all())
    self.assertEqual(out.info.draws, (1000, False))
    told = describing.describe(out)
    self.assertIn('effective samples for 6 players', told)
    self.assertIn('! too few effective samples', told)
    self.assertIn('! the standard error is not within the tolerance', told)

  @parameterized.parameters((32, 1.0, True), (32, 1e-3, False))
  def test_says_what_the_penalty_takes_away(self, num, alpha, told):
    w = np.arange(1.0, 7, dtype=np.float32)
    out = jax.jit(
      lambda: _explain(
        lambda x: x @ w,
        jnp.ones(6),
        key=jax.random.key(0),
        num_samples=num,
        alpha=alpha,
      )
    )()
    # Of a linear score each weight loses about the same share.
    lost = 1 - np.mean(out.scores / w)
    np.testing.assert_allclose(out.info.shrinkage, lost, atol=0.1)
    self.assertEqual('smaller alpha' in describing.describe(out), told)

  def test_start_of_other_players(self):
    explain = lambda p, **settings: _explain(
      jnp.sum, jnp.ones(p), key=jax.random.key(0), num_samples=20, **settings
    )
    with self.assertRaisesRegex(ValueError, r'players \(6,\), expected \(5,\)'):
      jax.eval_shape(lambda: explain(5, start=explain(6)))

  def test_until_it_is_good_and_on(self):
    worths = random_games.numbers(5)
    fn, x = random_games.score(worths), random_games.row(worths)

    def explain(fn, num, **settings):
      return lime.lime(
        fn,
        x,
        key=jax.random.key(2),
        masker=maskers.entries,
        num_samples=num,
        num_fresh=9,
        batch_size=3,
        **settings,
      )

    good = until.check(
      self, explain, fn, few=20, many=40, most=900, tolerance=0.2
    )
    num = int(good.info.draws.num)
    self.assertEqual(good.info.num_calls, 2 + num + 9)
    # It is the map of so many draws, though other draws judge it.
    same = jax.jit(lambda: explain(fn, num))()
    np.testing.assert_allclose(good.scores, same.scores, atol=1e-5)
    np.testing.assert_allclose(good.info.worths[:num], same.info.worths)

  def test_equivalence(self):
    method = functools.partial(
      lime.lime,
      masker=functools.partial(maskers.grid, cells=2),
      num_samples=29,
      num_fresh=5,
    )
    equivalence.check(self, method, draws=True)

  @parameterized.parameters(
    ({'key': None}, 'this method draws: pass key=jax.random.key'),
    ({'num_samples': 9}, 'at least 10 for 8 players, got 9: ask for more'),
    ({'num_fresh': 1}, 'num_fresh must be .* at least 2, got 1'),
    ({'width': 0}, r'width must be in \(0, inf\), got 0'),
    ({'alpha': -1.0}, r'alpha must be in \[0, inf\), got -1.0'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), 'num_samples': 30} | settings
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(_explain)(jnp.sum, jnp.ones(8), **settings)


if __name__ == '__main__':
  absltest.main()
