"""Tests for `checks.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp

from saliency_jax.core import checks


class ChecksTest(parameterized.TestCase):
  @parameterized.parameters(
    (lambda v: checks.at_least('n', v, 1), 1, 0),
    (lambda v: checks.positive('n', v), 0.1, 0.0),
    (lambda v: checks.between('n', v, 0, 1), 1.0, 1.1),
    (lambda v: checks.between('n', v, 0, 1), 0.5, float('nan')),
  )
  def test_names_the_value(self, check, good, bad):
    check(good)
    check(jnp.asarray(good))
    with self.assertRaisesRegex(ValueError, f'n must be .* got {bad}'):
      check(bad)

  def test_passes_what_is_traced(self):
    jax.jit(lambda v: checks.positive('n', v))(-1.0)

  def test_image(self):
    checks.image(jnp.ones((2, 3, 1)))
    with self.assertRaisesRegex(ValueError, r'\(2, 3\)'):
      checks.image(jnp.ones((2, 3)))
    with self.assertRaisesRegex(ValueError, 'None'):
      checks.image({'a': jnp.ones(2)})

  def test_same_shape(self):
    x = {'a': jnp.ones(2)}
    checks.same_shape('baseline', {'a': jnp.zeros(2)}, x)
    for bad in ({'a': jnp.ones(3)}, {'a': jnp.ones(2, jnp.float16)}, x['a']):
      with self.assertRaisesRegex(ValueError, 'baseline must be like'):
        checks.same_shape('baseline', bad, x)


if __name__ == '__main__':
  absltest.main()
