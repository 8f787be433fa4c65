"""Tests for `attention.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.propagation import attention
from saliency_jax.propagation import lrp

_N, _D, _K = 4, 6, 5


def _draw(*shape, seed=0):
  rng = np.random.default_rng([seed, *shape])
  return rng.normal(size=shape)


_Q, _KEY, _V = (_draw(_D, _K, seed=i) / 2 for i in range(3))
_GATE, _UP, _DOWN = _draw(_K, 7), _draw(_K, 7, seed=1), _draw(7)
_BIAS = 0.2


def _own_softmax(x):
  e = jnp.exp(x - jnp.max(x, -1, keepdims=True))
  return e / jnp.sum(e, -1, keepdims=True)


def _plain_softmax(x):
  return jnp.exp(x) / jnp.sum(jnp.exp(x), -1)[:, None]


def _block(x, softmax=jax.nn.softmax):
  """A norm, causal attention, and a gated layer, of tokens `[N, D]`."""
  h = (x - jnp.mean(x, -1, keepdims=True)) * jax.lax.rsqrt(
    jnp.var(x, -1, keepdims=True) + 1e-5
  )
  logits = (h @ _Q) @ (h @ _KEY).T / 2
  logits = jnp.where(jnp.tril(jnp.ones((_N, _N), bool)), logits, -1e9)
  o = softmax(logits) @ (h @ _V + _BIAS)
  return jnp.sum((jax.nn.silu(o @ _GATE) * (o @ _UP)) @ _DOWN)


def _linear(a, w, b, r):
  """LRP-0 of `a @ w + b`, written out."""
  z = a @ w + b
  return a * ((r / z) @ w.T)


def _reference(x, cp):
  """The papers' rules, by hand."""
  deviation = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
  norm = (np.eye(_D) - 1 / _D)[None] / deviation[:, :, None]
  h = np.einsum('ndi,ni->nd', norm, x)
  logits = (h @ _Q) @ (h @ _KEY).T / 2
  causal = np.tril(np.ones((_N, _N), bool))
  e = np.where(causal, np.exp(logits), 0)
  weights = e / e.sum(-1, keepdims=True)
  values = h @ _V + _BIAS
  o = weights @ values
  g, u = o @ _GATE, o @ _UP
  silu = g / (1 + np.exp(-g))
  # All entries of the gated product, in proportion to what they are worth.
  r = silu * u * _DOWN
  r_o = _linear(o, _GATE, 0, r / 2) + _linear(o, _UP, 0, r / 2)
  share = r_o / o
  r_values = values * (weights.T @ share)
  r_h = np.zeros_like(h)
  if not cp:
    r_values = r_values / 2
    r_weights = weights * (share @ values.T) / 2
    r_logits = logits * (r_weights - weights * r_weights.sum(-1, keepdims=True))
    share = r_logits / (logits * 2) / 2
    r_q, r_k = (
      (h @ _Q) * (share @ (h @ _KEY)),
      (h @ _KEY) * (share.T @ (h @ _Q)),
    )
    r_h += _linear(h, _Q, 0, r_q) + _linear(h, _KEY, 0, r_k)
  r_h += _linear(h, _V, _BIAS, r_values)
  return x * np.einsum('ndi,nd->ni', norm, r_h / h)


class AttentionTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64())

  @parameterized.product(
    softmax=(jax.nn.softmax, _own_softmax, _plain_softmax),
    cp=(False, True),
  )
  def test_is_the_papers_rules(self, softmax, cp):
    composite = attention.cp_lrp if cp else attention.attn_lrp
    got = lrp.lrp(
      functools.partial(_block, softmax=softmax),
      _draw(_N, _D),
      composite=functools.partial(composite, epsilon=0.0),
    )
    want = _reference(_draw(_N, _D), cp)
    np.testing.assert_allclose(got.scores, want, rtol=1e-7, atol=1e-9)
    self.assertGreater(np.max(np.abs(want)), 0.1)


if __name__ == '__main__':
  absltest.main()
