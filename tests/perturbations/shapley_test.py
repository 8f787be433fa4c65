"""Tests for `shapley.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax.perturbations import shapley
from saliency_jax.perturbations import stratified
from tests import equivalence
from tests import random_games
from tests import until

_partial = functools.partial
_explain = _partial(shapley.shapley, masker=maskers.entries, batch_size=None)
_run = equivalence.compiled(_explain)
SAMPLED = {
  'permutation': _partial(shapley.permutation, num_pairs=8),
  'stratified': _partial(stratified.stratified, num_orders=5),
}
ESTIMATORS = SAMPLED | {'exact': shapley.exact}


@functools.cache
def _many(name):
  """Returns the true values of a game, and 400 estimates of them."""
  worths = random_games.numbers(6)
  fn, x = random_games.score(worths), random_games.row(worths)
  keys = jax.random.split(jax.random.key(1), 400)
  explain = lambda key: _explain(fn, x, key=key, estimator=SAMPLED[name])
  out = jax.device_get(jax.jit(jax.vmap(explain))(keys))
  return random_games.shapley(worths), out


def _by_estimator(worths):
  """Returns the values of a game by every estimator."""
  fn, x = random_games.score(worths), random_games.row(worths)
  return {
    name: _run(fn, x, key=jax.random.key(2), estimator=estimator)
    for name, estimator in ESTIMATORS.items()
  }


class ShapleyTest(parameterized.TestCase):
  @parameterized.parameters(2, 3, 5, 6)
  def test_exact(self, num_players):
    worths = random_games.numbers(num_players)
    out = _run(
      random_games.score(worths),
      random_games.row(worths),
      estimator=shapley.exact,
    )
    np.testing.assert_allclose(
      out.scores, random_games.shapley(worths), atol=1e-6
    )
    np.testing.assert_array_equal(out.info.stderr, 0)
    self.assertEqual(out.info.num_calls, 2**num_players)

  def test_exact_by_brute_force(self):
    worths = random_games.numbers(6)
    want = random_games.shapley_by_sets(worths)
    np.testing.assert_allclose(random_games.shapley(worths), want, atol=1e-12)
    worths = random_games.numbers(10)
    out = _run(
      random_games.score(worths),
      random_games.row(worths),
      estimator=shapley.exact,
    )
    np.testing.assert_allclose(
      out.scores, random_games.shapley_by_sets(worths), atol=1e-6
    )
    self.assertEqual(out.info.num_calls, 1024)

  def test_efficiency(self):
    worths = random_games.numbers(5)
    for name, out in _by_estimator(worths).items():
      total = worths[-1] - worths[0]
      np.testing.assert_allclose(
        np.sum(out.scores), total, atol=1e-5, err_msg=name
      )
      self.assertLess(out.info.efficiency_error, 1e-5, name)
      self.assertEqual(out.info.score, worths[-1], name)
      self.assertEqual(out.info.baseline_score, worths[0], name)

  def test_symmetry_and_dummy(self):
    # Players 0 and 1 are worth something together with 2; 3 never is.
    worths = random_games.of(
      4, lambda s: 3.0 * (2 in s and (0 in s or 1 in s)) + (0 in s) + (1 in s)
    )
    want = random_games.shapley(worths)
    np.testing.assert_allclose(want[0], want[1])
    self.assertEqual(want[3], 0)
    fn, x = random_games.score(worths), random_games.row(worths)
    out = _run(fn, x, estimator=shapley.exact)
    np.testing.assert_allclose(out.scores, want, atol=1e-6)
    # Who adds nothing to any set adds nothing in any order.
    out = _run(fn, x, key=jax.random.key(0), estimator=SAMPLED['permutation'])
    self.assertEqual(out.scores[3], 0)

  @parameterized.parameters(*ESTIMATORS)
  def test_linearity(self, name):
    one, two = random_games.numbers(5, 0), random_games.numbers(5, 1)
    x, key = random_games.row(one), jax.random.key(2)
    values = [
      _run(random_games.score(w), x, key=key, estimator=ESTIMATORS[name]).scores
      for w in (one, two, 2 * one - 3 * two)
    ]
    np.testing.assert_allclose(
      values[2], 2 * values[0] - 3 * values[1], atol=1e-5
    )

  def test_pairs_are_exact_for_two_player_interactions(self):
    rng = np.random.default_rng(0)
    w, q = rng.normal(size=7), np.triu(rng.normal(size=(7, 7)), 1)
    w, q = w.astype(np.float32), q.astype(np.float32)
    out = _run(
      lambda x: jnp.sum(w * x) + jnp.sum(q * x[:, None] * x[None]),
      jnp.ones(7),
      key=jax.random.key(0),
      estimator=_partial(shapley.permutation, num_pairs=2),
    )
    np.testing.assert_allclose(
      out.scores, w + (q.sum(0) + q.sum(1)) / 2, atol=1e-5
    )
    np.testing.assert_allclose(out.info.stderr, 0, atol=1e-5)
    self.assertEqual(out.info.num_calls, 2 + 2 * (2 * 8 - 4))

  def test_permutation_matches_loop(self):
    worths = random_games.numbers(5)
    key = jax.random.key(4)
    out = _run(
      random_games.score(worths),
      random_games.row(worths),
      key=key,
      estimator=_partial(shapley.permutation, num_pairs=3),
    )
    terms = np.zeros((3, 5))
    for n in range(3):
      place = jax.random.permutation(
        jax.random.fold_in(jax.random.clone(key), n), 5
      )
      order = np.argsort(place)
      for way in (order, order[::-1]):
        present = 0
        for i in way:
          added = worths[present | 1 << i] - worths[present]
          terms[n, i] += added / 2
          present |= 1 << i
    np.testing.assert_allclose(out.scores, terms.mean(0), atol=1e-5)
    np.testing.assert_allclose(
      out.info.stderr, terms.std(0, ddof=1) / np.sqrt(3), atol=1e-5
    )

  @parameterized.parameters(*SAMPLED)
  def test_has_no_bias(self, name):
    want, out = _many(name)
    error = out.scores - want
    z = error.mean(0) / (error.std(0, ddof=1) / np.sqrt(len(error)))
    self.assertLess(np.abs(z).max(), 4.5)

  @parameterized.parameters(*SAMPLED)
  def test_standard_errors(self, name):
    want, out = _many(name)
    error = out.scores - want
    ratio = (out.info.stderr**2).mean(0) / error.var(0, ddof=1)
    # 400 variances, each of few draws: their ratio is known to a tenth.
    self.assertBetween(ratio.min(), 0.75, 1.3)
    self.assertBetween(ratio.max(), 0.75, 1.3)
    # Seven degrees of freedom, or four.
    inside = np.abs(error) < out.info.margin
    self.assertBetween(inside.mean(), 0.91, 0.98)

  def test_stratified_is_closer_where_nothing_adds_up(self):
    errors = {}
    for name in SAMPLED:
      want, out = _many(name)
      errors[name] = np.mean((out.scores - want) ** 2)
      self.assertLessEqual(out.info.num_calls[0], 82, name)
    self.assertLess(errors['stratified'], errors['permutation'])

  @parameterized.parameters(
    ('permutation', 8, 0), ('stratified', stratified.calls_an_order(5), 10)
  )
  def test_until_it_is_good_and_on(self, name, calls, singles):
    worths = random_games.numbers(5)
    fn, x = random_games.score(worths), random_games.row(worths)
    number = {'permutation': 'num_pairs', 'stratified': 'num_orders'}[name]

    def explain(fn, num, **settings):
      estimator = _partial(SAMPLED[name].func, **{number: num}, **settings)
      return shapley.shapley(
        fn,
        x,
        key=jax.random.key(2),
        masker=maskers.entries,
        estimator=estimator,
        batch_size=3,
      )

    good = until.check(
      self, explain, fn, few=10, many=25, most=900, tolerance=0.1
    )
    num = int(good.info.draws.num)
    self.assertEqual(good.info.num_calls, 2 + singles + calls * num)
    with self.assertRaisesRegex(
      ValueError, 'same estimator, .*, got a map of o'
    ):
      explain(fn, 10, start=_run(fn, x, estimator=shapley.exact))

  def test_start_of_another_estimator_or_of_other_players(self):
    first = _partial(shapley.permutation, num_pairs=3)
    orders = _partial(stratified.stratified, num_orders=3)

    def explain(estimator, num_players, **settings):
      return shapley.shapley(
        jnp.sum,
        jnp.ones(num_players),
        key=jax.random.key(0),
        masker=maskers.entries,
        estimator=_partial(estimator, **settings),
      )

    def on(estimator, num_players):
      start = explain(first, 6)
      return explain(estimator, num_players, start=start)

    with self.assertRaisesRegex(
      ValueError, 'same estimator, stratified, got a map of permutation'
    ):
      jax.eval_shape(lambda: on(orders, 6))
    with self.assertRaisesRegex(ValueError, r'shape \(6,\), expected \(5,\)'):
      jax.eval_shape(lambda: on(first, 5))

  @parameterized.parameters(*ESTIMATORS)
  def test_equivalence(self, name):
    method = _partial(
      shapley.shapley,
      masker=_partial(maskers.grid, cells=(2, 3)),
      estimator={
        'permutation': _partial(shapley.permutation, num_pairs=2),
        'stratified': _partial(stratified.stratified, num_orders=2),
        'exact': shapley.exact,
      }[name],
    )
    equivalence.check(self, method, draws=name != 'exact', batch_sizes=(5,))

  @parameterized.parameters(
    (shapley.exact, 17, 'at most 16 players, got 17: .*permutation'),
    (
      stratified.stratified,
      3,
      '4 players or more, got 3: use estimator=shapley.exact',
    ),
    (
      _partial(shapley.permutation, num_pairs=1),
      5,
      'num_pairs must be .* at least 2, got 1',
    ),
    (
      _partial(stratified.stratified, num_orders=1),
      5,
      'num_orders must be .* at least 2, got 1',
    ),
  )
  def test_bad_arguments(self, estimator, num_players, message):
    with self.assertRaisesRegex(ValueError, message):
      _explain(
        jnp.sum,
        jnp.ones(num_players),
        key=jax.random.key(0),
        estimator=estimator,
      )

  @parameterized.parameters(*SAMPLED)
  def test_no_key(self, name):
    with self.assertRaisesRegex(ValueError, 'pass key=jax.random.key'):
      _explain(jnp.sum, jnp.ones(5), estimator=SAMPLED[name])


if __name__ == '__main__':
  absltest.main()
