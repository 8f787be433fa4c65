"""Tests for `examples.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax
from saliency_jax.core import examples


class ExamplesTest(parameterized.TestCase):
  @parameterized.parameters(
    (np.float64, jnp.float32),
    (np.float32, jnp.float32),
    (np.uint8, jnp.uint8),
    (jnp.bfloat16, jnp.bfloat16),
  )
  def test_arrays(self, dtype, want):
    got = examples.arrays({'a': np.ones((2, 3), dtype)})['a']
    self.assertIsInstance(got, jax.Array)
    self.assertEqual(got.dtype, want)

  def test_keeps_float64_where_it_is_on(self):
    with jax.enable_x64(True):
      self.assertEqual(examples.floats(np.ones(2)).dtype, jnp.float64)

  @parameterized.parameters(
    (np.ones(2, complex), 'complex'),
    (np.array(['a', 'b']), 'numbers'),
    (np.array([None]), 'numbers'),
  )
  def test_refuses_what_is_no_number(self, x, why):
    with self.assertRaisesRegex(ValueError, why):
      examples.arrays(x)

  def test_floats_name_the_cast(self):
    with self.assertRaisesRegex(ValueError, 'got uint8: cast it'):
      examples.floats(np.ones(2, np.uint8))

  def test_traced_examples_pass(self):
    jax.jit(examples.floats)(jnp.ones(2))

  def test_result_dtype(self):
    pair = (jnp.ones(1, jnp.bfloat16), jnp.ones(1, jnp.int32))
    self.assertEqual(examples.result_dtype(pair), jnp.bfloat16)
    self.assertEqual(examples.result_dtype(pair[1]), jnp.float32)

  def test_accumulator(self):
    self.assertEqual(examples.accumulator(jnp.bfloat16), jnp.float32)
    self.assertEqual(examples.accumulator(jnp.int32), jnp.float32)
    self.assertEqual(examples.accumulator(jnp.float32), jnp.float32)

  def test_widened(self):
    seen = []

    def fn(x):
      seen.append(x['a'].dtype)
      return (jnp.sum(x['a']), {'n': jnp.sum(x['a']).astype(jnp.int32)})

    for dtype, at, back in (
      (jnp.bfloat16, 1 + 2**-12, 1),
      (jnp.uint8, 2.6, 3),
      (jnp.float32, 1 + 2**-12, 1 + 2**-12),
    ):
      wide_fn, wide = examples.widened(fn, {'a': jnp.ones(2, dtype)})
      self.assertEqual(wide['a'].dtype, jnp.float32)
      total, extra = wide_fn({'a': jnp.full(2, at)})
      self.assertEqual(seen.pop(), dtype)
      self.assertEqual(total, 2 * back)
      self.assertEqual(total.dtype, jnp.uint32 if back == 3 else jnp.float32)
      self.assertEqual(extra['n'].dtype, jnp.int32)

  def test_attribution(self):
    x = {'a': jnp.ones(2, jnp.bfloat16), 'b': jnp.ones(1, jnp.int32)}
    wide = examples.wide(x)
    out = examples.attribution(x, wide, (wide['a'],))
    self.assertEqual(out.scores['a'].dtype, jnp.bfloat16)
    self.assertEqual(out.scores['b'].dtype, jnp.float32)
    self.assertEqual(out.info[0].dtype, jnp.float32)
    one = examples.attribution(x, jnp.ones(3), ())
    self.assertEqual(one.scores.dtype, jnp.bfloat16)


_KEY = {'key': jax.random.key(0)}
_MASK = {'resolution': 4, 'num_steps': 1}
_CALLS = {'window': 4, 'stride': 4}
# Methods that differentiate, and methods that only call.
_DIFFERENTIATE = (
  (saliency_jax.adaptive_integrated_gradients, {}),
  (saliency_jax.cafo, {}),
  (saliency_jax.caso, _KEY),
  (saliency_jax.expected_gradients, {'references': np.zeros((2, 8, 8, 1))}),
  (saliency_jax.gradient, {}),
  (saliency_jax.igos, _KEY | _MASK),
  (saliency_jax.igos_pp, _KEY | _MASK),
  (saliency_jax.integrated_gradients, {}),
  (saliency_jax.mask, _MASK),
  (saliency_jax.smooth_cafo, _KEY),
  (saliency_jax.smooth_caso, _KEY),
  (saliency_jax.smooth_grad, _KEY),
  (saliency_jax.smooth_grad_squared, _KEY),
  (saliency_jax.var_grad, _KEY),
)
_CALL = (
  (saliency_jax.occlusion, _CALLS),
  (saliency_jax.rise, _KEY),
)


class MethodsTest(parameterized.TestCase):
  @parameterized.parameters(*_DIFFERENTIATE, *_CALL)
  def test_a_float64_image_is_one_of_float32(self, method, settings):
    x = np.random.default_rng(0).random((8, 8, 1))
    settings = {'key': jax.random.key(0), **settings}

    def explain():
      return method(lambda x: jnp.mean(jnp.tanh(x)), x, **settings)

    self.assertEqual(jax.eval_shape(explain).scores.dtype, jnp.float32)

  @parameterized.parameters(*_DIFFERENTIATE)
  def test_integers_cannot_be_differentiated(self, method, settings):
    settings = {'key': jax.random.key(0), **settings}
    with self.assertRaisesRegex(ValueError, 'got uint8: cast it'):
      method(jnp.sum, np.ones((8, 8, 1), np.uint8), **settings)


if __name__ == '__main__':
  absltest.main()
