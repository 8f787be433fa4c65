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

  def gradient(batch):
    sizes.append(len(batch))
    return np.broadcast_to(weights.reshape(batch.shape[1:]), batch.shape)

  fn = host.from_host(predict, gradient=gradient)

  def twice(x):
    scale = jnp.arange(1.0, 5.0)
    return jax.lax.map(lambda s: fn(s * x), scale, batch_size=2)

  xs = np.random.default_rng(0).random((16, 224, 224, 3), np.float32)
  mesh = jax.make_mesh((num,), ('d',),
                       axis_types=(jax.sharding.AxisType.Auto,))
  program = jax.jit(jax.shard_map(
    jax.vmap(lambda x: (twice(x), jax.grad(lambda x: twice(x).sum())(x))),
    mesh=mesh, in_specs=jax.P('d'), out_specs=jax.P('d'), check_vma=False))
  for _ in range(3):
    got, slope = program(jnp.asarray(xs))
  want = (xs.reshape(16, -1) @ weights)[:, None] * np.arange(1, 5)
  np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-1)
  np.testing.assert_allclose(
      slope.reshape(16, -1), np.tile(10 * weights, (16, 1)), rtol=1e-5)
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

  def test_whole_numbers_have_scores_that_are_none(self):
    fn = host.from_host(lambda b: b.mean(-1))
    x = jnp.array([1, 2, 4], jnp.uint8)
    for run in (fn, jax.jit(fn)):
      np.testing.assert_allclose(run(x), 7 / 3, rtol=1e-6)
      self.assertEqual(run(x).dtype, jnp.float32)

  @parameterized.parameters(1, 2)
  def test_batches_are_its_own(self, num_devices):
    """It may write into its batch, and keep it: nothing else changes."""
    kept, copies = [], []

    def predict(batch):
      result = batch.sum(-1)
      batch += 1
      kept.append(batch)
      copies.append(batch.copy())
      return result

    fn = host.from_host(predict)
    mesh = jax.make_mesh((num_devices,), ('d',))
    spread = jax.NamedSharding(mesh, jax.P('d'))
    xs = np.arange(64.0, dtype=np.float32).reshape(4, 16)
    given = jax.device_put(xs, spread)
    program = jax.jit(
      jax.shard_map(
        jax.vmap(lambda x: fn(x) + fn(2 * x)),
        mesh=mesh,
        in_specs=jax.P('d'),
        out_specs=jax.P('d'),
        check_vma=False,
      )
    )
    for _ in range(2):
      np.testing.assert_allclose(program(given), 3 * xs.sum(-1))
    x = jnp.asarray(xs[0])
    self.assertEqual(fn(x), xs[0].sum())
    np.testing.assert_array_equal(x, xs[0])
    np.testing.assert_array_equal(given, xs)
    np.testing.assert_array_equal(np.concatenate(kept), np.concatenate(copies))

  @parameterized.parameters(
    (lambda b: np.zeros(3), r'returned \(3,\), expected \(1,\)'),
    (lambda b: np.array(['cat']), 'returned <U3, expected real numbers'),
    (lambda b: np.array([None]), 'returned object, expected real numbers'),
    (lambda b: 1j * b.sum(-1), 'returned complex64, expected real numbers'),
  )
  def test_says_what_the_black_box_did_wrong(self, predict, message):
    fn = host.from_host(predict)
    with self.assertRaisesRegex(ValueError, message):
      fn(jnp.ones(4))
    with self.assertRaisesRegex(jax.errors.JaxRuntimeError, f'{message}$'):
      jax.block_until_ready(jax.jit(fn)(jnp.ones(4)))

  def test_interrupted(self):
    def predict(batch):
      raise KeyboardInterrupt

    fn = host.from_host(predict)
    with self.assertRaises(KeyboardInterrupt):
      fn(jnp.ones(4))
    with self.assertRaises(jax.errors.JaxRuntimeError) as caught:
      jax.block_until_ready(jax.jit(fn)(jnp.ones(4)))
    self.assertIsInstance(host.failure(caught.exception), KeyboardInterrupt)
    self.assertIsNone(host.failure(jax.errors.JaxRuntimeError('other')))
    with self.assertRaises(KeyboardInterrupt):
      with host.own_errors():
        raise caught.exception

  def test_hands_on_the_message_of_the_black_box(self):
    def predict(batch):
      raise RuntimeError('the service is away')

    fn = host.from_host(predict)
    with self.assertRaisesRegex(
      jax.errors.JaxRuntimeError, 'the service is away'
    ):
      jax.block_until_ready(jax.jit(fn)(jnp.ones(4)))

  def test_takes_no_parameters(self):
    """As an `apply` it is called with parameters, of which it has none."""
    fn = host.from_host(lambda b: b.sum(-1))
    x = jnp.arange(4.0)
    for params in ((), (None,), ((),), ({},)):
      self.assertEqual(fn(*params, x), 6)
    for params in ((x,), (None, None)):
      with self.assertRaisesRegex(ValueError, 'parameters of its own: .*None'):
        fn(*params, x)

  @parameterized.parameters(
    (dict(hvp=len), 'hvp was given without gradient'),
    (dict(jvp=len, output_shape=(2,)), 'jvp was given without gradient'),
    (dict(jvp=len, gradient=len), r'several outputs, and output_shape is \(\)'),
  )
  def test_derivatives_that_do_not_go_together(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      host.from_host(len, **settings)

  @parameterized.parameters(
    (lambda b: b.sum(-1), r'gradient got a batch \(1, 4\) and returned \(1,\)'),
    (lambda b: b[:, :2], r'returned \(1, 2\), expected \(1, 4\)'),
    (lambda b: 1j * b, 'returned complex64, expected real numbers'),
    (lambda b: None, r'returned \(\), expected \(1, 4\)'),
  )
  def test_says_what_its_gradient_did_wrong(self, gradient, message):
    fn = host.from_host(lambda b: b.sum(-1), gradient=gradient)
    with self.assertRaisesRegex(ValueError, message):
      jax.grad(fn)(jnp.ones(4))
    with self.assertRaisesRegex(ValueError, message):
      with host.own_errors():
        jax.block_until_ready(jax.jit(jax.grad(fn))(jnp.ones(4)))

  def test_what_it_returns_stays_its_own(self):
    """A result that it writes into again is no longer looked at."""
    buffer = np.zeros((1, 4), np.float32)

    def gradient(batch):
      buffer[:] += batch
      return buffer

    fn = host.from_host(lambda b: buffer[:, 0], gradient=gradient)
    for run in (lambda f: f, jax.jit):
      buffer[:] = 0
      first = jax.block_until_ready(run(jax.grad(fn))(jnp.ones(4)))
      jax.block_until_ready(run(jax.grad(fn))(jnp.ones(4)))
      np.testing.assert_array_equal(first, np.ones(4))


if __name__ == '__main__':
  absltest.main()
