"""Tests for `maps.py`: one reading of maps, and NaN in, NaN out, everywhere."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax import metrics
from saliency_jax.core import types
from saliency_jax.metrics import fidelity
from saliency_jax.metrics import maps

_X = jnp.asarray(np.random.default_rng(0).uniform(size=(8, 8, 1)), jnp.float32)
_KEY = jax.random.key(0)


def _prob(x):
  return jax.nn.sigmoid(jnp.sum(x) - 32)


def _apply(params, x):
  return params['weights'] * jnp.sum(x)


def _logits(x):
  return jnp.stack([jnp.sum(x), jnp.sum(x**2)])


def _sharp(x):
  return jnp.stack([100 * jnp.std(x), jnp.float32(25)])


def _curves(protocol, **settings):
  protocol = functools.partial(protocol, **settings)
  return lambda m: metrics.deletion_insertion(
    _prob, _X, m, protocol=protocol
  )._replace(fractions=())


# What each metric says of a map, less what is no statement on it.
_METRICS = {
  'igos_protocol': _curves(metrics.igos_protocol, resolution=5),
  'igos_protocol_cells': _curves(metrics.igos_protocol, resolution=8),
  'rise_protocol': _curves(metrics.rise_protocol, num_steps=4),
  'flipping': lambda m: metrics.decision_flips(_logits, _X, m)[1:3],
  'log_odds': lambda m: metrics.log_odds_curves(_logits, _X, m)[1:],
  'infidelity': lambda m: fidelity.infidelity(
    _prob, _X, m, key=_KEY, num_samples=4
  ),
  'infidelity_from_black': lambda m: fidelity.infidelity(
    _prob, _X, m, key=_KEY, num_samples=4, baseline=0
  ),
  'max_sensitivity': lambda m: metrics.max_sensitivity(
    _prob, _X, m, method=_same(m), key=_KEY, num_samples=2
  ),
  'gini': metrics.gini,
  'relative_variation': metrics.relative_variation,
  'top_k_overlap': lambda m: metrics.top_k_overlap(_X, m, 5),
  'rank_correlation': lambda m: metrics.rank_correlation(m, _X),
  'structural_similarity': lambda m: metrics.structural_similarity(
    m[..., 0], _X[..., 0]
  ),
  'cascading_randomization': lambda m: metrics.cascading_randomization(
    _same(m), _apply, {'weights': jnp.arange(2.0)}, _X, key=_KEY
  ),
  'random_logit': lambda m: (
    metrics.random_logit(
      _same(m), _apply, {'weights': jnp.arange(2.0)}, _X, key=_KEY
    ).likeness
  ),
  'relative_stability': lambda m: metrics.relative_stability(
    _prob,
    _X,
    m,
    logits_fn=_logits,
    method=_same(m),
    key=_KEY,
    layer_fn=jnp.square,
    num_samples=2,
  )[:3],
  'faithfulness_correlation': lambda m: metrics.faithfulness_correlation(
    _prob, _X, m, key=_KEY, num_samples=5
  ),
  'sensitivity_n': lambda m: metrics.sensitivity_n(
    _prob, _X, m, key=_KEY, sizes=(3, 9), num_samples=5
  )[1:],
  'mu_fidelity': lambda m: metrics.mu_fidelity(
    _prob, _X, m, key=_KEY, cells=4, num_samples=5
  ),
  'road': lambda m: metrics.road(_logits, _X, m, key=_KEY)[1:-1],
  'information_curves': lambda m: metrics.information_curves(
    _sharp, _X, m, key=_KEY, start=0
  )[1:],
  'entropy': metrics.entropy,
  'linear_correlation': lambda m: metrics.linear_correlation(_X, m),
  'localization': lambda m: metrics.localization(
    m, jnp.zeros((8, 8)).at[:2].set(1)
  ),
}


def _same(m):
  return lambda fn, x, key: types.Attribution(m)


class MapsTest(parameterized.TestCase):
  @parameterized.parameters(*_METRICS)
  def test_a_map_that_is_not_finite_says_nothing(self, name):
    measure = jax.jit(_METRICS[name])
    for leaf in jax.tree.leaves(measure(_X)):
      self.assertFalse(np.isnan(leaf).any(), leaf)
    for value in (np.nan, np.inf, -np.inf):
      for bad in (_X.at[3, 4].set(value), value + 0 * _X):
        for leaf in jax.tree.leaves(measure(bad)):
          self.assertTrue(np.isnan(leaf).all(), leaf)

  def test_every_metric_is_here(self):
    others = {'layer_order', 'summarize_log_odds'}
    # Of images and classifiers.
    others |= {'blind', 'cell_region', 'disconnected', 'mosaic'}
    others |= {'residual_entropy', 'webp'}
    here = {'deletion_insertion', 'decision_flips', 'log_odds_curves'}
    self.assertEqual({*metrics.__all__} - others - here - {*_METRICS}, set())

  def test_features(self):
    x = jnp.zeros((2, 3, 2))
    entries = jnp.arange(12.0).reshape(x.shape) - 6
    np.testing.assert_allclose(maps.per_pixel(entries, x), np.sum(entries, -1))
    np.testing.assert_allclose(
      maps.per_pixel(entries, x, by_size=True), np.sum(np.abs(entries), -1)
    )
    np.testing.assert_allclose(
      maps.per_entry(entries[..., :1], x, by_size=True),
      np.repeat(np.abs(entries[..., :1]), 2, -1),
    )
    self.assertEqual(maps.per_pixel(jnp.ones((1, 3, 1)), x).shape, (2, 3))
    for wrong in (jnp.ones((2, 3)), jnp.ones((2, 2, 2))):
      with self.assertRaisesRegex(ValueError, 'do not broadcast'):
        maps.per_pixel(wrong, x)

  def test_totals_are_the_sums_of_players(self):
    rng = np.random.default_rng(0)
    x = jnp.zeros((4, 6, 2))
    scores = jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    labels = rng.permutation(np.arange(24) % 5).reshape(4, 6)
    for players, owner in (
      (maskers.segments(x, labels=labels), labels),
      (maskers.grid(x, cells=(4, 6)), np.arange(24).reshape(4, 6)),
    ):
      want = np.zeros(players.num)
      for pixel in np.ndindex(4, 6):
        want[owner[pixel]] += np.sum(scores[pixel])
      want = want.reshape(players.shape)
      got = maps.totals(scores, x, players)
      np.testing.assert_allclose(got, want, atol=1e-5)
      given = jnp.asarray(want, jnp.float32)[..., None]
      np.testing.assert_allclose(maps.totals(given, x, players), want, 1e-6)
    # What channels share counts for each of them.
    players = maskers.segments(x, labels=labels)
    shared, whole = (
      maps.totals(s, x, players)
      for s in (scores[..., :1], jnp.repeat(scores[..., :1], 2, -1))
    )
    np.testing.assert_allclose(shared, whole, rtol=1e-6)
    # Special tokens are nobody's.
    tokens = jnp.array([1, 5, 6, 2])
    players = maskers.tokens(tokens, words=[-1, 0, 0, -1])
    got = maps.totals(jnp.array([9.0, 1.0, 2.0, 9.0]), tokens, players)
    np.testing.assert_array_equal(got, [3])

  def test_relative(self):
    change = jnp.array([0.0, 0.0, 1.0, 1.0, jnp.nan])
    scale = jnp.array([0.0, 2.0, 0.0, 2.0, 2.0])
    np.testing.assert_array_equal(
      maps.relative(change, scale), [0, 0, np.inf, 0.5, np.nan]
    )


if __name__ == '__main__':
  absltest.main()
