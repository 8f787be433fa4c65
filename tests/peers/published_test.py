"""Networks filled from files against torchvision's, timm's and transformers'.

The files are torch's own. A random network's logits are near zero and far from
what its layers put out: variances, means and scales are drawn as well.
"""

import importlib
import importlib.util
import pathlib
import tempfile
import unittest

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from saliency_jax import models
from saliency_jax.models import imagenet
from saliency_jax.models import published
from saliency_jax.models import registry

_MISSING = 'pip install --no-deps torchvision timm'
_FOUND = all(map(importlib.util.find_spec, ('torchvision', 'timm')))
_HALF = ((0.5,) * 3, (0.5,) * 3)
_SMALL = {'num_blocks': 3, 'size': 32}
_TIMM = {
  'se_resnet50': 'legacy_seresnet50',
  'vit_s_16': 'vit_small_patch16_224',
  'deit_s': 'deit_small_patch16_224',
}
_ONLY_TIMM = (*_TIMM, 'vgg16', 'vgg19_bn', 'resnet34')
_TORCHVISION = (
  *('vgg16', 'vgg16_bn', 'vgg19', 'vgg19_bn'),
  *('resnet18', 'resnet34', 'resnet50', 'vit_b_16'),
)


def _theirs(name, origin, **kwargs):
  if origin == 'torchvision':
    return getattr(importlib.import_module('torchvision.models'), name)(
      **kwargs
    )
  return importlib.import_module('timm').create_model(
    _TIMM.get(name, name), **kwargs
  )


def _drawn(net):
  """Draws what torch leaves at one or zero."""
  torch.manual_seed(0)
  with torch.no_grad():
    for name, values in net.state_dict().items():
      if values.dtype.is_floating_point and values.ndim <= 1:
        values.copy_(0.5 * torch.rand(values.shape) + 0.2)
      elif 'token' in name or 'pos' in name or not values.any():
        values.copy_(torch.randn(values.shape))
  return net.eval().requires_grad_(False)


@unittest.skipUnless(_FOUND, _MISSING)
class NamesTest(parameterized.TestCase):
  @parameterized.parameters(
    *((name, 'torchvision') for name in _TORCHVISION),
    *((name, 'timm') for name in _ONLY_TIMM),
  )
  def test_same_names_and_shapes(self, name, origin):
    with torch.device('meta'):
      state = _theirs(name, origin).state_dict()
    want = {
      name: tuple(values.shape)
      for name, values in state.items()
      if values.dtype.is_floating_point
    }
    network = registry.networks()[name]
    module = network.build()
    found = [published.shapes(module, names) for names in network.names]
    (got,) = (names for names in found if set(names) == set(want))
    for name, shape in want.items():
      self.assertEqual(np.prod(got[name]), np.prod(shape), name)


@unittest.skipUnless(_FOUND, _MISSING)
class SameTest(parameterized.TestCase):
  @parameterized.parameters(
    ('resnet18', 'torchvision', 65),
    ('resnet50', 'timm', 64),
    ('se_resnet50', 'timm', 64),
  )
  def test_residual_networks(self, name, origin, size):
    net = _drawn(_theirs(name, origin))
    self._compare(name, net, size)

  @parameterized.parameters(('vgg16', 64), ('vgg19_bn', 48))
  def test_vgg(self, name, size):
    # The dense layers alone are 120 million numbers: narrower ones here.
    net = _theirs(name, 'torchvision', init_weights=False)
    net.classifier = torch.nn.Sequential(
      *(torch.nn.Linear(512 * 49, 32), torch.nn.ReLU(), torch.nn.Identity()),
      *(torch.nn.Linear(32, 32), torch.nn.ReLU(), torch.nn.Identity()),
      torch.nn.Linear(32, 1000),
    )
    self._compare(name, _drawn(net), size, fields={'hidden': 32})

  def test_vit_of_torchvision(self):
    net = importlib.import_module('torchvision.models').VisionTransformer(
      image_size=32,
      patch_size=16,
      num_layers=3,
      num_heads=12,
      hidden_dim=768,
      mlp_dim=3072,
    )
    self._compare('vit_b_16', _drawn(net), 32, fields=_SMALL)

  @parameterized.parameters('vit_s_16', 'deit_s')
  def test_vit_of_timm(self, name):
    net = _drawn(_theirs(name, 'timm', img_size=32, depth=3))
    scale = _HALF if name == 'vit_s_16' else (imagenet.MEAN, imagenet.STD)
    self._compare(name, net, 32, scale, fields=_SMALL)

  def _compare(self, name, net, size, scale=None, fields=None):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    path = pathlib.Path(folder, 'w.pth')
    torch.save({'state_dict': net.state_dict()}, path)
    module, spec = registry.build(name, path, **(fields or {}))
    spec = spec._replace(input_shape=(size, size, 3))
    model = models.from_nnx(module, spec)
    mean, std = scale or (imagenet.MEAN, imagenet.STD)
    x = np.random.default_rng(0).random((size, size, 3), np.float32)

    def torchs(x):
      y = torch.from_numpy(x).permute(2, 0, 1)[None].requires_grad_(True)
      mean_std = (torch.tensor(a, dtype=y.dtype) for a in (mean, std))
      mean_, std_ = (a[:, None, None] for a in mean_std)
      logits = net((y - mean_) / std_)
      logits[0, 3].backward()
      return logits[0].detach().numpy(), y.grad[0].permute(1, 2, 0).numpy()

    want = torchs(x)[0]
    got = np.asarray(jax.jit(model.apply)(model.params, x))
    _close(got, want, 1e-5)
    net.double()
    with jax.enable_x64(True):
      x = x.astype(np.float64)
      params = models.wrap.cast(model.params, jnp.float64)

      @jax.jit
      def both(params, x):
        logits, pull = jax.vjp(lambda x: model.apply(params, x), x)
        return logits, pull(jnp.zeros_like(logits).at[3].set(1))[0]

      found = [np.asarray(a) for a in both(params, x)]
    for got, want in zip(found, torchs(x), strict=True):
      _close(got, want, 1e-6)


class TransformersTest(parameterized.TestCase):
  @parameterized.parameters('resnet18', 'resnet50', 'deit_s')
  def test_same_names(self, name):
    if name == 'deit_s':
      config = transformers.ViTConfig(
        hidden_size=384, num_attention_heads=6, intermediate_size=1536
      )
      build = transformers.ViTForImageClassification
    else:
      config = transformers.ResNetConfig(
        depths=[2, 2, 2, 2] if name == 'resnet18' else [3, 4, 6, 3],
        layer_type='basic' if name == 'resnet18' else 'bottleneck',
        hidden_sizes=[
          n if name == 'resnet18' else 4 * n for n in (64, 128, 256, 512)
        ],
      )
      build = transformers.ResNetForImageClassification
    config.num_labels = 7
    net = _drawn(build(config))
    folder = self.enterContext(tempfile.TemporaryDirectory())
    net.save_pretrained(folder)
    model = models.load(name, weights=f'{folder}/model.safetensors')
    x = np.random.default_rng(0).random((224, 224, 3), np.float32)
    y = (x - np.float32(imagenet.MEAN)) / np.float32(imagenet.STD)
    with torch.no_grad():
      want = net(torch.from_numpy(y).permute(2, 0, 1)[None]).logits[0]
    got = jax.jit(model.apply)(model.params, x)
    _close(np.asarray(got), want.numpy(), 1e-5)


def _close(got, want, tolerance):
  scale = np.max(np.abs(want))
  np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=tolerance)


if __name__ == '__main__':
  absltest.main()
