"""Layer-wise relevance propagation against autoLRP's, on the same weights.

The networks here have no biases, residual sums, or means of both signs, of
which autoLRP has another rule: see `README.md` in this folder.
"""

import functools
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import torch

from saliency_jax.propagation import attention
from saliency_jax.propagation import composites
from saliency_jax.propagation import lrp
from saliency_jax.propagation import rules

with warnings.catch_warnings():
  warnings.simplefilter('ignore')
  import autolrp

_zero = functools.partial(composites.epsilon, epsilon=0.0)


def _draw(*shape, seed=0):
  rng = np.random.default_rng([seed, *shape])
  return rng.normal(size=shape) / max(np.prod(shape[:-1]), 1) ** 0.5


_FIRST, _SECOND, _DENSE = _draw(3, 3, 2, 6), _draw(3, 3, 6, 5), _draw(5, 3)


def _cnn(x):
  conv = functools.partial(
    jax.lax.conv_general_dilated,
    window_strides=(1, 1),
    padding='VALID',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  h = jnp.clip(conv(x[None], _FIRST), 0, 0.7)
  h = jnp.max(h.reshape(1, 4, 2, 4, 2, 6), (2, 4))
  h = jax.nn.relu(conv(h, _SECOND))
  return (jnp.mean(h, (1, 2)) @ _DENSE)[0, 1]


def _torch_cnn(x):
  kernel = lambda k: torch.tensor(k.transpose(3, 2, 0, 1))
  h = torch.nn.functional.conv2d(x, kernel(_FIRST))
  h = torch.nn.functional.hardtanh(h, 0, 0.7)
  h = torch.nn.functional.max_pool2d(h, 2)
  h = torch.relu(torch.nn.functional.conv2d(h, kernel(_SECOND)))
  return (h.mean((2, 3)) @ torch.tensor(_DENSE))[0, 1]


_IN, _Q, _K, _V, _OUT = (_draw(6, 6, seed=i) * 2 for i in range(5))


def _attention(x):
  h = x @ _IN
  h = h * jax.lax.rsqrt(jnp.mean(h**2, -1, keepdims=True) + 1e-5)
  weights = jax.nn.softmax((h @ _Q) @ (h @ _K).T)
  h = jax.nn.gelu(weights @ (h @ _V), approximate=False)
  return (h @ _OUT)[2, 1]


def _torch_attention(x):
  first, q, k, v, out = map(torch.tensor, (_IN, _Q, _K, _V, _OUT))
  h = x @ first
  h = h * torch.rsqrt(torch.mean(h**2, -1, keepdim=True) + 1e-5)
  weights = torch.softmax((h @ q) @ (h @ k).transpose(1, 2), -1)
  return (torch.nn.functional.gelu(weights @ (h @ v)) @ out)[0, 2, 1]


def _theirs(fn, x, changes):
  x = autolrp.tensor(torch.tensor(x))
  rule = {**autolrp.BASE, **changes}
  score = fn(x)
  score.lrp(config=autolrp.LRPConfig(rule=rule, eps=1e-30))
  # It hands back 1, whatever the score is.
  return x.relevance.numpy() * score.item()


class LrpTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64())

  @parameterized.named_parameters(
    ('zero', rules.zero, 'epsilon', {}),
    ('z_plus', rules.z_plus, 'zplus', {}),
    ('gamma', rules.gamma, 'gamma', {'gamma': 0.25}),
    ('alpha_beta', rules.alpha_beta, 'alpha_beta', {'alpha': 2, 'beta': 1}),
  )
  def test_rules(self, rule, name, settings):
    x = _draw(10, 10, 2)
    got = lrp.lrp(
      _cnn,
      x,
      composite=lambda place: (
        rule if composites.is_convolution(place) else _zero(place)
      ),
    )
    changes = {'ConvolutionBackward': (name, settings)}
    want = _theirs(_torch_cnn, x.transpose(2, 0, 1)[None], changes)
    want = want[0].transpose(1, 2, 0)
    self.assertGreater(np.max(np.abs(want)), 1e-3)
    np.testing.assert_allclose(got.scores, want, rtol=1e-7, atol=1e-12)

  @parameterized.named_parameters(
    ('attn_lrp', attention.attn_lrp, autolrp.ATTNLRP),
    ('cp_lrp', attention.cp_lrp, autolrp.CPLRP),
  )
  def test_attention(self, composite, changes):
    x = _draw(5, 6)
    composite = functools.partial(composite, epsilon=0.0)
    got = lrp.lrp(_attention, x, composite=composite)
    (want,) = _theirs(_torch_attention, x[None], changes)
    self.assertGreater(np.max(np.abs(want)), 1e-3)
    np.testing.assert_allclose(got.scores, want, rtol=1e-7, atol=1e-12)


if __name__ == '__main__':
  absltest.main()
