"""Tests for `sanity.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from saliency_jax import metrics
from saliency_jax import scores
from saliency_jax.core import types
from saliency_jax.gradients import gradient
from saliency_jax.gradients import smoothgrad
from saliency_jax.metrics import sanity
from tests import equivalence

_SHAPE = (8, 8, 3)


def _nested():
  """A network whose keys are in no order, cast and transposed before use."""
  keys = jax.random.split(jax.random.key(0), 4)
  params = {
    'z_first': {'w': jax.random.normal(keys[0], (9, 192)), 'b': jnp.zeros(9)},
    'a_last': {'w': jax.random.normal(keys[1], (9, 4))},
    'middle': {
      'two': {'w': jax.random.normal(keys[2], (9, 9))},
      'one': {'w': jax.random.normal(keys[3], (9, 9))},
    },
    'unused': jnp.ones(3),
  }

  @jax.jit
  def inner(p, h):
    h = jnp.tanh(p['one']['w'] @ h)
    return jnp.tanh(p['two']['w'].T @ h)

  def apply(params, x):
    # Touching every parameter first must not count as their use.
    p = jax.tree.map(lambda a: 1.0 * a, params)
    h = jnp.tanh(p['z_first']['w'] @ x.ravel() + p['z_first']['b'])
    return p['a_last']['w'].T @ inner(p['middle'], h)

  return apply, params


_ORDER = ('z_first', 'middle/one', 'middle/two', 'a_last')


class SanityTest(parameterized.TestCase):
  def test_layer_order_is_that_of_the_forward_pass(self):
    apply, params = _nested()
    (x,) = equivalence.examples(1, shape=_SHAPE)
    self.assertEqual(metrics.layer_order(apply, params, x), _ORDER)
    with self.assertRaisesRegex(ValueError, 'no parameter meets'):
      metrics.layer_order(lambda p, x: x.ravel(), params, x)

  def test_randomize_top(self):
    _, params = _nested()
    random = jax.tree.map(lambda a: jnp.full_like(a, 7), params)
    for depth in range(5):
      mixed = sanity.randomize_top(params, random, _ORDER, depth)
      flat = {
        jax.tree_util.keystr(k, simple=True, separator='/'): v
        for k, v in jax.tree.leaves_with_path(mixed)
      }
      for i, layer in enumerate(_ORDER):
        is_random = bool(jnp.all(flat[f'{layer}/w'] == 7))
        self.assertEqual(is_random, i >= 4 - depth)
      self.assertFalse(np.any(flat['unused'] == 7))
    with self.assertRaisesRegex(ValueError, "layer 'nowhere' is none of"):
      sanity.randomize_top(params, random, ('nowhere',), 0)

  @parameterized.parameters(sanity.shuffle, sanity.gaussian)
  def test_cascade(self, initialize):
    apply, params = _nested()
    (x,) = equivalence.examples(1, shape=_SHAPE)
    got = metrics.cascading_randomization(
      gradient.gradient,
      apply,
      params,
      x,
      key=jax.random.key(0),
      initialize=initialize,
    )
    for field in got:
      self.assertEqual(field.shape, (5,))
      self.assertTrue(np.all(np.isfinite(field)))
    for name in ('rank_correlation', 'rank_correlation_abs', 'ssim', 'norm'):
      np.testing.assert_allclose(getattr(got, name)[0], 1, rtol=1e-5)
    np.testing.assert_allclose(got.distance[0], 0, atol=1e-5)
    # All layers are random: the gradient keeps nothing.
    self.assertLess(abs(got.rank_correlation[-1]), 0.5)
    self.assertGreater(got.distance[-1], 0.8)

  def test_matches_loop(self):
    apply, params = _nested()
    (x,) = equivalence.examples(1, shape=_SHAPE)
    key = jax.random.key(5)
    method = functools.partial(smoothgrad.smooth_grad, num_samples=3)
    support = x[..., 0] > 0.6
    got = metrics.cascading_randomization(
      method,
      apply,
      params,
      x,
      key=key,
      label=2,
      score=scores.prob,
      layers=('middle', 'a_last'),
      support=support,
      batch_size=2,
    )
    random = sanity._initialize(
      jax.random.fold_in(key, 1), params, sanity.shuffle
    )
    mixed = params
    maps = []
    for layer in (None, 'a_last', 'middle'):
      mixed = dict(mixed, **({layer: random[layer]} if layer else {}))
      fn = scores.prob(apply, mixed, 2)
      maps.append(method(fn, x, key=jax.random.fold_in(key, 0)).scores)
    for d, m in enumerate(maps):
      m, trained = np.asarray(m), np.asarray(maps[0])
      for field, change in (
        ('rank_correlation', lambda a: a),
        ('rank_correlation_abs', np.abs),
      ):
        want = stats.spearmanr(
          *(change(a[support]).ravel() for a in (m, trained))
        )
        np.testing.assert_allclose(
          getattr(got, field)[d], want.statistic, atol=1e-4
        )
      np.testing.assert_allclose(
        got.norm[d],
        jnp.linalg.norm(m.ravel()) / jnp.linalg.norm(maps[0].ravel()),
        rtol=1e-4,
      )

  def test_map_that_ignores_the_network_never_changes(self):
    apply, params = _nested()
    (x,) = equivalence.examples(1, shape=_SHAPE)

    def edges(fn, x, *, key=None):
      del fn, key
      return types.Attribution(x - jnp.roll(x, 1, 0))

    got = metrics.cascading_randomization(
      edges, apply, params, x, key=jax.random.key(0), batch_size=None
    )
    for field in got[:4]:
      np.testing.assert_allclose(field, 1, rtol=1e-5)
    np.testing.assert_allclose(got.distance, 0, atol=1e-5)

  def test_shuffle_keeps_the_entries(self):
    leaf = jnp.arange(12.0).reshape(3, 4)
    got = sanity.shuffle(jax.random.key(0), leaf)
    self.assertEqual(got.shape, leaf.shape)
    np.testing.assert_array_equal(np.sort(got.ravel()), leaf.ravel())
    self.assertTrue(np.any(got != leaf))


if __name__ == '__main__':
  absltest.main()
