"""The classifiers in torch, on the same weights, for comparison.

Needs the `peers` extra: torch and the torch form of EfficientNet-Lite.
"""

import contextlib
import io

import efficientnet_lite_pytorch
import numpy as np
import torch
from torch.nn import functional

from saliency_jax import models
from saliency_jax.models import checkpoints

NAMES = (
  'efficientnet_lite0',
  'efficientnet_lite1',
  'efficientnet_lite2',
  'squeezenet',
)


class _EfficientNet(torch.nn.Module):
  """Images `[n, 3, H, W]` in [0, 1] to logits `[n, k]`."""

  def __init__(self, net: torch.nn.Module):
    super().__init__()
    self.net = net
    # A module of its own, so that Grad-CAM can name its output.
    self.features = torch.nn.Identity()

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Returns the logits."""
    h = self.features(self.net.extract_features((255 * x - 127) / 128))
    return self.net._fc(h.mean((2, 3)))


class _SqueezeNet(torch.nn.Module):
  """Images `[n, 3, H, W]` in [0, 1] to logits `[n, k]`."""

  def __init__(self, arrays: dict[str, list[np.ndarray]]):
    super().__init__()
    self.features = torch.nn.Identity()
    for layer, (kernel, bias) in arrays.items():
      name = layer.replace('/', '_')
      kernel = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous()
      self.register_buffer(f'{name}_kernel', kernel)
      self.register_buffer(f'{name}_bias', torch.from_numpy(bias))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Returns the logits."""
    mean = torch.tensor([104.006, 116.669, 122.679], dtype=x.dtype)
    x = 255 * x.flip(1) - mean[:, None, None]
    x = torch.relu(self._conv(x, 'conv1', stride=2))
    for i in range(2, 10):
      if i in (2, 4, 6):
        x = functional.max_pool2d(x, 3, 2)
      x = torch.relu(self._conv(x, f'fire{i}_squeeze1x1'))
      wide = (
        self._conv(x, f'fire{i}_expand1x1'),
        self._conv(x, f'fire{i}_expand3x3', padding=1),
      )
      x = torch.relu(torch.cat(wide, 1))
    return self._conv(self.features(x), 'conv10').mean((2, 3))

  def _conv(self, x, name, **kwargs):
    kernel = getattr(self, f'{name}_kernel')
    return functional.conv2d(x, kernel, getattr(self, f'{name}_bias'), **kwargs)


def load(name: str) -> torch.nn.Module:
  """Loads the torch form of a network of `models.load`, parameters fixed.

  Raises:
    ValueError: for a network without one.
  """
  if name not in NAMES:
    raise ValueError(f'no torch form of {name!r} is known: use --nopeers')
  path = models.weights_path(name)
  if name == 'squeezenet':
    net = _SqueezeNet(checkpoints.read_arrays(path))
  else:
    with contextlib.redirect_stdout(io.StringIO()):  # It tells what it loads.
      net = _EfficientNet(
        efficientnet_lite_pytorch.EfficientNet.from_pretrained(
          name.replace('_', '-'), weights_path=str(path)
        )
      )
  return net.eval().requires_grad_(False)
