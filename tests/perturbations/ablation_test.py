"""Tests for `ablation.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maskers
from saliency_jax.perturbations import ablation
from saliency_jax.perturbations import occlusion
from tests import equivalence
from tests import random_games


class AblationTest(parameterized.TestCase):
  @parameterized.parameters(False, True)
  def test_matches_the_definition(self, alone):
    worths = random_games.numbers(6)
    out = equivalence.compiled(ablation.ablation)(
      random_games.score(worths),
      random_games.row(worths),
      masker=maskers.entries,
      alone=alone,
    )
    bits = 2 ** np.arange(6)
    lost = worths[-1] - worths[63 - bits]
    want = worths[bits] - worths[0] if alone else lost
    np.testing.assert_allclose(out.scores, want, atol=1e-6)
    error = abs(want.sum() - (worths[-1] - worths[0]))
    np.testing.assert_allclose(out.info.efficiency_error, error, atol=1e-5)
    self.assertEqual(out.info.num_calls, 8)

  def test_is_occlusion_at_players(self):
    fn = lambda x: jnp.prod(1 + x[:3]) * jnp.sum(x)
    x = jnp.asarray(np.random.default_rng(0).uniform(size=5), jnp.float32)
    one, two = jax.jit(
      lambda x: (
        ablation.ablation(fn, x, masker=maskers.entries),
        occlusion.occlusion(fn, x, masker=maskers.entries),
      )
    )(x)
    np.testing.assert_allclose(one.scores, two.scores, rtol=1e-5)

  def test_equivalence(self):
    masker = functools.partial(maskers.grid, cells=(2, 3))
    method = functools.partial(ablation.ablation, masker=masker)
    equivalence.check(self, method)


if __name__ == '__main__':
  absltest.main()
