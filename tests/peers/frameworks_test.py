"""One network in Equinox, haiku and plain code: the same maps of propagation.

For nnx and linen see `tests/propagation/guided_test.py`. Equinox and haiku are
in no extra: `pip install equinox dm-haiku`.
"""

import functools
import importlib.util
import unittest

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax import scores

_RNG = np.random.default_rng(0)
_KERNEL = _RNG.normal(size=(3, 3, 2, 4)).astype(np.float32)
_DENSE = _RNG.normal(size=(4, 3)).astype(np.float32)
_X = _RNG.random((6, 6, 2), np.float32)
_METHODS = {
  name: getattr(saliency_jax, name)
  for name in (
    'gradient',
    'guided_backprop',
    'deconvnet',
    'lrp',
    'deeplift',
    'excitation_backprop',
  )
}


def _plain(x):
  """A convolution, a batch norm, a max-pool, a mean and a dense layer."""
  h = jax.lax.conv_general_dilated(
    x[None],
    jnp.asarray(_KERNEL),
    (1, 1),
    'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  h = jnp.maximum((h + 0.1) / np.float32(1 + 1e-5) ** 0.5, 0)
  h = jnp.max(h.reshape(3, 2, 3, 2, 4), (1, 3))
  return jnp.mean(h, (0, 1)) @ _DENSE + 0.2


def _equinox():
  import equinox

  first, second = jax.random.split(jax.random.key(0))
  conv = equinox.nn.Conv2d(2, 4, 3, padding='SAME', key=first)
  bias = jnp.full((4, 1, 1), 0.1)
  conv = equinox.tree_at(
    lambda m: (m.weight, m.bias), conv, (_KERNEL.transpose(3, 2, 0, 1), bias)
  )
  dense = equinox.nn.Linear(4, 3, key=second)
  dense = equinox.tree_at(
    lambda m: (m.weight, m.bias), dense, (_DENSE.T, jnp.full(3, 0.2))
  )
  norm, state = equinox.nn.make_with_state(equinox.nn.BatchNorm)(
    4, 'batch', mode='batch'
  )
  norm = equinox.nn.inference_mode(norm)
  pool = equinox.nn.MaxPool2d(2, 2)

  def apply(x):
    h = conv(x.transpose(2, 0, 1))
    # Of running statistics 0 and 1, as at the start.
    h, _ = norm(h, state)
    return dense(jnp.mean(pool(jax.nn.relu(h)), (1, 2)))

  return apply


def _haiku():
  import haiku

  def network(x, training):
    h = haiku.Conv2D(4, 3, name='conv')(x[None])
    norm = haiku.BatchNorm(True, True, 0.9, name='norm')
    h = jax.nn.relu(norm(h, is_training=training))
    h = haiku.max_pool(h, (1, 2, 2, 1), (1, 2, 2, 1), 'VALID')
    return haiku.Linear(3, name='dense')(h.mean((1, 2)))[0]

  built = haiku.without_apply_rng(haiku.transform_with_state(network))
  params, state = built.init(jax.random.key(0), jnp.asarray(_X), True)
  params = {
    **params,
    'conv': {'w': jnp.asarray(_KERNEL), 'b': jnp.full(4, 0.1)},
    'dense': {'w': jnp.asarray(_DENSE), 'b': jnp.full(3, 0.2)},
  }
  for name, leaves in state.items():
    value = 1.0 if 'var' in name else 0.0
    for kind in ('average', 'hidden'):
      leaves[kind] = jnp.full_like(leaves[kind], value)
  return lambda x: built.apply(params, state, x, False)[0]


def _has(*names):
  return all(importlib.util.find_spec(name) is not None for name in names)


class FrameworksTest(parameterized.TestCase):
  def _check(self, apply):
    np.testing.assert_allclose(apply(_X), _plain(_X), rtol=1e-5)
    for name, method in _METHODS.items():
      got, want = (
        jax.jit(
          functools.partial(
            method, scores.logit(lambda _, x, f=f: f(x), None, 1)
          )
        )(_X).scores
        for f in (apply, _plain)
      )
      scale = np.max(np.abs(want))
      self.assertGreater(scale, 0, name)
      np.testing.assert_allclose(
        got / scale, want / scale, atol=1e-5, err_msg=name
      )

  @unittest.skipUnless(_has('equinox'), 'pip install equinox')
  def test_equinox(self):
    self._check(_equinox())

  @unittest.skipUnless(_has('haiku'), 'pip install dm-haiku')
  def test_haiku(self):
    self._check(_haiku())


if __name__ == '__main__':
  absltest.main()
