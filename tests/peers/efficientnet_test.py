"""DeepLIFT, LRP and excitation backpropagation of a whole EfficientNet-Lite0.

The reference is a loop over the layers of this network, written by hand from
the papers, in torch and float64, with the published weights. captum and zennit
agree with it too, once the network is made of modules that they know of:
`README.md` in this folder says what they pass over otherwise.
"""

import functools
from typing import NamedTuple
import unittest
from unittest import mock
import warnings

from absl.testing import absltest
from absl.testing import parameterized
from captum import attr
from captum.attr._core import deep_lift
import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional

from experiments.benchmarking import zennits
import saliency_jax
from saliency_jax import data
from saliency_jax import models
from saliency_jax import scores
from saliency_jax.models import checkpoints
from saliency_jax.propagation import composites
from saliency_jax.propagation import rules
from tests import networks

_SIZE, _EPSILON, _GAMMA, _TINY = (64, 64), 1e-6, 0.25, 1e-30
# The network maps pixels to `(255 x - 127) / 128`.
_SLOPE, _SHIFT = 255 / 128, 127 / 128
# Blocks of each stage, the stride of the first, and whether they widen.
_STAGES = (
  (1, 1, False),
  (2, 2, True),
  (2, 2, True),
  (3, 2, True),
  (3, 1, True),
  (4, 2, True),
  (1, 1, True),
)


class _Conv(NamedTuple):
  """A convolution and the batch norm behind it, as one."""

  weight: torch.Tensor
  bias: torch.Tensor
  stride: int
  groups: int
  clips: bool  # Whether a ReLU6 comes next.


class _Block(NamedTuple):
  """Convolutions, and whether their input is added to what they make."""

  convs: list[_Conv]
  adds: bool


@functools.cache
def _network():
  """Returns the blocks, stem and head among them, and the dense layer."""
  path = models.weights_path('efficientnet_lite0')
  read = {
    name: torch.tensor(np.asarray(array, np.float64))
    for name, array in checkpoints.read(path).items()
  }

  def conv(name, norm, stride=1, depthwise=False, clips=True):
    weight = read[f'{name}.weight']
    scale, shift, mean, variance = (
      read[f'{norm}.{part}']
      for part in ('weight', 'bias', 'running_mean', 'running_var')
    )
    scale = scale / torch.sqrt(variance + 1e-3)
    weight = weight * scale[:, None, None, None]
    groups = len(weight) if depthwise else 1
    return _Conv(weight, shift - mean * scale, stride, groups, clips)

  blocks = [_Block([conv('_conv_stem', '_bn0', 2)], False)]
  for num, stride, widens in _STAGES:
    for i in range(num):
      at = f'_blocks.{len(blocks) - 1}.'
      convs = [conv(f'{at}_expand_conv', f'{at}_bn0')] if widens else []
      first = 1 if i else stride
      convs += [
        conv(f'{at}_depthwise_conv', f'{at}_bn1', first, depthwise=True),
        conv(f'{at}_project_conv', f'{at}_bn2', clips=False),
      ]
      # The others change the size or the number of channels.
      blocks.append(_Block(convs, adds=i > 0))
  blocks.append(_Block([conv('_conv_head', '_bn1')], False))
  kernel = read['_fc.weight'][:, :, None, None]
  return blocks, _Conv(kernel, read['_fc.bias'], 1, 1, False)


def _padded(conv, a):
  """Pads as TensorFlow does: more at the end than at the start."""
  pads = []
  for size, window in zip(
    a.shape[:1:-1], conv.weight.shape[:1:-1], strict=True
  ):
    steps = -(-size // conv.stride) - 1
    total = max(steps * conv.stride + window - size, 0)
    pads += [total // 2, total - total // 2]
  return functional.pad(a, pads)


def _convolve(a, weight, stride, groups):
  """Convolves, each channel apart as a quick sum over its window."""
  if groups == 1:
    return functional.conv2d(a, weight, None, stride)
  high, wide = (
    (size - window) // stride * stride + 1
    for size, window in zip(a.shape[2:], weight.shape[2:], strict=True)
  )
  return sum(
    weight[:, 0, i, j, None, None]
    * a[:, :, i : i + high : stride, j : j + wide : stride]
    for i, j in np.ndindex(*weight.shape[2:])
  )


class _Step(NamedTuple):
  """A part of the network, at an example.

  Attributes:
    kind: 'conv', 'clip', 'add', 'mean' or 'dense'.
    inputs: one; of 'add' what the block makes and what goes around it.
    output: of the step.
    conv: of 'conv' and 'dense'.
    bias: what the output has beside a linear function of the inputs.
  """

  kind: str
  inputs: list[torch.Tensor]
  output: torch.Tensor
  conv: _Conv | None = None
  bias: torch.Tensor | None = None

  def linear(self, weight=None):
    """Returns the linear function, of the given weights if it has any."""
    if self.kind == 'add':
      return torch.add
    if self.kind == 'mean':
      return lambda a: a.mean((2, 3), keepdim=True)
    conv = self.conv
    weight = conv.weight if weight is None else weight
    return lambda a: _convolve(
      _padded(conv, a), weight, conv.stride, conv.groups
    )

  def back(self, share, weight=None):
    """Applies the transpose of the linear function."""
    zeros = [torch.zeros_like(a).requires_grad_() for a in self.inputs]
    return torch.autograd.grad(self.linear(weight)(*zeros), zeros, share)


def _forward(x, slope=_SLOPE, shift=_SHIFT):
  """Returns the steps of each block, for an image `[h, w, 3]`."""
  blocks, dense = _network()
  h = torch.tensor(x.transpose(2, 0, 1)[None])
  off, traced = torch.full_like(h, -shift), []

  def affine(kind, conv, h):
    step = _Step(kind, [h], h, conv)
    bias = conv.bias[:, None, None]
    if not traced:
      # The stem with what is done to pixels before it is one affine function.
      bias = bias + step.linear()(off)
      step = step._replace(conv=conv._replace(weight=conv.weight * slope))
    return step._replace(output=step.linear()(h) + bias, bias=bias)

  for block in blocks:
    steps, around = [], h
    for conv in block.convs:
      steps.append(affine('conv', conv, h))
      h = steps[-1].output
      if conv.clips:
        steps.append(_Step('clip', [h], h.clamp(0, 6)))
        h = steps[-1].output
    if block.adds:
      steps.append(_Step('add', [h, around], h + around))
      h = steps[-1].output
    traced.append(steps)
  mean = h.mean((2, 3), keepdim=True)
  traced.append([_Step('mean', [h], mean), affine('dense', dense, mean)])
  return traced


def _walk(traced, label, start, rule):
  """Hands what starts at a logit back, by a rule of steps and their places."""
  r = torch.zeros_like(traced[-1][-1].output)
  r[0, label] = start
  for b, steps in reversed([*enumerate(traced)]):
    around = 0
    for i, step in reversed([*enumerate(steps)]):
      r, *skipped = rule(step, r, (b, i))
      around = sum(skipped, around)
    r = r + around
  return r[0].numpy().transpose(1, 2, 0)


def _deeplift(x, label):
  """Rescale, from a black image."""
  traced, base = _forward(x), _forward(np.zeros_like(x))

  def rule(step, m, place):
    if step.kind != 'clip':
      return step.back(m)
    other = base[place[0]][place[1]]
    (z,), (z0,), y, y0 = step.inputs, other.inputs, step.output, other.output
    still = torch.where((z > 0) & (z < 6), 1.0, 0.0)
    slope = (y - y0) / torch.where(z == z0, 1, z - z0)
    return [m * torch.where(z == z0, still, slope)]

  return _walk(traced, label, 1, rule) * x


def _ratio(r, z):
  return torch.where(z == 0, 0, r / torch.where(z == 0, 1, z))


def _epsilon(step, r, epsilon=_EPSILON):
  """Gives in proportion to contributions, some less than all."""
  e = epsilon * step.output[r != 0].abs().max()
  z = step.output + torch.where(step.output < 0, -e, e)
  given = step.back(_ratio(r, z))
  return [a * g for a, g in zip(step.inputs, given, strict=True)]


def _signs(step):
  """Returns the positive and negative parts of input, weight and bias."""
  parts = *step.inputs, step.conv.weight, step.bias
  return [(v.clamp(min=0), v.clamp(max=0)) for v in parts]


def _z_plus(step, r):
  """Gives by the products of two positive factors, or of two negative ones."""
  (a, n), (w, v), (b, _) = _signs(step)
  share = _ratio(r, step.linear(w)(a) + step.linear(v)(n) + b)
  return [a * step.back(share, w)[0] + n * step.back(share, v)[0]]


def _gamma(step, r):
  """Weighs contributions of the output's own sign by `1 + gamma`."""
  (a, n), (w, v), (b, c) = _signs(step)
  given = torch.zeros_like(a)
  for here, same, other, bias in (
    (step.output >= 0, w, v, b),
    (step.output < 0, v, w, c),
  ):
    of_a = step.conv.weight + _GAMMA * same
    of_n = step.conv.weight + _GAMMA * other
    z = step.linear(of_a)(a) + step.linear(of_n)(n) + step.bias + _GAMMA * bias
    share = _ratio(torch.where(here, r, 0), z)
    given += a * step.back(share, of_a)[0] + n * step.back(share, of_n)[0]
  return [given]


def _lrp(x, label, of_conv=_epsilon, rest=_epsilon, **scaling):
  traced = _forward(x, **scaling)

  def rule(step, r, place):
    del place
    if step.kind == 'clip':
      return [r]
    return (of_conv if step.kind == 'conv' else rest)(step, r)

  score = traced[-1][-1].output[0, label]
  return _walk(traced, label, score, rule)


def _excitation(x, label, contrastive=False, excited=False):
  """Winning probabilities; where there is no activation, of what `excited`."""
  traced, priors, made = _forward(x), {}, {}
  for b, steps in enumerate(traced):
    for i, step in enumerate(steps):
      known = [made.get(id(a), a.clamp(min=0)) for a in step.inputs]
      priors[b, i] = known
      if excited and step.kind in ('conv', 'add'):
        weight = None if step.conv is None else step.conv.weight.clamp(min=0)
        made[id(step.output)] = step.linear(weight)(*known)

  def rule(step, p, place, sign):
    if step.kind == 'clip':
      return [p]
    weight = None
    if step.conv is not None:
      own = sign if step.kind == 'dense' else 1
      weight = (own * step.conv.weight).clamp(min=0)
    a = priors[place]
    given = step.back(_ratio(p, step.linear(weight)(*a)), weight)
    return [prior * g for prior, g in zip(a, given, strict=True)]

  found, *against = (
    _walk(traced, label, 1, functools.partial(rule, sign=sign))
    for sign in ((1, -1) if contrastive else (1,))
  )
  return sum((-a for a in against), found)


# Ours, and the reference.
_METHODS = {
  'deeplift': (saliency_jax.deeplift, _deeplift),
  'epsilon': (saliency_jax.lrp, _lrp),
  'epsilon_plus': (
    functools.partial(saliency_jax.lrp, composite=composites.epsilon_plus),
    functools.partial(_lrp, of_conv=_z_plus),
  ),
  'gamma': (
    functools.partial(
      saliency_jax.lrp,
      composite=lambda place: (
        functools.partial(rules.gamma, gamma=_GAMMA)
        if composites.is_convolution(place)
        else composites.epsilon(place)
      ),
    ),
    functools.partial(_lrp, of_conv=_gamma),
  ),
  'excitation_backprop': (saliency_jax.excitation_backprop, _excitation),
  'contrastive': (
    functools.partial(
      saliency_jax.excitation_backprop, contrastive=True, prior='activations'
    ),
    functools.partial(_excitation, contrastive=True, excited=True),
  ),
}


@functools.cache
def _photo():
  """Returns a small photo and its class."""
  found = data.load('photos')[1]
  pixels = data.prepare(found['image'], size=_SIZE).astype(np.float64)
  # In flat areas units would not move, nor their quotients be known.
  noise = np.random.default_rng(0).uniform(size=pixels.shape)
  return 0.99 * pixels + 0.01 * noise, int(found['label'])


@functools.cache
def _ours():
  """Returns the map of each method, all of one program."""
  model = networks.shrunk('efficientnet_lite0', _SIZE, dtype=jnp.float64)
  x, label = _photo()

  @jax.jit
  def explain(params, x):
    fn = scores.logit(model.apply, params, label)
    return {name: ours(fn, x) for name, (ours, _) in _METHODS.items()}

  return jax.tree.map(np.asarray, explain(model.params, jnp.asarray(x)))


class _Sum(torch.nn.Module):
  """Sums parts that zennit can tell from each other."""

  def forward(self, parts):
    return parts.sum(-1)


class _Modules(torch.nn.Module):
  """The network of torch's modules, each of them used once."""

  def __init__(self):
    super().__init__()
    blocks, dense = _network()
    each = lambda make: torch.nn.ModuleList(
      torch.nn.ModuleList(map(make, block.convs)) for block in blocks
    )
    self.convs, self.clips = each(_module), each(lambda _: torch.nn.ReLU6())
    self.sums = torch.nn.ModuleList(_Sum() for _ in blocks)
    self.pool, self.dense = torch.nn.AdaptiveAvgPool2d(1), _module(dense)

  def forward(self, h):
    parts = zip(_network()[0], self.convs, self.clips, self.sums, strict=True)
    for block, convs, clips, total in parts:
      around = h
      for conv, module, clip in zip(block.convs, convs, clips, strict=True):
        h = module(_padded(conv, h))
        h = clip(h) if conv.clips else h
      h = total(torch.stack([h, around], -1)) if block.adds else h
    return self.dense(self.pool(h)).flatten(1)


class _Convolution(torch.nn.Conv2d):
  def forward(self, a):
    made = _convolve(a, self.weight, self.stride[0], self.groups)
    return made + self.bias[:, None, None]


def _module(conv):
  num_out, num_in, *window = conv.weight.shape
  made = _Convolution(
    num_in * conv.groups, num_out, window, conv.stride, groups=conv.groups
  )
  made.weight, made.bias = map(torch.nn.Parameter, (conv.weight, conv.bias))
  return made


def _captum(x, label):
  """Returns captum's DeepLIFT."""
  net = _Modules()
  batch = torch.tensor(x.transpose(2, 0, 1)[None])
  scaled = lambda x: _SLOPE * x - _SHIFT
  with warnings.catch_warnings():
    # It tells that it sets hooks, and that it asks for gradients.
    warnings.simplefilter('ignore', UserWarning)
    found = attr.DeepLift(net, multiply_by_inputs=False).attribute(
      scaled(batch), scaled(torch.zeros_like(batch)), target=label
    )
  return _SLOPE * found[0].detach().numpy().transpose(1, 2, 0) * x


def _zennit(x, label, of_conv):
  """Returns zennit's LRP of scaled pixels, by a rule of convolutions."""
  zennit, net = zennits.load(), _Modules()
  every = zennit.rules.Norm(stabilizer=_TINY)

  class Composite(zennit.core.Composite):
    def __init__(self):
      super().__init__(module_map=self.choose)

    @staticmethod
    def choose(ctx, name, module):
      if name == 'dense':
        return zennit.rules.Epsilon(epsilon=_TINY)
      if isinstance(module, torch.nn.Conv2d):
        return of_conv(zennit.rules)
      if isinstance(module, torch.nn.ReLU6):
        return zennit.rules.Pass()
      return every if module is net.pool or isinstance(module, _Sum) else None

  batch = torch.tensor(x.transpose(2, 0, 1)[None]).requires_grad_()
  with zennit.attribution.Gradient(net, Composite()) as attributor:
    start = lambda out: (
      out * torch.nn.functional.one_hot(torch.tensor([label]), out.shape[1])
    )
    _, relevance = attributor(batch, start)
  return relevance[0].numpy().transpose(1, 2, 0)


def _cosine(a, b):
  return np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)


class EfficientNetTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64())

  def _assert_same(self, got, want):
    self.assertGreater(_cosine(got, want), 0.9999)
    scale = np.max(np.abs(want))
    self.assertGreater(scale, 0)
    np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=1e-6)

  @parameterized.parameters(*_METHODS)
  def test_is_the_loop(self, name):
    _, reference = _METHODS[name]
    self._assert_same(_ours()[name].scores, reference(*_photo()))

  def test_deeplift_of_captum(self):
    want = _deeplift(*_photo())
    # ReLU6 has no rule there, and is passed over: it is told of one.
    known = {torch.nn.ReLU6: deep_lift.SUPPORTED_NON_LINEAR[torch.nn.ReLU]}
    with mock.patch.dict(deep_lift.SUPPORTED_NON_LINEAR, known):
      self._assert_same(_captum(*_photo()), want)
    self.assertLess(_cosine(_captum(*_photo()), want), 0.99)

  @parameterized.named_parameters(
    ('zero', lambda rules: rules.Epsilon(epsilon=_TINY), None),
    ('z_plus', lambda rules: rules.ZPlus(stabilizer=_TINY), _z_plus),
    ('gamma', lambda rules: rules.Gamma(_GAMMA, stabilizer=_TINY), _gamma),
  )
  @unittest.skipUnless(zennits.load(), 'pip install --no-deps zennit')
  def test_lrp_of_zennit(self, theirs, of_conv):
    x, label = _photo()
    x = _SLOPE * x - _SHIFT
    zero = functools.partial(_epsilon, epsilon=0.0)
    want = _lrp(x, label, of_conv or zero, zero, slope=1.0, shift=0.0)
    self._assert_same(_zennit(x, label, theirs), want)


if __name__ == '__main__':
  absltest.main()
