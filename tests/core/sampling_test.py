"""Tests for `sampling.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import sampling

_SIZES = (None, 1, 4, 7, 10, 50)


class SamplingTest(parameterized.TestCase):
  @parameterized.parameters(*_SIZES)
  def test_moments_match_numpy(self, batch_size):
    xs = jax.random.normal(jax.random.key(0), (10, 3)) + 100.0

    def f(x):
      return {'a': x, 'b': jnp.sum(x**2)}

    mean, var = sampling.batched_moments(f, xs, batch_size=batch_size)
    ys = np.asarray(xs, np.float64)
    np.testing.assert_allclose(mean['a'], ys.mean(0), rtol=1e-6)
    np.testing.assert_allclose(var['a'], ys.var(0), rtol=1e-3)
    np.testing.assert_allclose(mean['b'], (ys**2).sum(1).mean(), rtol=1e-6)

  def test_moments_of_nested_outputs_keep_their_structure(self):
    def f(x):
      return (x, (x, {'a': x[0]}))

    mean, _ = sampling.batched_moments(f, jnp.ones((3, 2)), batch_size=2)
    self.assertEqual(
      jax.tree.structure(mean), jax.tree.structure(f(jnp.ones(2)))
    )

  @parameterized.parameters(*_SIZES)
  def test_map_matches_loop(self, batch_size):
    xs = jnp.arange(10.0)
    ys = sampling.batched_map(lambda x: (x, x**2), xs, batch_size=batch_size)
    np.testing.assert_array_equal(ys[0], xs)
    np.testing.assert_array_equal(ys[1], xs**2)

  @parameterized.parameters(sampling.batched_map, sampling.batched_moments)
  def test_traces_the_function_once(self, batched):
    """Whatever is left over does not compile the model a second time."""

    def model_calls(batch_size):
      jaxpr = jax.make_jaxpr(
        lambda xs: batched(jnp.sin, xs, batch_size=batch_size)
      )(jnp.ones(10))
      return str(jaxpr).count(' sin ')

    self.assertEqual(model_calls(3), 1)
    self.assertEqual(model_calls(None), 1)

  def test_batches_are_even(self):
    """101 draws, 8 at a time: 13 batches, of which 3 calls are filling."""
    calls = []

    def f(x):
      jax.debug.callback(lambda a: calls.append(a), x)
      return x

    sampling.batched_moments(f, jnp.arange(101.0), batch_size=8)
    jax.effects_barrier()
    self.assertLen(calls, 104)

  def test_draw_is_the_same_in_every_batch(self):
    key = jax.random.key(3)

    def draw(i):
      return sampling.normal(sampling.draw_key(key, i), jnp.ones((5, 2)))

    loop = np.stack([draw(i) for i in range(6)])
    for batch_size in (1, 4, 6):
      got = sampling.batched_map(draw, jnp.arange(6), batch_size=batch_size)
      np.testing.assert_array_equal(got, loop)
      got = jax.jit(
        lambda i, b=batch_size: sampling.batched_map(draw, i, batch_size=b)
      )(jnp.arange(6))
      # Fused, the inverse error function may round its last bit otherwise.
      np.testing.assert_allclose(got, loop, rtol=1e-5, atol=1e-6)

  def test_places_stay_what_they_are(self):
    """What was published of a method that draws depends on these numbers."""
    got = {
      'baseline': sampling.key_for(jax.random.key(3), sampling.BASELINE),
      'bootstrap': sampling.key_for(jax.random.key(3), sampling.BOOTSTRAP),
      'neighbour': sampling.key_for(jax.random.key(3), sampling.NEIGHBOUR),
      'method': sampling.key_for(jax.random.key(3), sampling.METHOD),
      'network': sampling.key_for(jax.random.key(3), sampling.NETWORK),
      'vectors': sampling.key_for(jax.random.key(3), sampling.EIGENVECTORS, 16),
      'box': sampling.key_for(jax.random.key(3), sampling.INSPECTION + 2, 5),
      'attack': sampling.key_for(jax.random.key(3), sampling.ATTACK, 2),
      'change': sampling.key_for(jax.random.key(3), sampling.AUGMENTATION),
    }
    want = {
      'baseline': 2**32 - 1,
      'bootstrap': 2**32 - 2,
      'neighbour': 2**32 - 3,
      'method': 0,
      'network': 1,
      'vectors': 16,
      'box': 7,
      'attack': 2,
      'change': 2**32 - 8,
    }
    for name, number in want.items():
      np.testing.assert_array_equal(
        jax.random.key_data(got[name]),
        jax.random.key_data(jax.random.fold_in(jax.random.key(3), number)),
        name,
      )

  def test_several_keys_are_not_one(self):
    keys = jax.random.split(jax.random.key(0), 3)
    with self.assertRaisesRegex(ValueError, r'expected one key, got \(3,\)'):
      sampling.draw_key(keys, 0)

  def test_normal_is_standard(self):
    """Mean, variance, kurtosis and correlation of 400,000 draws, |z| < 4."""
    z = np.asarray(sampling.normal(jax.random.key(0), jnp.ones(400_000)))
    n = z.size
    self.assertLess(abs(z.mean()) * np.sqrt(n), 4)
    self.assertLess(abs((z**2).mean() - 1) * np.sqrt(n / 2), 4)
    self.assertLess(abs((z**4).mean() - 3) * np.sqrt(n / 96), 4)
    self.assertLess(abs((z[1:] * z[:-1]).mean()) * np.sqrt(n), 4)
    half = n // 2
    self.assertLess(abs((z[half:] * z[:half]).mean()) * np.sqrt(half), 4)

  def test_normal_follows_the_example(self):
    like = {'a': jnp.ones((2, 3)), 'b': jnp.ones(4, jnp.bfloat16)}
    z = sampling.normal(jax.random.key(0), like)
    self.assertEqual(
      jax.tree.map(lambda a: (a.shape, a.dtype), z),
      jax.tree.map(lambda a: (a.shape, a.dtype), like),
    )

  def test_normal_is_the_same_on_every_mesh(self):
    keys = jax.random.split(jax.random.key(0), 4)
    mesh = jax.make_mesh(
      (2,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
    )

    def draw(keys):
      return jax.vmap(lambda k: sampling.normal(k, jnp.ones(1000)))(keys)

    data = jax.P('data')
    sharded = jax.jit(
      jax.shard_map(
        draw, mesh=mesh, in_specs=data, out_specs=data, check_vma=False
      )
    )(keys)
    np.testing.assert_array_equal(
      sharded, jax.jit(draw)(jax.random.clone(keys))
    )

  @parameterized.parameters(None, 1, 4)
  def test_neighbours_match_a_loop(self, batch_size):
    x = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    f = lambda neighbour, key: neighbour**2 + jax.random.uniform(key)
    mean, variance = sampling.over_neighbours(
      f,
      x,
      key=jax.random.key(3),
      sigma=lambda x: 0.5 * jnp.max(x),
      num_samples=7,
      batch_size=batch_size,
    )
    draws = []
    for i in range(7):
      key = sampling.draw_key(jax.random.key(3), i)
      own = sampling.key_for(key, sampling.NEIGHBOUR)
      draws.append(f(x + 0.5 * sampling.normal(key, x), own))
    np.testing.assert_allclose(mean, np.mean(draws, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, np.var(draws, 0), rtol=1e-4, atol=1e-6)

  def test_neighbours_of_half_precision_are_summed_in_float32(self):
    x = jnp.ones(3, jnp.bfloat16)
    mean, variance = sampling.over_neighbours(
      lambda neighbour, key: neighbour,
      x,
      key=jax.random.key(3),
      sigma=0.1,
      num_samples=3,
    )
    self.assertEqual((mean.dtype, variance.dtype), (jnp.float32,) * 2)

  def test_standard_error_covers(self):
    """z-scores of 2,000 means of 20 normals: standard deviation 1 +- 5%."""
    draws = jax.random.normal(jax.random.key(0), (20, 2000))
    mean, var = sampling.batched_moments(lambda x: x, draws, batch_size=6)
    z = mean / sampling.standard_error(var, 20)
    # Student's t with 19 degrees of freedom.
    self.assertAlmostEqual(float(jnp.std(z)), np.sqrt(19 / 17), delta=0.05)

  def test_one_draw_has_no_standard_error(self):
    self.assertEqual(sampling.standard_error(jnp.zeros(()), 1), np.inf)

  @parameterized.parameters(0, -2)
  def test_rejects_batch_size(self, batch_size):
    with self.assertRaisesRegex(ValueError, f'batch_size .* got {batch_size}'):
      sampling.batched_map(jnp.sin, jnp.ones(3), batch_size=batch_size)

  def test_rejects_keys_that_vmap_changes(self):
    with self.assertRaisesRegex(ValueError, 'rbg'):
      sampling.draw_key(jax.random.key(0, impl='rbg'), 0)
    for key, message in (
      (None, 'draws: pass key='),
      (0, r'got 0: pass key=jax.random.key\('),
      (jax.random.PRNGKey(0), 'got an array of uint32: pass key='),
    ):
      with self.assertRaisesRegex(ValueError, message):
        sampling.draw_key(key, 0)


if __name__ == '__main__':
  absltest.main()
