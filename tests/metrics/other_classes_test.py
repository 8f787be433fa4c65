"""Tests for `other_classes.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import metrics
from saliency_jax import scores
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.metrics import likeness
from tests import equivalence

_SHAPE = (8, 8, 3)


def _network():
  return equivalence.network(shape=_SHAPE)


class RandomLogitTest(parameterized.TestCase):
  def test_matches_loop(self):
    apply, params = _network()
    (x,) = equivalence.examples(1, shape=_SHAPE)
    map_of = lambda c: (
      saliency_jax.gradient(scores.logit(apply, params, c), x).scores
    )
    label = int(np.argmax(apply(params, x)))
    for batch_size in (1, None):
      got = metrics.random_logit(
        saliency_jax.gradient,
        apply,
        params,
        x,
        key=jax.random.key(0),
        num_samples=3,
        batch_size=batch_size,
      )
      # All the others, each once.
      self.assertCountEqual(got.labels.tolist(), {0, 1, 2, 3} - {label})
      for i, other in enumerate(got.labels.tolist()):
        want = likeness.compare(map_of(other), map_of(label))
        one = jax.tree.map(lambda a, i=i: a[i], got.likeness)
        equivalence.assert_close(one, want)

  def test_map_of_the_image_alone(self):
    apply, params = _network()
    (x,) = equivalence.examples(1, shape=_SHAPE)
    image = lambda fn, x, *, key: types.Attribution(x)
    got = metrics.random_logit(
      image, apply, params, x, key=jax.random.key(0), label=2
    )
    self.assertNotEqual(got.labels[0], 2)
    np.testing.assert_allclose(got.likeness.ssim, 1, atol=1e-5)
    np.testing.assert_allclose(got.likeness.rank_correlation, 1, atol=1e-5)
    np.testing.assert_allclose(got.likeness.distance, 0, atol=1e-5)

  def test_opposite_classes(self):
    # Of two classes by a margin, the maps are each other's negative.
    apply = lambda params, x: jnp.stack([1.0, -1.0]) * jnp.sum(params * x)
    params = jax.random.normal(jax.random.key(1), _SHAPE)
    got = metrics.random_logit(
      saliency_jax.gradient,
      apply,
      params,
      jnp.ones(_SHAPE),
      key=jax.random.key(0),
    )
    np.testing.assert_allclose(got.likeness.rank_correlation, -1, atol=1e-5)
    np.testing.assert_allclose(got.likeness.rank_correlation_abs, 1, atol=1e-5)
    np.testing.assert_allclose(got.likeness.distance, 2, atol=1e-5)

  def test_every_other_class_is_as_likely(self):
    apply = lambda params, x: jnp.array([0.0, 1.0, 0.0, 0.0, 0.0])
    draw = lambda key: metrics.random_logit(
      lambda fn, x, *, key: types.Attribution(x),
      apply,
      (),
      jnp.ones((7, 7, 1)),
      key=key,
    ).labels[0]
    labels = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), 400))
    counts = np.bincount(labels, minlength=5)
    self.assertEqual(counts[1], 0)
    error = 4 * np.sqrt(400 * 0.25 * 0.75)
    np.testing.assert_allclose(counts[[0, 2, 3, 4]], 100, atol=error)

  def test_one_key_for_all_maps(self):
    apply, params = _network()
    (x,) = equivalence.examples(1, shape=_SHAPE)
    drawn = lambda fn, x, *, key: types.Attribution(sampling.normal(key, x))
    got = metrics.random_logit(drawn, apply, params, x, key=jax.random.key(0))
    np.testing.assert_allclose(got.likeness.distance, 0, atol=1e-6)

  def test_bad_arguments(self):
    apply, params = _network()
    (x,) = equivalence.examples(1, shape=_SHAPE)
    with self.assertRaisesRegex(ValueError, r'num_samples .* in \[1, 3\], got'):
      metrics.random_logit(
        functools.partial(saliency_jax.gradient),
        apply,
        params,
        x,
        key=jax.random.key(0),
        num_samples=4,
      )


if __name__ == '__main__':
  absltest.main()
