"""Tests for `augmentation.py`."""

from absl.testing import absltest
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import training


class AugmentationTest(absltest.TestCase):
  def test_moves_and_reflects_what_the_loss_sees(self):
    # The loss is the image itself.
    see = lambda apply, params, x, label, key: training.Terms(*[x] * 5)
    move, label = training.crop_and_flip(see, pad=1), jnp.array(0)
    x = jnp.arange(1.0, 13).reshape(3, 4, 1)
    run = jax.jit(
      jax.vmap(lambda key: move(lambda params, x: x, None, x, label, key).loss)
    )
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
    see = lambda apply, params, x, label, key: training.Terms(*[x] * 5)
    move = training.crop_and_flip(see, pad=0)
    x = jnp.arange(6.0).reshape(2, 3, 1)
    seen = {
      move(
        lambda params, x: x, None, x, jnp.array(0), jax.random.key(i)
      ).loss.tobytes()
      for i in range(12)
    }
    self.assertEqual(seen, {x.tobytes(), x[:, ::-1].tobytes()})
    with self.assertRaisesRegex(
      ValueError, r'pad must be a whole number of at least 0, got -1'
    ):
      training.crop_and_flip(see, pad=-1)


if __name__ == '__main__':
  absltest.main()
