"""Tests for `losses.py`."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import training
from tests.training import problems


class ComputeInTest(absltest.TestCase):
  def test_compute_in(self):
    params, x = problems.params(), problems.example()
    low = training.compute_in(problems.apply, jnp.bfloat16)
    got, want = low(params, x), problems.apply(params, x)
    self.assertEqual(got.dtype, jnp.float32)
    np.testing.assert_allclose(got, want, rtol=0.05, atol=0.05)
    self.assertGreater(jnp.max(jnp.abs(got - want)), 0)
    batch = training.Batch(
      x[None], jnp.zeros(1, jnp.int32), jnp.arange(1), jnp.ones(1)
    )
    sums = jax.jit(training.total(problems.interpretation, low))(
      params, batch, jax.random.key(0)
    )
    for leaf in jax.tree.leaves(sums):
      self.assertEqual(leaf.dtype, jnp.float32)
      self.assertTrue(np.isfinite(leaf).all())
    with self.assertRaisesRegex(ValueError, 'floating dtype, got int32'):
      training.compute_in(problems.apply, jnp.int32)


class PlainTest(absltest.TestCase):
  def test_no_class_is_not_learnt(self):
    params, x = problems.params(), problems.example()

    @jax.jit
    def run(label):
      def loss(params):
        return training.plain(
          problems.apply, params, x, label, jax.random.key(0)
        ).loss

      return jax.value_and_grad(loss)(params)

    z = np.asarray(problems.apply(params, x))
    loss, _ = run(2)
    np.testing.assert_allclose(loss, np.log(np.exp(z - z[2]).sum()), rtol=1e-5)
    for label in (-1, problems.NUM_CLASSES):
      for leaf in jax.tree.leaves(run(label)):
        self.assertTrue(np.all(np.isnan(leaf)))


if __name__ == '__main__':
  absltest.main()
