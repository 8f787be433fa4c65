"""Tests for `augmentation.py`."""

import functools

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import training
from tests.training import problems


class CropTest(absltest.TestCase):
  def test_moves_and_reflects(self):
    x = jnp.arange(1.0, 13).reshape(3, 4, 1)
    move = functools.partial(training.crop_and_flip, x, pad=1)
    run = jax.jit(jax.vmap(move))
    seen = np.asarray(run(jax.random.split(jax.random.key(0), 200)))
    padded = np.pad(np.asarray(x), ((1, 1), (1, 1), (0, 0)))
    crops = [
      flipped[i : i + 3, j : j + 4]
      for flipped in (padded, padded[:, ::-1])
      for i in range(3)
      for j in range(3)
    ]
    counts = [sum(np.array_equal(s, c) for s in seen) for c in crops]
    self.assertEqual(sum(counts), 200)
    # 200 / 18 each; z = 3.5 of the binomial.
    self.assertBetween(min(counts), 1, 11)
    self.assertLess(max(counts), 200 / 18 + 3.5 * np.sqrt(200 / 18))

  def test_without_room_only_reflects(self):
    x = jnp.arange(6.0).reshape(2, 3, 1)
    seen = {
      training.crop_and_flip(x, jax.random.key(i), pad=0).tobytes()
      for i in range(12)
    }
    self.assertEqual(seen, {x.tobytes(), x[:, ::-1].tobytes()})
    with self.assertRaisesRegex(
      ValueError, r'pad must be a whole number of at least 0, got -1'
    ):
      training.crop_and_flip(x, jax.random.key(0), pad=-1)


class NoiseTest(absltest.TestCase):
  def test_deviation(self):
    x = jnp.full(40_000, 0.5)
    noise = training.add_noise(x, jax.random.key(0), sigma=0.3) - x
    # z = 4 of the deviation and of the mean.
    self.assertLess(abs(noise.std() / 0.3 - 1), 4 / np.sqrt(80_000))
    self.assertLess(abs(noise.mean()), 4 * 0.3 / 200)
    with self.assertRaisesRegex(ValueError, r'sigma must be in \[0, inf\)'):
      training.add_noise(x, jax.random.key(0), sigma=-1)


class AugmentedStepTest(absltest.TestCase):
  def test_loss_sees_the_changed_example_and_its_own_key(self):
    xs = jax.random.uniform(jax.random.key(5), (4, problems.SIZE))
    batch = training.Batch(
      xs, jnp.array([0, 1, 2, 0]), jnp.arange(4), jnp.ones(4)
    )
    noise = functools.partial(training.add_noise, sigma=0.5)
    params, key = problems.params(), jax.random.key(8)
    run = functools.partial(training.total, training.plain, problems.apply)
    got = jax.jit(run(augment=noise))(params, batch, key)
    want = 0
    for i in range(4):
      own = jax.random.fold_in(key, i)
      x = noise(xs[i], jax.random.fold_in(own, 2**32 - 8))
      want += training.plain(
        problems.apply, params, x, batch.label[i], own
      ).loss
    np.testing.assert_allclose(got.terms.loss, want, rtol=1e-5)
    self.assertNotAlmostEqual(
      float(run()(params, batch, key).terms.loss), float(want), places=2
    )


if __name__ == '__main__':
  absltest.main()
