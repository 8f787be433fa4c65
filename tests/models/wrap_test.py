"""Tests for `wrap.py`, `wrap_nnx.py` and `wrap_linen.py`.

For Equinox, haiku and Keras see `tests/peers/frameworks_test.py`.
"""

from absl.testing import absltest
from absl.testing import parameterized
from flax import linen
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import models

_SPEC = models.Spec('mine', (4,))
_NOTHING = {'params': {}}


class _Nnx(nnx.Module):
  def __init__(self, rngs):
    self.norm = nnx.BatchNorm(4, rngs=rngs)
    self.drop = nnx.Dropout(0.5, rngs=rngs)
    self.dense = nnx.Linear(4, 3, rngs=rngs)

  def __call__(self, x):
    return self.dense(self.drop(self.norm(x)))


class _Linen(linen.Module):
  @linen.compact
  def __call__(self, x, train):
    x = linen.BatchNorm(use_running_average=not train)(x)
    return linen.Dense(3)(x)


class _OwnFlag(nnx.Module):
  """Keeps a training flag that `eval` does not know of, and takes another."""

  def __init__(self, rngs):
    self.norm = nnx.BatchNorm(4, rngs=rngs)
    self.norm.mean[...] = jnp.arange(4.0)
    self.dense = nnx.Linear(4, 3, rngs=rngs)
    self.training = True

  def __call__(self, x, train=None):
    train = self.training if train is None else train
    return self.dense(self.norm(x, use_running_average=not train))


class _Jitted(nnx.Module):
  """Hands back copies of the statistics that its call leaves alone."""

  def __init__(self, rngs):
    self.norm = nnx.BatchNorm(4, rngs=rngs)
    self.count = nnx.Variable(jnp.zeros(()))
    self.counts = False

  @nnx.jit
  def __call__(self, x):
    if self.counts:
      self.count[...] = self.count[...] + 1.0
    return self.norm(x)


class _Inputs(nnx.Module):
  """Takes an image, its channels first, a row and token ids."""

  def __init__(self, rngs):
    self.embed = nnx.Embed(10, 3, rngs=rngs)

  def __call__(self, image, row, *, ids):
    return image.mean((2, 3)) + row + self.embed(ids).mean(1)


class _LinenInputs(linen.Module):
  @linen.compact
  def __call__(self, inputs):
    return linen.Dense(3)(inputs['a']) + inputs['b']


class _Tokens(nnx.Module):
  def __init__(self, rngs):
    self.embed = nnx.Embed(10, 6, rngs=rngs)
    self.dense = nnx.Linear(6, 3, rngs=rngs)

  def __call__(self, ids):
    return self.dense(self.embed(ids).mean(1))


class WrapTest(parameterized.TestCase):
  def test_nnx_is_evaluated_and_left_alone(self):
    module = _Nnx(nnx.Rngs(0))
    module.norm.mean.set_value(jnp.arange(4.0))
    model = models.from_nnx(module, _SPEC)
    x = jnp.arange(4.0) / 4
    scaled = (x - jnp.arange(4.0)) / jnp.sqrt(jnp.float32(1 + 1e-5))
    want = scaled @ module.dense.kernel[...]
    np.testing.assert_allclose(model.apply(model.params, x), want, rtol=1e-5)
    self.assertFalse(module.drop.deterministic)
    self.assertEqual(sorted(model.params), ['dense', 'norm'])
    self.assertEqual(sorted(model.params['norm']), ['bias', 'scale'])

  def test_linen_without_its_statistics(self):
    module = _Linen()
    variables = module.init(jax.random.key(0), jnp.ones((1, 4)), train=False)
    model = models.from_linen(
      module, {'params': variables['params']}, _SPEC, train=False
    )
    message = f'{_SPEC.name}: .*batch_stats.*give from_linen all of module.init'
    with self.assertRaisesRegex(ValueError, message):
      model.apply(model.params, jnp.ones(4))

  def test_linen(self):
    module = _Linen()
    variables = module.init(jax.random.key(0), jnp.ones((1, 4)), train=False)
    model = models.from_linen(module, variables, _SPEC, train=False)
    x = jnp.arange(4.0)
    want = module.apply(variables, x[None], train=False)[0]
    np.testing.assert_allclose(model.apply(model.params, x), want, rtol=1e-6)
    with self.assertRaisesRegex(ValueError, "'params'.*batch_stats"):
      models.from_linen(module, dict(batch_stats={}), _SPEC, train=False)

  def test_nnx_with_a_flag_of_its_own(self):
    module, x = _OwnFlag(nnx.Rngs(0)), jnp.arange(4.0)
    model = models.from_nnx(module, _SPEC)
    for run in (model.apply, jax.jit(model.apply)):
      with self.assertRaisesRegex(
        ValueError, 'training mode.*norm/mean, norm/var.*train=False'
      ):
        run(model.params, x)
    scaled = (x - jnp.arange(4.0)) / jnp.sqrt(jnp.float32(1 + 1e-5))
    want = scaled @ module.dense.kernel[...]
    told = models.from_nnx(module, _SPEC, train=False)
    module.training = False
    turned_off = models.from_nnx(module, _SPEC)
    for model in (told, turned_off):
      np.testing.assert_allclose(model.apply(model.params, x), want, atol=1e-6)

  def test_linen_in_training_mode(self):
    module = _Linen()
    variables = module.init(jax.random.key(0), jnp.ones((1, 4)), train=False)
    model = models.from_linen(module, variables, _SPEC, train=True)
    with self.assertRaisesRegex(ValueError, 'training mode.*train=False'):
      model.apply(model.params, jnp.ones(4))
    with self.assertRaisesRegex(ValueError, "'train'.*such as train=False"):
      models.from_linen(module, variables, _SPEC)
    drop = linen.Sequential([linen.Dropout(0.5, deterministic=False)])
    model = models.from_linen(drop, {'params': {'w': jnp.ones(1)}}, _SPEC)
    with self.assertRaisesRegex(ValueError, 'training mode: .*needs PRNG'):
      model.apply(model.params, jnp.ones(4))

  def test_jit_within_a_module(self):
    module, x = _Jitted(nnx.Rngs(0)), jnp.arange(4.0)
    module.norm.mean.set_value(x)
    model = models.from_nnx(module, _SPEC)
    np.testing.assert_allclose(model.apply(model.params, x), np.zeros(4))
    module.counts = True
    model = models.from_nnx(module, _SPEC)
    with self.assertRaisesRegex(ValueError, 'a call changes count; turn its'):
      model.apply(model.params, x)

  def test_several_inputs(self):
    """As many arguments of a tuple, each of its own shape and dtype."""
    module = _Inputs(nnx.Rngs(0))
    shapes = ((4, 5, 3), (3,))
    spec = models.Spec('mine', shapes, channels_first=True)
    ids = jnp.array([[1, 2, 2]])
    model = models.from_nnx(module, spec, ids=ids)
    image, row = jnp.arange(60.0).reshape(4, 5, 3), jnp.ones(3)
    rows = module.embed.embedding[...][ids[0]].mean(0)
    want = image.mean((0, 1)) + 1.0 + rows
    got = model.apply(model.params, (image, row))
    np.testing.assert_allclose(got, want, rtol=1e-6)
    for x, message in (
      ((image, row[:2]), r"mine at '1' takes .*shape \(3,\), got \(2,\)"),
      ((image, row.astype(jnp.int32)), "at '1' takes .*float32, got int32"),
      (image, r'inputs of shapes \(\(4, 5, 3\), \(3,\)\), got \(4, 5, 3\)'),
      ([image, row], r'got \[\(4, 5, 3\), \(3,\)\]'),
    ):
      with self.assertRaisesRegex(ValueError, message):
        model.apply(model.params, x)
    with self.assertRaisesRegex(
      ValueError, "an example and .*'row'; .*a tuple"
    ):
      models.from_nnx(module, _SPEC, ids=ids)
    with self.assertRaisesRegex(ValueError, '4 inputs and .*too many'):
      models.from_nnx(module, spec._replace(input_shape=shapes * 2), ids=ids)

  def test_a_dictionary_of_inputs(self):
    """One argument; token ids among it."""
    spec = models.Spec(
      'mine', {'a': (4,), 'b': (None,)}, input_dtype={'a': None, 'b': 'int32'}
    )
    module = _LinenInputs()
    x = {'a': jnp.arange(4.0), 'b': jnp.array([1, 2, 3])}
    with jax.numpy_dtype_promotion('standard'):
      with jax.numpy_rank_promotion('allow'):
        variables = module.init(jax.random.key(0), x)
        model = models.from_linen(module, variables, spec)
        got = model.apply(model.params, x)
        np.testing.assert_allclose(got, module.apply(variables, x), rtol=1e-6)
        x['b'] = x['b'] / 2
        with self.assertRaisesRegex(ValueError, "at 'b' takes .*int32, got f"):
          model.apply(model.params, x)

  def test_without_parameters(self):
    model = models.from_linen(linen.Sequential([linen.relu]), _NOTHING, _SPEC)
    np.testing.assert_allclose(model.apply({}, jnp.ones(4)), np.ones(4))

  def test_not_an_array(self):
    both = linen.Sequential([lambda x: (x, x)])
    model = models.from_linen(both, _NOTHING, _SPEC)
    with self.assertRaisesRegex(ValueError, 'one array of logits, got a tuple'):
      model.apply({}, jnp.ones(4))

  def test_unknown_keyword(self):
    with self.assertRaisesRegex(ValueError, 'trian=False: .*from_nnx'):
      models.from_nnx(_OwnFlag(nnx.Rngs(0)), _SPEC, trian=False)

  def test_token_ids(self):
    module, ids = _Tokens(nnx.Rngs(0)), jnp.array([1, 2, 2, 7])
    model = models.from_nnx(module, _SPEC)
    with self.assertRaisesRegex(ValueError, r"int32.*input_dtype='int32'\)"):
      model.apply(model.params, ids)
    model = models.from_nnx(module, _SPEC._replace(input_dtype='int32'))
    rows = module.embed.embedding[...][ids].mean(0)
    np.testing.assert_allclose(
      model.apply(model.params, ids), rows @ module.dense.kernel[...], rtol=1e-4
    )
    with self.assertRaisesRegex(ValueError, 'examples of int32, got float32'):
      model.apply(model.params, ids / 2)

  def test_pixels(self):
    """Float64 is taken as JAX takes it; whole numbers are no pixels."""
    module = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    model = models.from_nnx(module, _SPEC)
    x = np.arange(4) / 4
    got = model.apply(model.params, x)
    np.testing.assert_allclose(got, x @ np.asarray(module.kernel), rtol=1e-5)
    with self.assertRaisesRegex(ValueError, r'uint8: .*float32 in \[0, 1\]'):
      model.apply(model.params, np.arange(4, dtype=np.uint8))

  def test_batch_axis(self):
    module = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    a = models.from_nnx(module, _SPEC)
    b = models.from_nnx(module, _SPEC, batch_axis=False)
    x = jnp.arange(4.0)
    np.testing.assert_allclose(
      a.apply(a.params, x), b.apply(b.params, x), rtol=1e-6
    )

  def test_dtype_follows_the_parameters(self):
    with jax.enable_x64(True):
      model = models.from_nnx(_Nnx(nnx.Rngs(0)), _SPEC)
      params = jax.tree.map(lambda p: p.astype(jnp.float64), model.params)
      out = model.apply(params, jnp.ones(4, jnp.float64))
      self.assertEqual(out.dtype, jnp.float64)

  def test_not_a_vector_of_logits(self):
    model = models.from_nnx(
      nnx.Conv(1, 3, (2,), rngs=nnx.Rngs(0)), _SPEC._replace(input_shape=(4, 1))
    )
    with self.assertRaisesRegex(ValueError, r'vector of logits.*\(4, 3\)'):
      model.apply(model.params, jnp.ones((4, 1)))


if __name__ == '__main__':
  absltest.main()
