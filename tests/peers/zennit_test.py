"""Layer-wise relevance propagation against zennit's, on SqueezeNet in float64.

| rule | zennit 0.5.1 and 1.0.0 | compared with |
|---|---|---|
| zero, gamma, alpha-beta, z-plus, z-box | the same, but for 1e-6 | zennit |
| epsilon | epsilon is absolute, here relative | zennit, given ours |
| biases of w-square | have a part | not compared |
| scalings and means as functions | passed over: a gradient | modules of these |
| several convolutions of one sum | each its own, as here | zennit |

zennit reads what a network is from its modules; for how it is installed see
`experiments/benchmarking/zennits.py`.
"""

import functools
import unittest

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import torch

from experiments.benchmarking import zennits
from saliency_jax import data
from saliency_jax import models
from saliency_jax.models import checkpoints
from saliency_jax.models import convolutions
from saliency_jax.propagation import composites
from saliency_jax.propagation import lrp
from saliency_jax.propagation import rules

_SIZE, _LABEL, _TINY = 67, 243, 1e-30
_zero = functools.partial(composites.epsilon, epsilon=0.0)


@functools.cache
def _arrays():
  path = models.weights_path('squeezenet')
  return {
    name: tuple(np.asarray(a, np.float64) for a in pair)
    for name, pair in checkpoints.read_arrays(path).items()
  }


def _photo():
  image = data.prepare(data.load('photos')[0]['image'], size=(_SIZE, _SIZE))
  # What the published weights take; scalings are no modules of zennit's.
  return 255 * image[..., ::-1].astype(np.float64) - [104.0, 116.7, 122.7]


def _score(x):
  """The network of the published weights, in JAX."""

  def conv(h, name, **settings):
    kernel, bias = map(jnp.asarray, _arrays()[name])
    return convolutions.conv(h, kernel, **settings) + bias[None, None, None]

  h = conv(x[None], 'conv1', strides=(2, 2), padding='VALID')
  h = jax.nn.relu(h)
  for i in range(2, 10):
    if i in (2, 4, 6):
      h = convolutions.max_pool(h, window=(3, 3), strides=(2, 2))
    h = jax.nn.relu(conv(h, f'fire{i}/squeeze1x1'))
    h = jnp.concatenate([conv(h, f'fire{i}/expand{k}x{k}') for k in (1, 3)], -1)
    h = jax.nn.relu(h)
  return jnp.mean(conv(h, 'conv10'), (0, 1, 2))[_LABEL]


class _Fire(torch.nn.Module):
  def __init__(self, name):
    super().__init__()
    self.squeeze = _conv(f'{name}/squeeze1x1')
    self.first, self.last = torch.nn.ReLU(), torch.nn.ReLU()
    self.parts = torch.nn.ModuleList(
      [_conv(f'{name}/expand1x1'), _conv(f'{name}/expand3x3', padding=1)]
    )

  def forward(self, h):
    h = self.first(self.squeeze(h))
    return self.last(torch.cat([part(h) for part in self.parts], 1))


def _conv(name, **settings):
  kernel, bias = map(torch.tensor, _arrays()[name])
  kernel = kernel.permute(3, 2, 0, 1).contiguous()
  conv = torch.nn.Conv2d(
    kernel.shape[1], kernel.shape[0], kernel.shape[2:], **settings
  )
  conv.weight, conv.bias = map(torch.nn.Parameter, (kernel, bias))
  return conv


def _network():
  """The same network of torch's modules."""
  parts = [_conv('conv1', stride=2), torch.nn.ReLU()]
  for i in range(2, 10):
    if i in (2, 4, 6):
      parts.append(torch.nn.MaxPool2d(3, 2))
    parts.append(_Fire(f'fire{i}'))
  return torch.nn.Sequential(
    *parts, _conv('conv10'), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
  )


def _theirs(first, rest):
  """Returns zennit's map, by rules of the first and of other convolutions."""
  zennit = zennits.load()
  network = _network()

  class Composite(zennit.core.Composite):
    def __init__(self):
      super().__init__(module_map=self.choose)

    @staticmethod
    def choose(ctx, name, module):
      if isinstance(module, torch.nn.Conv2d):
        return (first if name == '0' else rest)()
      if isinstance(module, torch.nn.ReLU):
        return zennit.rules.Pass()
      if isinstance(module, torch.nn.AdaptiveAvgPool2d):
        return zennit.rules.Norm(stabilizer=_TINY)
      return None

  x = torch.tensor(_photo().transpose(2, 0, 1)[None]).requires_grad_()
  with zennit.attribution.Gradient(network, Composite()) as attributor:
    start = lambda out: (
      out * torch.nn.functional.one_hot(torch.tensor([_LABEL]), out.shape[1])
    )
    _, relevance = attributor(x, start)
  return relevance[0].numpy().transpose(1, 2, 0)


@unittest.skipUnless(zennits.load(), 'pip install --no-deps zennit')
class ZennitTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('zero', 'Epsilon', {'epsilon': _TINY}, rules.zero),
    ('gamma', 'Gamma', {}, rules.gamma),
    ('alpha_beta', 'AlphaBeta', {}, rules.alpha_beta),
    ('z_plus', 'ZPlus', {}, rules.z_plus),
    ('epsilon', 'Epsilon', {'epsilon': 0.05}, rules.epsilon),
    ('z_box', 'ZPlus', {}, rules.z_plus, True),
  )
  def test_same_map(self, name, settings, rule, boxed=False):
    theirs = getattr(zennits.load().rules, name)
    if name == 'Epsilon' and settings['epsilon'] > _TINY:
      share = settings['epsilon']
      rule = functools.partial(rule, epsilon=share)

      def stabilise(z):
        # Relevance is where the ReLU behind it is open; of the last layer, at
        # one class.
        last = z.shape[1] == 1000
        size = z[:, _LABEL].abs() if last else z.clamp(min=0)
        e = share * size.max()
        return torch.where(z < 0, z - e, z + e)

      settings = {'epsilon': stabilise}
    elif 'epsilon' not in settings:
      settings = {'stabilizer': _TINY}
    rest = functools.partial(theirs, **settings)
    first, first_rule = rest, rule
    if boxed:
      low, high = -123.0, 151.0
      first = functools.partial(
        zennits.load().rules.ZBox, low, high, stabilizer=_TINY
      )
      first_rule = functools.partial(rules.z_box, low=low, high=high)

    def composite(place):
      if not composites.is_convolution(place):
        return _zero(place)
      return first_rule if place.depth == 0 else rule

    with jax.enable_x64():
      got = jax.jit(functools.partial(lrp.lrp, _score, composite=composite))(
        jnp.asarray(_photo())
      )
      scores = np.asarray(got.scores)
    want = _theirs(first, rest)
    cosine = np.vdot(scores, want) / np.linalg.norm(scores)
    cosine /= np.linalg.norm(want)
    self.assertGreater(cosine, 0.9999)
    scale = np.max(np.abs(want))
    self.assertGreater(scale, 0)
    np.testing.assert_allclose(scores / scale, want / scale, atol=1e-6)


if __name__ == '__main__':
  absltest.main()
