"""Tests for `players.py`."""

import functools

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from experiments.tables import players
from experiments.tables import settings
import saliency_jax
from saliency_jax import maskers
from saliency_jax.core import baselines


class PlayersTest(absltest.TestCase):
  def test_is_the_method_with_a_grid(self):
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(6, 6, 1)))
    x = x.astype(jnp.float32)
    fn = lambda x: jnp.tanh(jnp.sum(x[:3]) * x[4, 4, 0])
    of_cells = players.of_cells(saliency_jax.kernel_shap)
    got = jax.jit(
      lambda x: of_cells(fn, x, cells=2, baseline=baselines.constant)
    )(x)
    masker = functools.partial(
      maskers.grid, cells=2, baseline=baselines.constant
    )
    want = jax.jit(lambda x: saliency_jax.kernel_shap(fn, x, masker=masker))(x)
    jax.tree.map(np.testing.assert_array_equal, got, want)

  def test_settings_are_what_can_be_spelled(self):
    found = settings.parameters(players.of_cells(saliency_jax.ball_regression))
    self.assertEqual(list(found), ['cells', 'baseline', 'order', 'batch_size'])


if __name__ == '__main__':
  absltest.main()
