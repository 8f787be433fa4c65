"""Tests for `submodules.py`, by `taps.of`.

Equinox, haiku and Keras: `tests/peers/frameworks_test.py`.
"""

from absl.testing import absltest
from absl.testing import parameterized
from flax import linen
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import models
from saliency_jax import taps

_X = jnp.arange(4.0)[None] / 4


class _Pair(nnx.Module):
  """Returns what it made, and something beside it."""

  def __init__(self, rngs):
    self.dense = nnx.Linear(4, 4, rngs=rngs)

  def __call__(self, x):
    h = self.dense(x)
    return h, {'twice': 2.0 * h}


class _Nnx(nnx.Module):
  def __init__(self, rngs):
    self.blocks = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(3)])
    self.heads = nnx.Dict(a=nnx.Linear(4, 4, rngs=rngs), b=nnx.relu)
    self.act, self.pair = jax.nn.softplus, _Pair(rngs)

  def __call__(self, x):
    for block in self.blocks:
      x = self.act(block(x))
    x = self.heads.b(self.heads.a(x))
    h, beside = self.pair(x)
    return h + beside['twice']


class _Linen(linen.Module):
  """Makes some submodules in `setup`, and some as it is called."""

  def setup(self):
    self.blocks = [linen.Dense(4) for _ in range(2)]

  def trunk(self, x):
    for block in self.blocks:
      x = block(x)
    return x

  @linen.compact
  def __call__(self, x, flag=True):
    return _Head(name='head')(self.trunk(x)) if flag else x


class _Head(linen.Module):
  width: int = 3

  @linen.compact
  def __call__(self, x):
    x = linen.Dense(4, name='same')(linen.Dense(4, name='once')(x))
    return linen.Dense(self.width)(x)


class _Outer(linen.Module):
  @linen.compact
  def __call__(self, x, flag=True):
    return _Linen(name='net')(x, flag) if flag else x


def _linen():
  module = _Outer()
  return module, module.init(jax.random.key(0), _X)


class SubmodulesTest(parameterized.TestCase):
  @parameterized.parameters(
    ('blocks/1', lambda m, h: m.blocks[1](m.act(m.blocks[0](h)))),
    ('heads/a', lambda m, h: m.heads.a(_trunk(m, h))),
    # Functions, too, where they are held.
    ('heads/b', lambda m, h: nnx.relu(m.heads.a(_trunk(m, h)))),
    ('pair/dense', lambda m, h: m.pair(nnx.relu(m.heads.a(_trunk(m, h))))[0]),
    # What comes first of several values.
    ('pair', lambda m, h: m.pair(nnx.relu(m.heads.a(_trunk(m, h))))[0]),
  )
  def test_nnx(self, path, expected):
    module = _Nnx(nnx.Rngs(0))
    tapped = taps.of(module, path)
    split = taps.split(tapped, _X, path)
    value, rest = split.trunk(_X)
    np.testing.assert_allclose(value, expected(module, _X), rtol=1e-6)
    np.testing.assert_allclose(split.head(value, rest), module(_X), rtol=1e-6)
    self.assertIsInstance(tapped, _Nnx)
    self.assertEqual(taps.names(module, _X), [])
    first, second = (nnx.to_pure_dict(nnx.state(m)) for m in (module, tapped))
    jax.tree.map(np.testing.assert_array_equal, first, second)

  def test_several_names(self):
    module = _Nnx(nnx.Rngs(0))
    for i, name in ((0, 'a'), (2, None), (0, 'again')):
      module = taps.of(module, f'blocks/{i}', name=name)
    self.assertEqual(taps.names(module, _X), ['a', 'again', 'blocks/2'])

  def test_is_compiled_once(self):
    graphs = [
      nnx.split(taps.of(_Nnx(nnx.Rngs(i)), path))[0]
      for i, path in enumerate(('blocks/1', 'blocks/1', 'act', 'act'))
    ]
    self.assertEqual(graphs[0], graphs[1])
    self.assertEqual(graphs[2], graphs[3])
    self.assertNotEqual(graphs[0], graphs[2])

  def test_one_of_several_values(self):
    module = _Nnx(nnx.Rngs(0))
    with self.assertRaisesRegex(ValueError, "'pair' .*.array, dict.: .*item=1"):
      taps.of(module, 'pair', item=1)(_X)
    with self.assertRaisesRegex(ValueError, "'act' returns .array.: .*item=-1"):
      taps.of(module, 'act', item=-1)(_X)

  def test_several_calls(self):
    module = taps.of(_Nnx(nnx.Rngs(0)), 'act')
    with self.assertRaisesRegex(ValueError, "'act', found 3"):
      taps.split(module, _X, 'act')

  @parameterized.parameters(
    ('blocks/3', "nearest of 6 are 'blocks/[0-2]', 'blocks/[0-2]', 'blocks/"),
    ('pairs', "'pair'"),
    # It is a list, an array, and what an initialiser was.
    ('blocks', "'blocks/"),
    ('blocks/0/kernel', "'blocks/0'"),
  )
  def test_no_submodule_of_nnx(self, path, message):
    message = f'no submodule at {path!r}; the .*{message}'
    with self.assertRaisesRegex(ValueError, message):
      taps.of(_Nnx(nnx.Rngs(0)), path)

  @parameterized.parameters('net/blocks_0', 'net/head', 'net/head/once')
  def test_linen(self, path):
    module, variables = _linen()
    tapped = taps.of(module, path, name='h')
    self.assertIsInstance(tapped, _Outer)
    fn = lambda x: tapped.apply(variables, x)
    value, rest = taps.split(fn, _X, 'h').trunk(_X)
    _, seen = module.apply(variables, _X, capture_intermediates=True)
    for key in path.split('/'):
      seen = seen.get('intermediates', seen)[key]
    np.testing.assert_allclose(value, seen['__call__'][0], rtol=1e-6)
    np.testing.assert_allclose(fn(_X), module.apply(variables, _X), rtol=1e-6)
    self.assertEqual(taps.names(lambda x: module.apply(variables, x), _X), [])

  def test_no_submodule_of_linen(self):
    module, variables = _linen()
    spec = models.Spec('mine', (4,))
    model = models.from_linen(taps.of(module, 'net/blocks/0'), variables, spec)
    with self.assertRaisesRegex(ValueError, "'net/blocks/0'; .*'net/blocks_0'"):
      model.apply(model.params, _X[0])
    # It is there, and is not called.
    with self.assertRaisesRegex(ValueError, "'net/head'; the nearest of 0"):
      taps.of(module, 'net/head').apply(variables, _X, flag=False)

  def test_no_framework(self):
    with self.assertRaisesRegex(ValueError, r"got a function; .*\(h, 'h'\)"):
      taps.of(lambda x: x, 'a', name='h')


def _trunk(module, x):
  for block in module.blocks:
    x = module.act(block(x))
  return x


if __name__ == '__main__':
  absltest.main()
