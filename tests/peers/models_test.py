"""The networks against torch's, on the same weights."""

import contextlib
import io

from absl.testing import absltest
from absl.testing import parameterized
import efficientnet_lite_pytorch
import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional

from saliency_jax import models
from saliency_jax.models import checkpoints
from saliency_jax.models import registry


def _path(name):
  entry = registry._ENTRIES[name]
  return checkpoints.package_file(entry.package, entry.file)


def _efficientnet(name):
  with contextlib.redirect_stdout(io.StringIO()):
    net = efficientnet_lite_pytorch.EfficientNet.from_pretrained(
      name.replace('_', '-'), weights_path=str(_path(name))
    )
  net = net.eval().double()
  return lambda x: net((255 * x - 127) / 128)


def _squeezenet(name):
  weights = {
    layer: [torch.from_numpy(a).double() for a in pair]
    for layer, pair in checkpoints.read_arrays(_path(name)).items()
  }

  def conv(x, layer, **kwargs):
    kernel, bias = weights[layer]
    return functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, **kwargs)

  def net(x):
    mean = torch.tensor([104.006, 116.669, 122.679], dtype=x.dtype)
    x = 255 * x.flip(1) - mean[:, None, None]
    x = torch.relu(conv(x, 'conv1', stride=2))
    for i in range(2, 10):
      if i in (2, 4, 6):
        x = functional.max_pool2d(x, 3, 2)
      x = torch.relu(conv(x, f'fire{i}/squeeze1x1'))
      wide = (
        conv(x, f'fire{i}/expand1x1'),
        conv(x, f'fire{i}/expand3x3', padding=1),
      )
      x = torch.relu(torch.cat(wide, 1))
    return conv(x, 'conv10').mean((2, 3))

  return net


class TorchTest(parameterized.TestCase):
  @parameterized.parameters(
    ('efficientnet_lite0', _efficientnet),
    ('efficientnet_lite1', _efficientnet),
    ('efficientnet_lite2', _efficientnet),
    ('squeezenet', _squeezenet),
  )
  def test_same_logits_and_gradients(self, name, build):
    net = build(name)
    with jax.enable_x64(True):
      model = models.load(name, dtype=jnp.float64)
      x = np.random.default_rng(0).random(model.spec.input_shape)
      logits, pull = jax.vjp(lambda x: model.apply(model.params, x), x)
      y = torch.from_numpy(x).permute(2, 0, 1)[None].requires_grad_(True)
      want = net(y)
      want[0, 3].backward()
      (grad,) = pull(jnp.zeros(1000).at[3].set(1.0))
    want, got = want[0].detach().numpy(), np.asarray(logits)
    grad = np.asarray(grad)  # Outside of the context it is refused.
    scale = np.max(np.abs(want))
    np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=1e-6)
    want = y.grad[0].permute(1, 2, 0).numpy()
    scale = np.max(np.abs(want))
    np.testing.assert_allclose(grad / scale, want / scale, rtol=0, atol=1e-6)


if __name__ == '__main__':
  absltest.main()
