"""Tests for `wrap.py`."""

from absl.testing import absltest
from absl.testing import parameterized
from flax import linen
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import models

_SPEC = models.Spec('mine', (4,))


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

  def test_linen(self):
    module = _Linen()
    variables = module.init(jax.random.key(0), jnp.ones((1, 4)), train=False)
    model = models.from_linen(module, variables, _SPEC, train=False)
    x = jnp.arange(4.0)
    want = module.apply(variables, x[None], train=False)[0]
    np.testing.assert_allclose(model.apply(model.params, x), want, rtol=1e-6)
    with self.assertRaisesRegex(ValueError, "'params'.*batch_stats"):
      models.from_linen(module, dict(batch_stats={}), _SPEC, train=False)

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
