"""Tests for `gaussian_process.py`."""

import functools
import itertools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax.perturbations import coalitions
from saliency_jax.perturbations import gaussian_process
from saliency_jax.perturbations import kernel_shap
from saliency_jax.perturbations import shapley
from tests import equivalence
from tests import random_games


def _explain(
  fn, x, *, num_samples, tolerance=None, batch_size=None, **settings
):
  estimator = functools.partial(
    gaussian_process.gaussian_process,
    num_samples=num_samples,
    tolerance=tolerance,
  )
  return shapley.shapley(
    fn,
    x,
    masker=maskers.entries,
    estimator=estimator,
    batch_size=batch_size,
    **settings,
  )


def _cubic(num_players, seed):
  """Returns a game of interactions of three players at most."""
  rng = np.random.default_rng(seed)
  terms = [
    (members, rng.normal() * 0.4 ** (size - 1))
    for size in (1, 2, 3)
    for members in itertools.combinations(range(num_players), size)
  ]
  worth = lambda present: sum(
    c for members, c in terms if set(members) <= set(present)
  )
  return random_games.of(num_players, worth)


class GaussianProcessTest(parameterized.TestCase):
  def test_is_exact_where_all_sets_fit(self):
    worths = random_games.numbers(5)
    out = equivalence.compiled(_explain)(
      random_games.score(worths), random_games.row(worths), num_samples=30
    )
    want = random_games.shapley(worths)
    np.testing.assert_allclose(out.scores, want, atol=1e-5)
    np.testing.assert_array_equal(out.info.stderr, 0)

  def test_additive_games_are_exact_from_few_draws(self):
    w = np.array([3.0, 0, -1, 0.5, 2, 0, 1, 1], np.float32)
    out = equivalence.compiled(_explain)(
      lambda x: jnp.sum(w * x) + 2,
      jnp.ones(8),
      key=jax.random.key(0),
      num_samples=18,
    )
    np.testing.assert_allclose(out.scores, w, atol=1e-5)
    np.testing.assert_allclose(out.info.stderr, 0, atol=1e-5)
    self.assertEqual(out.info.num_calls, 20)

  @parameterized.parameters(
    (lambda x: 3 + 0 * jnp.sum(x), [0, 0, 0, 0, 0, 0]),
    (lambda x: jnp.abs(jnp.sum(x) - 3), [0, 0, 0, 0, 0, 0]),
    (lambda x: x[0], [1, 0, 0, 0, 0, 0]),
    (lambda x: 2 * x[0] * x[1], [1, 1, 0, 0, 0, 0]),
  )
  def test_players_of_no_worth(self, fn, want):
    # Without a variance of what three players do together.
    out = equivalence.compiled(_explain)(
      fn, jnp.ones(6), key=jax.random.key(0), num_samples=30
    )
    np.testing.assert_allclose(out.scores, want, atol=1e-5)
    np.testing.assert_allclose(out.info.stderr, 0, atol=1e-5)

  def test_matches_the_sum_over_sets(self):
    # The moments of a process that draws a number for each set of players.
    p = 5
    t = np.random.default_rng(0).uniform(0.1, 0.6, p)
    signs = np.array(list(itertools.product((-1, 1), repeat=p)))
    delta = np.random.default_rng(1).normal(size=len(signs))
    sets = [
      members
      for size in (3, 5)
      for members in itertools.combinations(range(p), size)
    ]
    terms = np.stack([signs[:, list(m)].prod(1) for m in sets], 1)
    variances = np.array([t[list(m)].prod() for m in sets])
    variances /= variances.sum()
    shares = np.array([[2 * (i in m) / len(m) for m in sets] for i in range(p)])
    # One set of each pair: the others say the same.
    rows = signs[:, -1] < 0
    signs, terms, delta = signs[rows], terms[rows], delta[rows]
    covariance = (terms * variances) @ terms.T + 1e-5 * np.eye(len(signs))
    inverse = np.linalg.inv(covariance)
    inner = np.linalg.inv(signs.T @ inverse @ signs)
    slope = inner @ signs.T @ inverse @ delta
    rest = delta - signs @ slope
    cross = (terms * variances) @ shares.T
    want = 2 * slope + cross.T @ inverse @ rest
    open_ended = 2 * np.eye(p) - signs.T @ inverse @ cross
    spread = (shares**2 * variances).sum(1) + np.diag(
      open_ended.T @ inner @ open_ended - cross.T @ inverse @ cross
    )
    variance = rest @ inverse @ rest / (len(signs) - p)
    with jax.enable_x64(True):
      args = (jnp.asarray(a, jnp.float64) for a in (signs, delta))
      got = jax.jit(gaussian_process._fit)(
        *args, jnp.asarray(len(signs)), jnp.asarray(t, jnp.float64)
      )
    np.testing.assert_allclose(got.values, want, rtol=1e-6)
    np.testing.assert_allclose(
      got.stderr, np.sqrt(variance * spread), rtol=1e-6
    )
    logdet = lambda a: np.linalg.slogdet(a)[1]
    np.testing.assert_allclose(
      got.likelihood,
      -(len(signs) - p) / 2 * np.log(variance)
      - logdet(covariance) / 2
      + logdet(inner) / 2,
      rtol=1e-6,
    )

  def test_sees_interactions(self):
    worths = _cubic(8, 0)
    fn, x = random_games.score(worths), random_games.row(worths)
    keys = jax.random.split(jax.random.key(0), 24)
    methods = {
      'process': functools.partial(_explain, fn, x, num_samples=190),
      'linear': functools.partial(
        kernel_shap.kernel_shap,
        fn,
        x,
        masker=maskers.entries,
        num_samples=190,
        num_fresh=1,
        batch_size=None,
      ),
    }
    run = lambda key: {k: m(key=key) for k, m in methods.items()}
    out = jax.device_get(jax.jit(lambda keys: jax.lax.map(run, keys))(keys))
    want = random_games.shapley(worths)
    errors = {k: a.scores - want for k, a in out.items()}
    squares = {k: np.mean(e**2) for k, e in errors.items()}
    # 95 pairs tell of 8 players and 56 interactions of three.
    self.assertLess(squares['process'], squares['linear'] / 10)
    stderr = out['process'].info.stderr
    inside = np.abs(errors['process']) < 1.96 * stderr
    self.assertBetween(inside.mean(), 0.85, 1)
    self.assertLess(np.mean(stderr**2), squares['linear'])

  def test_until_it_is_good(self):
    worths = _cubic(8, 0)
    explain = functools.partial(
      _explain,
      random_games.score(worths),
      key=jax.random.key(0),
      batch_size=8,
    )
    with jax.enable_x64():
      x = jnp.asarray(random_games.row(worths), jnp.float64)
      tolerances = jnp.array([0.01, 0.1, 1e-9])
      until = lambda t: explain(x, num_samples=190, tolerance=t)
      found = jax.device_get(jax.jit(jax.vmap(until))(tolerances)).info
      nums = found.draws.num
      np.testing.assert_array_equal(found.draws.met, [True, True, False])
      np.testing.assert_array_equal(found.num_calls, 2 * nums + 2)
      self.assertGreater(nums[0], nums[1])
      self.assertEqual(nums[2], 95)
      self.assertLess(found.stderr[0].max(), 0.01)
      # As if no more had been asked for.
      want = jax.jit(lambda: explain(x, num_samples=2 * int(nums[0])))().info
    np.testing.assert_allclose(found.values[0], want.values, rtol=1e-6)
    np.testing.assert_allclose(found.margin[0], want.margin, rtol=1e-6)

  def test_equivalence(self):
    estimator = functools.partial(
      gaussian_process.gaussian_process, num_samples=24
    )
    method = functools.partial(
      shapley.shapley,
      masker=functools.partial(maskers.grid, cells=(2, 3)),
      estimator=estimator,
    )
    # The tiny network is nearly additive: what is left in float32 is rounding.
    dtypes = (jnp.float64, jnp.float32)
    equivalence.check(self, method, draws=True, dtypes=dtypes)

  @parameterized.parameters(
    ({'key': None}, 'this method draws: pass key=jax.random.key'),
    ({'num_samples': 17}, 'at least 18 for 8 players, got 17: ask for more'),
    ({'num_samples': 5000}, r'num_samples must .* in \[1, 4096\], got 5000'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), 'num_samples': 30} | settings
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(_explain)(jnp.sum, jnp.ones(8), **settings)


class DrawsTest(absltest.TestCase):
  def test_none_twice(self):
    game = shapley.games.of(jnp.sum, jnp.ones(8), maskers.entries, None)
    for weight in (coalitions.equal_sizes, coalitions.shapley_kernel):
      plan = coalitions.plan(game, 150, weight)
      draw = functools.partial(coalitions.sets, plan=plan)
      sets = np.asarray(jax.jit(draw)(jax.random.key(0)))
      self.assertLen(np.unique(np.concatenate([sets, ~sets]), axis=0), 150)


if __name__ == '__main__':
  absltest.main()
