"""Tests that a key used twice is refused under `conftest.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax import errors


class KeysTest(parameterized.TestCase):
  @parameterized.parameters(
    jax.random.normal,
    jax.jit(lambda key: jax.random.normal(key) + 1),
    # Its result is a key, too.
    jax.random.split,
  )
  def test_used_twice(self, use):
    key = jax.random.key(0)
    use(key)
    with self.assertRaises(errors.KeyReuseError):
      use(key)

  def test_used_twice_by_a_batch(self):
    keys = jax.random.split(jax.random.key(0), 3)
    draw = jax.vmap(jax.random.normal)
    draw(keys)
    with self.assertRaises(errors.KeyReuseError):
      draw(keys)

  def test_used_twice_by_a_constant(self):
    key = jax.random.key(0)
    draw = jax.jit(lambda x: x + jax.random.normal(key))
    draw(1.0)
    with self.assertRaises(errors.KeyReuseError):
      draw(2.0)

  def test_used_twice_inside(self):
    def draw(x):
      key = jax.random.key(0)
      return x + jax.random.normal(key) + jax.random.uniform(key)

    with self.assertRaises(errors.KeyReuseError):
      jax.jit(draw)(1.0)


if __name__ == '__main__':
  absltest.main()
