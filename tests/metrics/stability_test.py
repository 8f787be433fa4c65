"""Tests for `stability.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import metrics
from saliency_jax import scores
from saliency_jax import taps
from saliency_jax.core import sampling
from saliency_jax.core import types
from tests import equivalence


def _ratio(change, base):
  return np.linalg.norm((change / np.where(base == 0, 1e-6, base)).ravel())


class RelativeStabilityTest(parameterized.TestCase):
  def test_matches_loop(self):
    apply, params = equivalence.network()
    (x,) = equivalence.examples(1)
    logits_fn = functools.partial(apply, params)
    fn = scores.logit(apply, params, 1)
    layer_fn = lambda x: taps.split(logits_fn, x, 'features').trunk(x)[0]
    explain = jax.jit(lambda x: saliency_jax.gradient(fn, x).scores)
    m, key, num, radius = explain(x), jax.random.key(3), 9, 0.3
    found = []
    for i in range(num):
      draw = sampling.draw_key(key, i + 1)
      y = x + radius * sampling.uniform(draw, x, low=-1)
      if np.argmax(logits_fn(y)) != np.argmax(logits_fn(x)):
        continue
      moved = _ratio(np.asarray(m - explain(y)), np.asarray(m))
      layers = [np.asarray(layer_fn(a)) for a in (x, y)]
      found.append(
        (
          moved / _ratio(np.asarray(x - y), np.asarray(x)),
          moved / np.linalg.norm(logits_fn(x) - logits_fn(y)),
          moved / _ratio(layers[0] - layers[1], layers[0]),
        )
      )
    got = jax.jit(
      lambda m: metrics.relative_stability(
        fn,
        x,
        m,
        logits_fn=logits_fn,
        method=saliency_jax.gradient,
        key=key,
        layer_fn=layer_fn,
        radius=radius,
        num_samples=num,
        batch_size=4,
      )
    )(m)
    self.assertEqual(got.same, len(found))
    np.testing.assert_allclose(got[:3], np.max(found, 0), rtol=1e-3)

  def test_closed_form(self):
    """The gradient of a quadratic moves as the example does."""
    x = jnp.array([1.0, -2.0, 0.5])
    fn = lambda x: jnp.sum(x**2) / 2
    logits_fn = lambda x: jnp.stack([3 * jnp.sum(x), -100.0])
    measure = functools.partial(
      metrics.relative_stability,
      fn,
      x,
      logits_fn=logits_fn,
      method=saliency_jax.gradient,
      key=jax.random.key(0),
    )
    got = measure(x)
    np.testing.assert_allclose(got.ris, 1, rtol=1e-4)
    self.assertTrue(np.isnan(got.rrs))
    self.assertEqual(got.same, 50)
    # By a layer that is the example, doubled, it is the same.
    np.testing.assert_allclose(
      measure(x, layer_fn=lambda x: 2 * x).rrs, 1, rtol=1e-4
    )
    # A constant map is stable, and a map that is not finite is nothing.
    still = measure(x, method=lambda fn, y, *, key: types.Attribution(x))
    self.assertEqual((still.ris, still.ros), (0, 0))
    self.assertTrue(np.isnan(measure(x.at[0].set(jnp.nan)).ros))

  def test_zeros_count_as_eps(self):
    x = jnp.array([0.0, 1.0])
    method = lambda fn, y, *, key: types.Attribution(y * jnp.array([1.0, 0.0]))
    got = metrics.relative_stability(
      jnp.sum,
      x,
      jnp.zeros(2),
      logits_fn=lambda x: jnp.array([1.0, 0.0]) + 0 * x,
      method=method,
      key=jax.random.key(0),
      eps=1e-3,
      num_samples=3,
    )
    # Map and example are divided by eps alike; the logits do not change.
    self.assertBetween(got.ris, 0.9, 1)
    self.assertGreater(got.ros, 1e3)

  def test_no_neighbour_of_the_decision(self):
    x = jnp.zeros(3)
    away = lambda x: jnp.stack([jnp.array(1e-9), jnp.sum(jnp.abs(x))])
    got = metrics.relative_stability(
      jnp.sum,
      x,
      x,
      logits_fn=away,
      method=saliency_jax.gradient,
      key=jax.random.key(0),
      num_samples=3,
    )
    self.assertEqual(got.same, 0)
    self.assertTrue(np.isnan(got.ris))

  def test_a_draw_of_the_method_is_one_for_all(self):
    drawn = lambda fn, x, *, key: types.Attribution(sampling.normal(key, x))
    x, key = jnp.ones(4), jax.random.key(0)
    m = drawn(None, x, key=sampling.key_for(key, sampling.METHOD)).scores
    got = metrics.relative_stability(
      jnp.sum,
      x,
      m,
      logits_fn=lambda x: x,
      method=drawn,
      key=key,
      num_samples=3,
    )
    self.assertEqual(got.ris, 0)

  def test_bad_arguments(self):
    x = jnp.ones(3)
    measure = functools.partial(
      metrics.relative_stability,
      jnp.sum,
      x,
      logits_fn=lambda x: x,
      method=saliency_jax.gradient,
      key=jax.random.key(0),
    )
    with self.assertRaisesRegex(ValueError, r'radius must be in \(0, inf\)'):
      measure(x, radius=0)
    with self.assertRaisesRegex(ValueError, r'eps must be in \(0, inf\)'):
      measure(x, eps=0)
    with self.assertRaisesRegex(ValueError, 'do not broadcast'):
      measure(x[:2])


if __name__ == '__main__':
  absltest.main()
