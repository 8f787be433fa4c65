"""Tests for `subsets.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from saliency_jax import maskers
from saliency_jax import metrics
from saliency_jax.core import sampling
from saliency_jax.metrics import subsets
from tests import equivalence

_METRICS = (
  metrics.faithfulness_correlation,
  functools.partial(metrics.sensitivity_n, sizes=(1, 5, 30)),
  functools.partial(metrics.mu_fidelity, cells=4),
)


def _linear(shape=(6, 5, 2)):
  a = jax.random.normal(jax.random.key(0), shape)
  x = jax.random.uniform(jax.random.key(1), shape)
  return (lambda x: jnp.sum(a * x)), x, a * x


def _hidden(key, i, size, shape):
  """The players that draw `i` hides, as the docstrings say."""
  num = int(np.prod(shape))
  order = jax.random.permutation(
    sampling.draw_key(key, i), jnp.arange(num, dtype=jnp.int32)
  )
  return np.asarray(order).reshape(shape) < size


def _jackknife(correlation, sums, falls):
  n = len(sums)
  left = [
    correlation(np.delete(sums, i), np.delete(falls, i)).statistic
    for i in range(n)
  ]
  return np.sqrt((n - 1) * np.var(left))


class SubsetsTest(parameterized.TestCase):
  @parameterized.parameters(*_METRICS)
  def test_what_adds_up_has_correlation_one(self, metric):
    fn, x, scores = _linear()
    measure = jax.jit(lambda s: metric(fn, x, s, key=jax.random.key(2)))
    got = measure(scores)
    np.testing.assert_allclose(got.correlation, 1, atol=1e-5)
    np.testing.assert_allclose(got.stderr, 0, atol=1e-5)
    # Free of scale, and odd.
    other = measure(-7 * scores)
    np.testing.assert_allclose(other.correlation, -1, atol=1e-5)

  @parameterized.parameters(*_METRICS)
  def test_nothing_follows_from_what_does_not_vary(self, metric):
    fn, x, scores = _linear()
    measure = functools.partial(metric, key=jax.random.key(2), num_samples=5)
    for got in (
      measure(lambda x: jnp.float32(0.1), x, scores),
      measure(fn, x, 0 * scores),
    ):
      self.assertTrue(np.isnan(got.correlation).all())
    nan = measure(fn, x, scores.at[0, 0, 0].set(jnp.nan))
    self.assertTrue(np.isnan(nan.correlation).all())

  def test_faithfulness_matches_loop(self):
    fn = equivalence.score_fn()
    (x,) = equivalence.examples(1)
    scores = jax.random.normal(jax.random.key(3), x.shape)
    key, num = jax.random.key(4), 11
    sums, falls = [], []
    for i in range(num):
      hidden = _hidden(key, i, 29, x.shape)  # .2 of 144, rounded up.
      sums.append(np.sum(scores, where=hidden))
      falls.append(float(fn(x) - fn(jnp.where(hidden, 0.5, x))))
    for batch_size in (None, 4):
      got = metrics.faithfulness_correlation(
        fn,
        x,
        scores,
        key=key,
        baseline=0.5,
        num_samples=num,
        batch_size=batch_size,
      )
      np.testing.assert_allclose(got.sums, sums, rtol=1e-4, atol=1e-5)
      np.testing.assert_allclose(got.falls, falls, atol=1e-6)
      want = stats.pearsonr(got.sums, got.falls).statistic
      np.testing.assert_allclose(got.correlation, want, atol=1e-5)
      error = _jackknife(stats.pearsonr, got.sums, got.falls)
      np.testing.assert_allclose(got.stderr, error, rtol=1e-3)

  def test_sensitivity_matches_loop(self):
    fn = equivalence.score_fn()
    (x,) = equivalence.examples(1)
    pixels = jax.random.normal(jax.random.key(3), (*x.shape[:2], 1))
    masker = functools.partial(maskers.grid, cells=x.shape[:2])
    key, num, sizes = jax.random.key(4), 6, (1, 10, 40)
    got = metrics.sensitivity_n(
      fn, x, pixels, key=key, sizes=sizes, masker=masker, num_samples=num
    )
    np.testing.assert_array_equal(got.sizes, sizes)
    for k, size in enumerate(sizes):
      sums, falls = [], []
      for i in range(num):
        hidden = _hidden(key, k * num + i, size, x.shape[:2])[..., None]
        sums.append(np.sum(pixels, where=hidden))
        falls.append(float(fn(x) - fn(jnp.where(hidden, 0, x))))
      want = stats.pearsonr(sums, falls).statistic
      np.testing.assert_allclose(got.correlation[k], want, atol=1e-3)
    np.testing.assert_allclose(got.mean, np.mean(got.correlation), rtol=1e-5)

  def test_mu_fidelity_matches_loop(self):
    fn = equivalence.score_fn()
    (x,) = equivalence.examples(1)
    scores = jax.random.normal(jax.random.key(3), x.shape)
    key, num, cells = jax.random.key(4), 12, 4
    rows = np.arange(x.shape[0]) * cells // x.shape[0]
    columns = np.arange(x.shape[1]) * cells // x.shape[1]
    sums, falls = [], []
    for i in range(num):
      unit = sampling.uniform(
        sampling.draw_key(key, i), jnp.zeros((cells, cells))
      )
      hidden = (np.asarray(unit) < 0.3)[rows][:, columns][..., None]
      sums.append(np.sum(scores, where=hidden))
      falls.append(float(fn(x) - fn(jnp.where(hidden, 0, x))))
    got = metrics.mu_fidelity(
      fn, x, scores, key=key, cells=cells, hide_prob=0.3, num_samples=num
    )
    np.testing.assert_allclose(got.sums, sums, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.falls, falls, atol=1e-6)
    want = stats.spearmanr(got.sums, got.falls).statistic
    np.testing.assert_allclose(got.correlation, want, atol=1e-5)
    error = _jackknife(stats.spearmanr, got.sums, got.falls)
    np.testing.assert_allclose(got.stderr, error, rtol=1e-3)

  def test_error_covers_the_correlation_of_all_sets(self):
    # Of 8 features, sets of 3 are 56: all of them give the limit.
    a = np.random.default_rng(0).normal(size=8)
    scores = a + np.random.default_rng(1).normal(size=8)
    hidden = np.array(
      [[k in (i, j, l) for k in range(8)]
       for i in range(8) for j in range(i) for l in range(j)]
    )  # fmt: skip
    limit = np.corrcoef(hidden @ scores, hidden @ a)[0, 1]
    measure = lambda key: metrics.faithfulness_correlation(
      lambda x: jnp.sum(jnp.asarray(a, jnp.float32) * x),
      jnp.ones(8),
      jnp.asarray(scores, jnp.float32),
      key=key,
      share=3 / 8,
      num_samples=200,
    )
    keys = jax.random.split(jax.random.key(0), 100)
    got = jax.jit(jax.vmap(measure))(keys)
    z = (got.correlation - limit) / got.stderr
    self.assertLess(abs(np.mean(z)), 4 / 10)
    # The variance of 100 normal numbers is known to .14.
    self.assertBetween(np.var(z), 1 - 4 * 0.14, 1 + 4 * 0.14)

  def test_size_without_falls_is_left_out_of_the_mean(self):
    # One hidden entry leaves a sure score as it was.
    a = jnp.linspace(1, 2, 30)
    fn = lambda x: jnp.minimum(jnp.sum(a * x), jnp.sum(a) - 2)
    got = metrics.sensitivity_n(
      fn, jnp.ones(30), a, key=jax.random.key(0), sizes=(1, 10, 20)
    )
    self.assertTrue(np.isnan(got.correlation[0]))
    np.testing.assert_allclose(got.correlation[1:], 1, rtol=1e-4)
    np.testing.assert_allclose(got.mean, 1, rtol=1e-4)
    self.assertLess(float(got.mean_stderr), 0.01)

  def test_scores_by_player(self):
    """A map that a masker has spread counts each player once."""
    labels = np.array([0, 0, 0, 1, 2, 2])
    masker = functools.partial(maskers.groups, labels=labels)
    a = jnp.array([1.0, 2.0, 3.0, -4.0, 5.0, 0.5])
    fn, x = lambda x: jnp.sum(a * x), jnp.ones(6)
    players = jnp.array([6.0, -4.0, 5.5])
    measure = functools.partial(
      metrics.faithfulness_correlation,
      fn,
      x,
      key=jax.random.key(0),
      share=0.5,
      masker=masker,
    )
    for scores in (players[labels], players[:, None]):
      got = measure(scores)
      np.testing.assert_allclose(got.sums, got.falls, rtol=1e-3)

  def test_kinds_of_examples(self):
    # Tokens: hidden ones are what the score counts.
    tokens = jnp.array([1, 5, 7, 9, 2])
    masker = functools.partial(maskers.tokens, special=(1, 2))
    fn = lambda t: jnp.sum(t).astype(jnp.float32)
    got = metrics.mu_fidelity(
      fn,
      tokens,
      tokens.astype(jnp.float32),
      key=jax.random.key(0),
      masker=masker,
      hide_prob=0.5,
    )
    np.testing.assert_allclose(got.sums, got.falls, rtol=1e-5)
    # A tree, a player a leaf.
    tree = {'a': jnp.array([1.0, 2.0]), 'b': jnp.array(4.0)}
    got = metrics.sensitivity_n(
      lambda t: jnp.sum(t['a']) * t['b'],
      tree,
      {'a': jnp.full(1, 12.0), 'b': jnp.array(12.0)},
      key=jax.random.key(0),
      masker=maskers.leaves,
      num_samples=8,
    )
    np.testing.assert_array_equal(got.sizes, [1, 2])

  def test_sizes(self):
    self.assertEqual(subsets._spaced(784)[-1], 627)
    self.assertLen(subsets._spaced(784), 10)
    np.testing.assert_array_equal(subsets._spaced(1), [1])

  def test_bad_arguments(self):
    fn, x, scores = _linear()
    key = jax.random.key(0)
    with self.assertRaisesRegex(ValueError, r'share must be in \(0, 1\], got'):
      metrics.faithfulness_correlation(fn, x, scores, key=key, share=0)
    with self.assertRaisesRegex(ValueError, r'in \[1, 60\], got 61'):
      metrics.sensitivity_n(fn, x, scores, key=key, sizes=(61,))
    with self.assertRaisesRegex(ValueError, 'hide_prob must be in'):
      metrics.mu_fidelity(fn, x, scores, key=key, hide_prob=1)
    with self.assertRaisesRegex(ValueError, 'do not broadcast'):
      metrics.mu_fidelity(fn, x, scores[:2], key=key, cells=2)
    with self.assertRaisesRegex(ValueError, 'bind it to the masker'):
      metrics.sensitivity_n(
        fn, x, scores, key=key, baseline=0.5, masker=maskers.entries
      )


if __name__ == '__main__':
  absltest.main()
