"""Tests for `gradient.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import transforms
from saliency_jax.gradients import gradient
from tests import equivalence


class GradientTest(parameterized.TestCase):
  def test_linear(self):
    w = jnp.arange(12.0).reshape(3, 4)
    out = gradient.gradient(lambda x: jnp.sum(w * x) + 1, jnp.ones((3, 4)))
    np.testing.assert_array_equal(out.scores, w)
    self.assertEqual(out.info.score, 67)

  def test_times_input_of_a_homogeneous_function_is_complete(self):
    x = jax.random.normal(jax.random.key(0), (5,))
    w = jax.random.normal(jax.random.key(1), (5, 7))
    out = transforms.times_input(gradient.gradient)(
      lambda x: jnp.sum(jax.nn.relu(x @ w)), x
    )
    np.testing.assert_allclose(jnp.sum(out.scores), out.info.score, rtol=1e-6)

  def test_pytree(self):
    x = {'a': jnp.arange(3.0), 'b': jnp.ones(2)}
    out = gradient.gradient(
      lambda x: jnp.sum(x['a'] ** 2) + 3 * jnp.sum(x['b']), x
    )
    np.testing.assert_array_equal(out.scores['a'], [0, 2, 4])
    np.testing.assert_array_equal(out.scores['b'], [3, 3])

  def test_equivalence(self):
    equivalence.check(self, gradient.gradient, dtypes=equivalence.ALL_DTYPES)

  def test_implementation_invariance(self):
    x = jnp.linspace(-2, 2, 9)
    a = gradient.gradient(lambda x: jnp.sum(jnp.tanh(x)), x)
    b = gradient.gradient(lambda x: jnp.sum(2 * jax.nn.sigmoid(2 * x) - 1), x)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)


if __name__ == '__main__':
  absltest.main()
