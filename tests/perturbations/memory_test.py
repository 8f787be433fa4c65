"""Memory of the methods of coalitions at 784 players, by their `batch_size`.

What is as large as the example is held for the coalitions of one batch alone;
regressions hold a few numbers a coalition and player, and tables of players.
"""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax

from saliency_jax import maskers
from saliency_jax import scores
from saliency_jax.perturbations import ablation
from saliency_jax.perturbations import banzhaf
from saliency_jax.perturbations import gaussian_process
from saliency_jax.perturbations import kernel_shap
from saliency_jax.perturbations import lime
from saliency_jax.perturbations import shapley
from saliency_jax.perturbations import stratified
from tests import equivalence

_SHAPE, _BATCH_SIZE = (56, 56, 3), 8
_IMAGE = 4 * 56 * 56 * 3


def _shapley(estimator, **settings):
  estimator = functools.partial(estimator, **settings)
  return functools.partial(shapley.shapley, estimator=estimator)


# A method, and how many numbers it may hold a player: a few a coalition, where
# it solves for the players. The images of all coalitions would be far more.
_METHODS = {
  'ablation': (ablation.ablation, 0),
  'permutation': (_shapley(shapley.permutation, num_pairs=2), 0),
  'permutation until it is good': (
    _shapley(shapley.permutation, num_pairs=2, tolerance=0.1),
    0,
  ),
  'stratified': (_shapley(stratified.stratified, num_orders=2), 0),
  'banzhaf': (functools.partial(banzhaf.banzhaf, num_samples=1000), 3 * 1000),
  'lime': (
    functools.partial(lime.lime, num_samples=900, num_fresh=100),
    6 * 1000,
  ),
  'kernel_shap': (
    functools.partial(kernel_shap.kernel_shap, num_samples=1600, num_fresh=8),
    5 * 808,
  ),
  'gaussian_process': (
    _shapley(gaussian_process.gaussian_process, num_samples=1600),
    7 * 1600,
  ),
}


class MemoryTest(parameterized.TestCase):
  @parameterized.parameters(*_METHODS)
  def test_of_many_players(self, name):
    method, numbers = _METHODS[name]
    apply, params = equivalence.network(shape=_SHAPE)
    (x,) = equivalence.examples(1, shape=_SHAPE)
    masker = functools.partial(maskers.grid, cells=28)

    def explain(params, x, key):
      fn = scores.logit(apply, params, 1)
      return method(fn, x, key=key, masker=masker, batch_size=_BATCH_SIZE)

    num_bytes = equivalence.temp_bytes(explain, params, x, jax.random.key(0))
    self.assertLess(num_bytes, 4 * 784 * numbers + 3 * _BATCH_SIZE * _IMAGE)


if __name__ == '__main__':
  absltest.main()
