"""Occlusion against captum's, and a torch module as a black box."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
from captum import attr
import jax
import jax.numpy as jnp
import numpy as np
import torch

from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax.core import baselines
from saliency_jax.perturbations import occlusion
from saliency_jax.perturbations import rise
from tests import equivalence


class _Tiny(torch.nn.Module):
  """The tests' own network in torch, with the same weights."""

  def __init__(self, params):
    super().__init__()
    self.params = {k: torch.tensor(np.asarray(v)) for k, v in params.items()}

  def forward(self, x):
    weight = self.params['conv'].permute(3, 2, 0, 1)
    # 'SAME' at stride 2 pads one pixel, after the last.
    x = torch.nn.functional.pad(x, (0, 1, 0, 1))
    h = torch.nn.functional.conv2d(x, weight, self.params['bias'], stride=2)
    return torch.tanh(torch.relu(h).mean((2, 3))) @ self.params['dense']


@functools.cache
def _networks():
  apply, params = equivalence.network()
  return apply, params, _Tiny(params)


def _predict(batch):
  with torch.no_grad():
    return _networks()[2](torch.tensor(batch.transpose(0, 3, 1, 2))).numpy()


class OcclusionTest(parameterized.TestCase):
  @parameterized.parameters(
    ((4, 3), (2, 3)),
    ((3, 5), (2, 2)),  # Neither meets the border.
    ((8, 6), (1, 1)),
  )
  def test_matches_captum(self, window, stride):
    apply, params, net = _networks()
    (x,) = equivalence.examples(1)
    out = occlusion.occlusion(
      scores.logit(apply, params, 2),
      x,
      window=window,
      stride=stride,
      baseline=functools.partial(baselines.constant, value=0.3),
    )
    want = attr.Occlusion(net).attribute(
      torch.tensor(np.asarray(x).transpose(2, 0, 1)[None]),
      sliding_window_shapes=(3, *window),
      strides=(3, *stride),
      baselines=0.3,
      target=2,
    )
    want = want.numpy()[0].transpose(1, 2, 0)
    np.testing.assert_allclose(
      np.broadcast_to(out.scores, want.shape),
      want,
      atol=1e-5 * np.abs(want).max(),
    )


class TorchBlackBoxTest(parameterized.TestCase):
  @parameterized.parameters(
    functools.partial(occlusion.occlusion, window=(4, 3), stride=2),
    functools.partial(rise.rise, cells=3, num_masks=30),
  )
  def test_is_explained_as_the_same_network_in_jax(self, method):
    apply, params, _ = _networks()
    black_box = scores.from_host(_predict, (equivalence.NUM_CLASSES,))
    xs = equivalence.examples(3)
    labels = jnp.array([0, 1, 2], jnp.int32)
    got = explainer.build(method, lambda _, x: black_box(x), scores.prob)(
      (), xs, labels, jax.random.split(jax.random.key(0), 3)
    )
    want = explainer.build(method, apply, scores.prob)(
      params, xs, labels, jax.random.split(jax.random.key(0), 3)
    )
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
      np.testing.assert_allclose(a, b, atol=2e-6)


if __name__ == '__main__':
  absltest.main()
