"""What the benchmark times of other coalitions is the same work as ours."""

import functools
import unittest

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.tables import methods
from saliency_jax import scores
from saliency_jax.perturbations import gaussian_process

torch = pytest.importorskip('torch')
pytest.importorskip('captum')

from experiments.benchmarking import coalition_peers  # noqa: E402

_LABEL = 1
_IMAGE = np.random.default_rng(0).uniform(size=(8, 8, 3)).astype(np.float32)
_COMMON = {'cells': 2, 'batch_size': 4}
# Of four cells, all 14 sets and more.
_SETTINGS = {
  'ablation': _COMMON,
  'kernel_shap': {**_COMMON, 'num_samples': 14, 'num_fresh': 2},
  'lime': {**_COMMON, 'num_samples': 30, 'num_fresh': 10},
  'shapley': {
    **_COMMON,
    'estimator': functools.partial(
      gaussian_process.gaussian_process, num_samples=10
    ),
  },
}
_PEERS = {
  'ablation': ['captum', 'torch alone'],
  'kernel_shap': ['captum', 'shap', 'torch alone'],
  'lime': ['captum', 'lime', 'torch alone'],
  'shapley': ['captum', 'shap', 'torch alone'],
}


@functools.cache
def _network():
  """Returns a network of random weights, and the sizes of its batches."""
  torch.manual_seed(0)
  network = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3),
    torch.nn.ReLU(),
    torch.nn.Flatten(),
    torch.nn.Linear(4 * 36, 3),
  )
  sizes = []
  network.register_forward_hook(
    lambda module, args, out: sizes.append(len(args[0]))
  )
  return network.eval(), sizes


def _ours(name):
  """Returns our map `[8, 8]` of the same network, and its diagnostics."""
  network, _ = _network()

  def predict(batch):
    with torch.no_grad():
      logits = network(torch.from_numpy(batch).permute(0, 3, 1, 2))
      return torch.softmax(logits, -1)[:, _LABEL].numpy()

  method = functools.partial(methods.METHODS[name].method, **_SETTINGS[name])
  explain = jax.jit(
    lambda x, key: method(scores.from_host(predict), x, key=key)
  )
  out = explain(jnp.asarray(_IMAGE), jax.random.key(0))
  return np.asarray(out.scores[..., 0]), jax.device_get(out.info)


def _run(name, library):
  """Returns what a peer finds, and the sizes of the batches that it called."""
  network, sizes = _network()
  runs = coalition_peers.explainers(network, _IMAGE, _LABEL)[name]
  runs = runs(_SETTINGS[name])
  if library not in runs:
    raise unittest.SkipTest(f'{library} is not installed')
  sizes.clear()
  return runs[library](), tuple(sizes)


class CoalitionPeersTest(parameterized.TestCase):
  def test_captum_ablates_the_same_cells(self):
    found, _ = _run('ablation', 'captum')
    ours, _ = _ours('ablation')
    for channel in np.asarray(found[0].detach()):
      np.testing.assert_allclose(channel, ours, atol=1e-6)

  def test_shap_finds_the_same_values(self):
    found, _ = _run('kernel_shap', 'shap')
    _, info = _ours('kernel_shap')
    np.testing.assert_allclose(found, info.values.ravel(), atol=1e-6)

  @parameterized.parameters(
    *((name, library) for name, all_ in _PEERS.items() for library in all_)
  )
  def test_as_many_calls_in_batches_of_ours(self, name, library):
    _, sizes = _run(name, library)
    _, info = _ours(name)
    # The ends are in or out of what is counted, and shap knows them.
    self.assertBetween(sum(sizes), info.num_calls - 4, info.num_calls + 4)
    self.assertLessEqual(max(sizes), 4)


if __name__ == '__main__':
  absltest.main()
