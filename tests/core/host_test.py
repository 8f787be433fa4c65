"""Tests for `host.py`: each in a process of its own, with so many devices."""

import subprocess
import sys
import textwrap

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import host

_SHARDED = """
  import jax
  import jax.numpy as jnp
  import numpy as np
  from saliency_jax.core import host

  num = {num_devices}
  jax.config.update('jax_num_cpu_devices', num)
  weights = np.linspace(-1, 1, 224 * 224 * 3).astype(np.float32)
  sizes = []

  def predict(batch):
    sizes.append(len(batch))
    return batch.reshape(len(batch), -1) @ weights

  fn = host.from_host(predict)

  def twice(x):
    scale = jnp.arange(1.0, 5.0)
    return jax.lax.map(lambda s: fn(s * x), scale, batch_size=2)

  xs = np.random.default_rng(0).random((16, 224, 224, 3), np.float32)
  mesh = jax.make_mesh((num,), ('d',),
                       axis_types=(jax.sharding.AxisType.Auto,))
  program = jax.jit(jax.shard_map(
    jax.vmap(twice), mesh=mesh, in_specs=jax.P('d'), out_specs=jax.P('d'),
    check_vma=False))
  for _ in range(3):
    got = program(jnp.asarray(xs))
  want = (xs.reshape(16, -1) @ weights)[:, None] * np.arange(1, 5)
  np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-1)
  assert set(sizes) == {{32 // num}}, sizes
"""


class HostTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 8)
  def test_image_sized_batches_on_devices(self, num_devices):
    """The way it could fail is to hang: hence the time-out."""
    code = textwrap.dedent(_SHARDED).format(num_devices=num_devices)
    subprocess.run([sys.executable, '-c', code], check=True, timeout=120)

  def test_calls_once_for_nested_vmaps(self):
    shapes = []

    def predict(batch):
      shapes.append(batch.shape)
      return batch.sum(-1)

    fn = host.from_host(predict)
    xs = jnp.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_allclose(jax.vmap(jax.vmap(fn))(xs), xs.sum(-1))
    self.assertEqual(shapes, [(6, 4)])

  def test_vector_outputs_and_dtype(self):
    fn = host.from_host(lambda b: np.stack([b, -b], -1), output_shape=(4, 2))
    x = jnp.arange(4.0)
    np.testing.assert_allclose(jax.jit(fn)(x), jnp.stack([x, -x], -1))
    # A result of another dtype is cast, not read as other bytes.
    double = host.from_host(lambda b: b.astype(np.float64).sum(-1))
    self.assertEqual(double(x), 6)

  def test_says_what_the_black_box_did_wrong(self):
    fn = host.from_host(lambda b: np.zeros(3))
    with self.assertRaisesRegex(
      jax.errors.JaxRuntimeError, r'returned \(3,\), expected \(1,\)'
    ):
      jax.block_until_ready(jax.jit(fn)(jnp.ones(4)))

  def test_hands_on_the_message_of_the_black_box(self):
    def predict(batch):
      raise RuntimeError('the service is away')

    fn = host.from_host(predict)
    with self.assertRaisesRegex(
      jax.errors.JaxRuntimeError, 'the service is away'
    ):
      jax.block_until_ready(jax.jit(fn)(jnp.ones(4)))

  def test_has_no_gradient(self):
    fn = host.from_host(lambda b: b.sum(-1))
    with self.assertRaisesRegex(ValueError, 'no gradient'):
      jax.grad(fn)(jnp.ones(4))


if __name__ == '__main__':
  absltest.main()
