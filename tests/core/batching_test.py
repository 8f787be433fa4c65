"""Tests for `batching.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import batching
from saliency_jax.core import sampling

_MESHES = (None, (1,), (2,), (8,), (2, 4))


def _mesh(shape):
  if shape is None:
    return None
  names = ('data', 'model')[: len(shape)]
  auto = (jax.sharding.AxisType.Auto,) * len(shape)
  return jax.make_mesh(shape, names, axis_types=auto)


def _drawn(weights, x, label, key):
  """Draws at a constant point too, which a mesh must not sum over."""

  def draw(i):
    return sampling.normal(sampling.draw_key(key, i), x['a'])

  mean = sampling.batched_mean(draw, jnp.arange(5), batch_size=2)
  slope = jax.grad(lambda s: jnp.sum(jnp.sin(s * x['a'] @ weights)))(0.5)
  return {'map': mean * slope, 'label': label, 'rest': x['b'] - 1}


def _batch(n):
  xs = {
    'a': jax.random.normal(jax.random.key(1), (n, 4)),
    'b': jnp.arange(n),
  }
  return xs, jnp.arange(n) % 3, jax.random.split(jax.random.key(2), n)


class BatchingTest(parameterized.TestCase):
  @parameterized.product(mesh=_MESHES, n=(1, 5, 8, 13))
  def test_same_as_a_loop_on_every_mesh(self, mesh, n):
    weights = jax.random.normal(jax.random.key(0), (4, 2))
    xs, labels, keys = _batch(n)
    got = batching.over_batch(_drawn, _mesh(mesh))(weights, xs, labels, keys)
    loop = [
      jax.jit(_drawn)(
        weights,
        jax.tree.map(lambda a, i=i: a[i], xs),
        labels[i],
        jax.random.clone(keys[i]),
      )
      for i in range(n)
    ]
    want = jax.tree.map(lambda *a: np.stack(a), *loop)
    np.testing.assert_allclose(got['map'], want['map'], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got['label'], want['label'])
    np.testing.assert_array_equal(got['rest'], want['rest'])

  def test_an_example_is_the_same_in_every_batch(self):
    weights = jnp.ones((4, 2))
    whole = batching.over_batch(_drawn, _mesh((8,)))
    xs, labels, keys = _batch(13)
    want = whole(weights, xs, labels, keys)['map']
    part = lambda tree: jax.tree.map(lambda a: a[4:7], tree)
    keys = jax.random.clone(keys)
    got = whole(weights, part(xs), part(labels), part(keys))['map']
    np.testing.assert_allclose(got, want[4:7], rtol=1e-5, atol=1e-6)

  @parameterized.parameters(None, 2)
  def test_parts_may_be_missing(self, devices):
    mesh = None if devices is None else _mesh((devices,))
    run = batching.over_batch(lambda p, x, y, z: (x + p, y is None, z), mesh)
    got, missing, _ = run(2.0, jnp.arange(3.0), None, jnp.arange(3))
    np.testing.assert_array_equal(got, [2, 3, 4])
    self.assertTrue(np.all(missing))
    np.testing.assert_array_equal(
      batching.over_batch(lambda _, x: 2 * x, mesh)(None, jnp.arange(3)),
      [0, 2, 4],
    )

  @parameterized.parameters(None, 2)
  def test_compiles_once(self, devices):
    traces = []

    def fn(p, x):
      traces.append(x)
      return p * x

    mesh = None if devices is None else _mesh((devices,))
    run = batching.over_batch(fn, mesh)
    run(jnp.ones(()), jnp.arange(3.0))
    count = len(traces)
    run(2 * jnp.ones(()), 1 + jnp.arange(3.0))
    self.assertLen(traces, count)

  def test_rejects(self):
    with self.assertRaisesRegex(ValueError, 'axes of type Auto'):
      batching.over_batch(_drawn, jax.make_mesh((2,), ('data',)))
    run = batching.over_batch(lambda p, x, y: x, _mesh((2,)))
    with self.assertRaisesRegex(ValueError, r'batch of examples \[n, \*x\]'):
      run(1, jnp.ones((3, 2)), jnp.ones(4))
    with self.assertRaisesRegex(ValueError, r'got .*\(0, 2\)'):
      run(1, jnp.ones((0, 2)), jnp.ones(0))
    with self.assertRaisesRegex(ValueError, r'got .*\(\)'):
      run(1, jnp.ones(()), jnp.ones(()))

  def test_fill(self):
    np.testing.assert_array_equal(batching.fill([4, 7], 5), [4, 7, 7, 7, 7])
    np.testing.assert_array_equal(batching.fill(range(3), 3), [0, 1, 2])
    np.testing.assert_array_equal(batching.fill(np.array([2]), 2), [2, 2])
    for rows in ((), range(6)):
      with self.assertRaisesRegex(ValueError, rf'1 to 5 .*got {len(rows)}'):
        batching.fill(rows, 5)


if __name__ == '__main__':
  absltest.main()
