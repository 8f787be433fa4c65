"""DeepLIFT against captum's on the same weights, in float64.

`README.md` in this folder says where captum differs: there the reference is in
numpy.
"""

import functools
import warnings

from absl.testing import absltest
from absl.testing import parameterized
from captum import attr
import jax
import jax.numpy as jnp
import numpy as np
import torch

from saliency_jax.core import baselines
from saliency_jax.models import convolutions
from saliency_jax.propagation import deeplift

_RNG = np.random.default_rng(0)
_CONV = _RNG.normal(size=(3, 3, 2, 4))
_BIAS = _RNG.normal(size=4)
_DENSE = _RNG.normal(size=(3 * 3 * 4, 6)) / 30
_HEAD = _RNG.normal(size=6)
# An example, a baseline and more of them.
_X, _B, *_MORE = _RNG.normal(size=(6, 8, 8, 2))


def _to_torch(a):
  return torch.tensor(a.reshape(-1, *a.shape[-3:]).transpose(0, 3, 1, 2))


def _layer(module, weight, bias):
  module.weight = torch.nn.Parameter(torch.tensor(weight))
  module.bias = torch.nn.Parameter(torch.tensor(bias))
  return module


class _Flat(torch.nn.Module):
  """Entries in the order of `[H, W, C]`."""

  def forward(self, h):
    return h.permute(0, 2, 3, 1).flatten(1)


def _peer(window, first, second):
  """A convolution, a pool and two dense layers, in torch."""
  conv = _layer(torch.nn.Conv2d(2, 4, 3), _CONV.transpose(3, 2, 0, 1), _BIAS)
  dense = _layer(torch.nn.Linear(36, 6), _DENSE.T, np.zeros(6))
  head = _layer(torch.nn.Linear(6, 1), _HEAD[None], np.zeros(1))
  # Windows of 3 reach one entry further than those of 2.
  crop = torch.nn.ZeroPad2d((0, window - 2, 0, window - 2))
  pool = torch.nn.MaxPool2d(window, 2)
  return torch.nn.Sequential(
    conv, first, crop, pool, _Flat(), dense, second, head
  )


def _score(window, first, second):
  """The same in JAX."""

  def fn(x):
    h = convolutions.conv(x[None], jnp.asarray(_CONV), padding='VALID')
    h = first(h + _BIAS[None, None, None])
    h = jnp.pad(h, ((0, 0), (0, window - 2), (0, window - 2), (0, 0)))
    # ReLU6 makes ties, which here go to the first, as in the loop.
    h = convolutions.max_pool(
      h, window=(window, window), strides=(2, 2), fast=False
    )
    return second(h.reshape(-1) @ _DENSE) @ _HEAD

  return fn


def _ours(fn, **settings):
  return jax.jit(functools.partial(deeplift.deeplift, fn, **settings))(
    jnp.asarray(_X)
  )


def _captum(net, method=attr.DeepLift, start=_B):
  with warnings.catch_warnings():
    # It tells that it sets hooks, and that it asks for gradients.
    warnings.simplefilter('ignore', UserWarning)
    found = method(net).attribute(_to_torch(_X), _to_torch(start))
  return found[0].detach().numpy().transpose(1, 2, 0)


def _rescale(z, z0, f):
  return (f(z) - f(z0)) / (z - z0)


def _conv(x):
  """The first layer in numpy, and its transpose."""
  windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))
  return np.einsum('ijcab,abcd->ijd', windows, _CONV) + _BIAS


def _conv_transpose(m):
  out = np.zeros_like(_X)
  for i in range(6):
    for j in range(6):
      out[i : i + 3, j : j + 3] += _CONV @ m[i, j]
  return out


def _reference(window, act):
  """The rule of each layer in turn, its pool window by window."""
  z, z0 = _conv(_X), _conv(_B)
  pad = ((0, window - 2), (0, window - 2), (0, 0))
  h, h0 = (np.pad(act(a), pad) for a in (z, z0))

  def pooled(h):
    out = np.zeros((3, 3, 4))
    for i, j, c in np.ndindex(3, 3, 4):
      out[i, j, c] = h[2 * i : 2 * i + window, 2 * j : 2 * j + window, c].max()
    return out

  p, p0 = pooled(h), pooled(h0)
  y, y0 = (np.ravel(a) @ _DENSE for a in (p, p0))
  m = (_DENSE @ (_HEAD * _rescale(y, y0, np.tanh))).reshape(3, 3, 4)
  back = np.zeros_like(h)
  for i, j, c in np.ndindex(3, 3, 4):
    if p[i, j, c] == p0[i, j, c]:
      continue
    further = h if p[i, j, c] > p0[i, j, c] else h0
    part = further[2 * i : 2 * i + window, 2 * j : 2 * j + window, c]
    a, b = np.unravel_index(part.argmax(), part.shape)
    at = (2 * i + a, 2 * j + b, c)
    change = p[i, j, c] - p0[i, j, c]
    back[at] += m[i, j, c] * change / (h[at] - h0[at])
  back = back[:6, :6] * _rescale(z, z0, act)
  return _conv_transpose(back) * (_X - _B)


def _cosine(a, b):
  a, b = np.ravel(a), np.ravel(b)
  return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def _relu(z):
  return np.maximum(z, 0)


def _relu6(z):
  return np.clip(z, 0, 6)


class DeepLiftTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64())

  @parameterized.parameters(
    (torch.nn.ReLU(), jax.nn.relu, torch.nn.Tanh(), jnp.tanh),
    (torch.nn.Softplus(), jax.nn.softplus, torch.nn.ReLU(), jax.nn.relu),
  )
  def test_is_captums(self, peer_first, first, peer_second, second):
    want = _captum(_peer(2, peer_first, peer_second))
    out = _ours(_score(2, first, second), baseline=jnp.asarray(_B))
    np.testing.assert_allclose(out.scores, want, rtol=1e-6, atol=1e-8)
    self.assertGreater(_cosine(out.scores, want), 0.9999)

  def test_several_baselines_are_captums(self):
    net = _peer(2, torch.nn.ReLU(), torch.nn.Tanh())
    want = _captum(net, attr.DeepLiftShap, np.stack(_MORE))
    fn = _score(2, jax.nn.relu, jnp.tanh)
    each = [_ours(fn, baseline=jnp.asarray(b)).scores for b in _MORE]
    self.assertGreater(_cosine(np.mean(each, 0), want), 0.9999)
    # Drawn from them, the mean is met up to its standard error.
    out = _ours(
      fn,
      key=jax.random.key(0),
      baseline=functools.partial(
        baselines.reference, references=np.stack(_MORE)
      ),
      num_baselines=400,
      batch_size=None,
    )
    z = (out.scores - want) / out.info.stderr
    self.assertLess(np.max(np.abs(z)), 4.5)

  def test_overlapping_pools(self):
    total = lambda fn: float(fn(jnp.asarray(_X)) - fn(jnp.asarray(_B)))
    fn = _score(3, jax.nn.relu, jnp.tanh)
    theirs = _captum(_peer(3, torch.nn.ReLU(), torch.nn.Tanh()))
    self.assertGreater(abs(theirs.sum() - total(fn)), 1e-2)
    ours = _ours(fn, baseline=jnp.asarray(_B)).scores
    np.testing.assert_allclose(ours.sum(), total(fn), rtol=1e-9)
    np.testing.assert_allclose(ours, _reference(3, _relu), atol=1e-9)

  def test_relu6(self):
    net = _peer(2, torch.nn.ReLU6(), torch.nn.Tanh())
    masked = _peer(2, torch.nn.ReLU(), torch.nn.Tanh())
    theirs = _captum(net)
    ours = _ours(
      _score(2, jax.nn.relu6, jnp.tanh), baseline=jnp.asarray(_B)
    ).scores
    np.testing.assert_allclose(ours, _reference(2, _relu6), atol=1e-9)
    # The rule of ReLU is there: what is passed over is the unit of another.
    self.assertGreater(_cosine(_captum(masked), _reference(2, _relu)), 0.9999)
    self.assertLess(_cosine(theirs, ours), 0.99)


if __name__ == '__main__':
  absltest.main()
