"""Tests for `players.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments.core import superpixels
from experiments.tables import players
from experiments.tables import settings
import saliency_jax
from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import graphs

_X = np.random.default_rng(0).uniform(size=(6, 6, 1)).astype(np.float32)
_LABELS = np.repeat([[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5]], 3, 0)


def _fn(x):
  return jnp.tanh(jnp.sum(x[:3]) * x[4, 4, 0])


def _explain(method, x=_X, **settings):
  return jax.jit(lambda x: method(_fn, x, **settings))(x)


class PlayersTest(parameterized.TestCase):
  def test_is_the_method_with_a_grid(self):
    of_image = players.of_image(saliency_jax.kernel_shap)
    got = _explain(of_image, cells=2, baseline=baselines.constant)
    masker = functools.partial(
      maskers.grid, cells=2, baseline=baselines.constant
    )
    want = _explain(saliency_jax.kernel_shap, masker=masker)
    jax.tree.map(np.testing.assert_array_equal, got, want)

  def test_segments_of_one_image(self):
    of_image = players.of_image(saliency_jax.l_shapley)
    got = _explain(of_image, segments=_LABELS)
    want = _explain(
      saliency_jax.l_shapley,
      masker=functools.partial(maskers.segments, labels=_LABELS),
      edges=graphs.grid((2, 3)),
    )
    jax.tree.map(np.testing.assert_array_equal, got, want)

  def test_segments_of_any_image(self):
    xs = np.random.default_rng(1).uniform(size=(2, 12, 12, 3))
    xs = xs.astype(np.float32)
    found = [superpixels.find(x, 4) for x in xs]
    self.assertTrue(np.any(found[0] != found[1]))
    of_image = players.of_image(saliency_jax.ablation)
    run = jax.jit(jax.vmap(lambda x: of_image(_fn, x, segments=4)))
    got = jax.device_get(run(xs))
    for i, (x, labels) in enumerate(zip(xs, found, strict=True)):
      want = _explain(of_image, x, segments=labels)
      np.testing.assert_allclose(got.scores[i], want.scores, rtol=1e-5)
      self.assertEqual(got.info.num_calls[i], 6)

  @parameterized.parameters(
    ('l_shapley', 4, 'segments=4: which superpixels touch is .* expected cel'),
    ('lime', 1, r'segments must be a whole number in \[2, 36\], got 1'),
    ('lime', 37, r'segments must be a whole number in \[2, 36\], got 37'),
  )
  def test_refuses(self, name, num, message):
    of_image = players.of_image(getattr(saliency_jax, name))
    with self.assertRaisesRegex(ValueError, message):
      jax.eval_shape(lambda x: of_image(_fn, x, segments=num), _X)

  def test_labels(self):
    image = np.random.default_rng(1).uniform(size=(12, 12, 3))
    every = {
      'lime': {'cells': 14, 'segments': None},
      'shapley': {'cells': 7, 'segments': 5},
      'banzhaf': {'cells': 3, 'segments': None},
      'rise': {'cells': 7},
    }
    given = {**dict.fromkeys(every, {}), 'banzhaf': {'cells': 3}}
    found = players.labels(image, every, 4, given)
    self.assertEqual(
      {n: f.max() + 1 for n, f in found.items()},
      {
        'lime': 4,
        'shapley': 5,
      },
    )
    self.assertEqual(
      list(players.labels(image, every, None, given)), ['shapley']
    )
    with self.assertRaisesRegex(ValueError, 'lime.segments must be .*got 999'):
      players.labels(image, every, 999, given)

  def test_settings_are_what_can_be_spelled(self):
    found = settings.parameters(players.of_image(saliency_jax.ball_regression))
    self.assertEqual(
      list(found), ['cells', 'segments', 'baseline', 'order', 'batch_size']
    )


if __name__ == '__main__':
  absltest.main()
