"""LRP, excitation backpropagation and DeepLIFT of a whole SqueezeNet.

In float64, against zennit; and DeepLIFT against a network whose slopes are held
fast. zennit reads what a network is from its modules:
`experiments/benchmarking/zennits.py` says how it is installed, and `README.md`
in this folder where it differs.
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
from saliency_jax.propagation import deeplift
from saliency_jax.propagation import excitation
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


def _theirs(first, rest, pool=None, x=None, winning=False):
  """Returns zennit's map.

  Args:
    first: rule of the first convolution.
    rest: of the others.
    pool: of the average pool; by contributions if not given.
    x: the photo if not given.
    winning: whether one, and not the logit, is handed back.
  """
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
        return pool or zennit.rules.Norm(stabilizer=_TINY)
      return None

  x = torch.tensor(_photo() if x is None else x).permute(2, 0, 1)[None]
  with zennit.attribution.Gradient(network, Composite()) as attributor:
    one = torch.nn.functional.one_hot(torch.tensor([_LABEL]), 1000).double()
    start = lambda out: one if winning else out * one
    _, relevance = attributor(x.requires_grad_(), start)
  return relevance[0].numpy().transpose(1, 2, 0)


def _positive_pool():
  """Returns a rule of zennit's that hands on by positive parts."""
  zennit = zennits.load()
  return zennit.core.BasicHook(
    input_modifiers=[lambda a: a.clamp(min=0)],
    param_modifiers=[zennit.rules.NoMod(param_keys=[])],
    output_modifiers=[lambda a: a],
    gradient_mapper=lambda r, out: r / (out[0] + _TINY),
    reducer=lambda inputs, gradients: inputs[0] * gradients[0],
  )


def _held(value, h, slope):
  """Returns `value`, with a derivative in `h` that is held fast."""
  linear = slope.detach() * h
  return linear + (value - linear).detach()


def _between(module, h, h0):
  """Applies a module at two examples; derivatives of the first are rescaled."""
  ratio = lambda a, b: torch.where(b == 0, 0, a / torch.where(b == 0, 1, b))
  if isinstance(module, torch.nn.Sequential):
    for part in module:
      h, h0 = _between(part, h, h0)
    return h, h0
  if isinstance(module, _Fire):
    h, h0 = _between(module.first, *map(module.squeeze, (h, h0)))
    ends = [torch.cat([f(a) for f in module.parts], 1) for a in (h, h0)]
    return _between(module.last, *ends)
  y0 = module(h0)
  if isinstance(module, torch.nn.ReLU):
    y = module(h)
    return _held(y, h, ratio(y - y0, h - h0)), y0
  if isinstance(module, torch.nn.MaxPool2d):
    pool = functools.partial(
      torch.nn.functional.max_pool2d_with_indices, kernel_size=3, stride=2
    )
    (y, places), (y0, places0) = pool(h), pool(h0)
    # The entry that wins where the maximum is larger.
    places = torch.where(y >= y0, places, places0).flatten(2)
    won, won0 = (
      a.flatten(2).gather(2, places).reshape(y.shape) for a in (h, h0)
    )
    return _held(y, won, ratio(y - y0, won - won0)), y0
  return module(h), y0


def _deeplift(x, start):
  """Returns DeepLIFT from a baseline."""
  h, h0 = (torch.tensor(a.transpose(2, 0, 1)[None]) for a in (x, start))
  h.requires_grad_()
  y, _ = _between(_network(), h, h0)
  (slope,) = torch.autograd.grad(y[0, _LABEL], h)
  return ((h - h0) * slope)[0].detach().numpy().transpose(1, 2, 0)


class SqueezeNetTest(parameterized.TestCase):
  def _ours(self, method, x=None):
    with jax.enable_x64():
      explain = jax.jit(functools.partial(method, _score))
      return np.asarray(explain(_photo() if x is None else x).scores)

  def _assert_same(self, got, want):
    cosine = np.vdot(got, want) / np.linalg.norm(got) / np.linalg.norm(want)
    self.assertGreater(cosine, 0.9999)
    scale = np.max(np.abs(want))
    self.assertGreater(scale, 0)
    np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=1e-6)

  def test_deeplift(self):
    # In the windows of an image of one colour all entries would tie, up to
    # rounding.
    start = np.random.default_rng(0).normal(size=(_SIZE, _SIZE, 3))
    ours = functools.partial(deeplift.deeplift, baseline=start)
    self._assert_same(self._ours(ours), _deeplift(_photo(), start))

  @parameterized.named_parameters(
    ('zero', 'Epsilon', {'epsilon': _TINY}, rules.zero),
    ('gamma', 'Gamma', {}, rules.gamma),
    ('alpha_beta', 'AlphaBeta', {}, rules.alpha_beta),
    ('z_plus', 'ZPlus', {}, rules.z_plus),
    ('epsilon', 'Epsilon', {'epsilon': 0.05}, rules.epsilon),
    ('z_box', 'ZPlus', {}, rules.z_plus, True),
  )
  @unittest.skipUnless(zennits.load(), 'pip install --no-deps zennit')
  def test_lrp(self, name, settings, rule, boxed=False):
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

    got = self._ours(functools.partial(lrp.lrp, composite=composite))
    self._assert_same(got, _theirs(first, rest))

  @unittest.skipUnless(zennits.load(), 'pip install --no-deps zennit')
  def test_excitation(self):
    # There what is negative excites by negative weights.
    x = np.abs(_photo())
    rule = functools.partial(
      zennits.load().rules.ZPlus, stabilizer=_TINY, zero_params='bias'
    )
    want = _theirs(rule, rule, _positive_pool(), x, winning=True)
    np.testing.assert_allclose(want.sum(), 1)
    self._assert_same(self._ours(excitation.excitation_backprop, x), want)


if __name__ == '__main__':
  absltest.main()
