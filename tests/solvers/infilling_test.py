"""Tests for `infilling.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import solvers

_WEIGHTS = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12


def _reference(x, known):
  """Solves the equations of the missing pixels, written out one by one."""
  h, w, _ = x.shape
  missing = [(i, j) for i in range(h) for j in range(w) if not known[i, j]]
  place = {pixel: k for k, pixel in enumerate(missing)}
  matrix = np.zeros((len(missing),) * 2)
  right = np.zeros((len(missing), x.shape[2]))
  for (i, j), k in place.items():
    for down in (-1, 0, 1):
      for across in (-1, 0, 1):
        a, b = i + down, j + across
        if not (0 <= a < h and 0 <= b < w):
          continue
        weight = _WEIGHTS[down + 1, across + 1]
        matrix[k, k] += weight
        if known[a, b]:
          right[k] += weight * x[a, b]
        else:
          matrix[k, place[a, b]] -= weight
  filled = np.array(x, np.float64)
  for (i, j), value in zip(
    missing, np.linalg.solve(matrix, right), strict=True
  ):
    filled[i, j] = value
  return filled


def _image(shape, seed=0):
  return np.random.default_rng(seed).uniform(size=shape)


_infill = jax.jit(solvers.infill, static_argnames='num_steps')


class InfillTest(parameterized.TestCase):
  @parameterized.parameters((0.1, 3), (0.6, 1), (0.97, 2))
  def test_solves_the_equations(self, share, channels):
    x = _image((17, 12, channels))
    known = np.random.default_rng(1).uniform(size=x.shape[:2]) > share
    known[3, 4] = True
    with jax.enable_x64():
      found = _infill(jnp.asarray(x), jnp.asarray(known, float), num_steps=40)
      found = jax.device_get(found)
    np.testing.assert_allclose(found.value, _reference(x, known), atol=1e-10)
    self.assertLess(found.info.residual, 1e-10)

  def test_a_large_hole_takes_few_steps(self):
    # All but the border: without coarse grids, 20 steps cross a third of it.
    x = _image((64, 64, 1)).astype(np.float32)
    known = np.zeros((64, 64), np.float32)
    known[[0, -1]] = known[:, [0, -1]] = 1
    rows = np.arange(64, dtype=np.float32)
    x[..., 0] = np.where(known, rows[:, None] / 63 + rows / 126, x[..., 0])
    found = _infill(jnp.asarray(x), jnp.asarray(known))
    # A plane is the mean of its neighbours.
    want = rows[:, None] / 63 + rows / 126
    np.testing.assert_allclose(found.value[..., 0], want, atol=1e-4)
    self.assertLess(found.info.residual, 1e-5)
    # Further steps do no harm.
    more = _infill(jnp.asarray(x), jnp.asarray(known), num_steps=200)
    np.testing.assert_allclose(more.value[..., 0], want, atol=1e-4)

  @parameterized.parameters((1, 6), (6, 1), (2, 2))
  def test_small_images(self, height, width):
    x = _image((height, width, 1)).astype(np.float32)
    known = np.ones((height, width), np.float32)
    known[-1, -1] = 0
    found = _infill(jnp.asarray(x), jnp.asarray(known))
    np.testing.assert_allclose(found.value, _reference(x, known), atol=1e-5)

  def test_nothing_missing_and_nothing_known(self):
    x = jnp.asarray(_image((5, 4, 3)), jnp.float32)
    for value in (0.0, 1.0):
      found = _infill(x, jnp.full((5, 4), value))
      np.testing.assert_array_equal(found.value, value * x)
      self.assertEqual(found.info.residual, 0)

  def test_batch_is_the_loop(self):
    xs = jnp.asarray(_image((2, 9, 8, 3)), jnp.float32)
    known = jnp.asarray(_image((2, 9, 8), 1) > 0.5, jnp.float32)
    got = jax.jit(jax.vmap(solvers.infill))(xs, known)
    for i in range(2):
      want = solvers.infill(xs[i], known[i])
      np.testing.assert_allclose(got.value[i], want.value, atol=1e-6)

  def test_dtypes(self):
    known = jnp.ones((4, 4)).at[1, 1].set(0)
    x = jnp.full((4, 4, 1), 7, jnp.uint8).at[1, 1].set(0)
    found = solvers.infill(x, known)
    self.assertEqual(found.value.dtype, jnp.uint8)
    np.testing.assert_array_equal(found.value, 7)
    half = solvers.infill(x.astype(jnp.bfloat16), known)
    self.assertEqual(half.value.dtype, jnp.bfloat16)
    self.assertEqual(half.info.residual.dtype, jnp.float32)

  def test_bad_arguments(self):
    x = jnp.ones((4, 4, 1))
    with self.assertRaisesRegex(ValueError, 'expected known .4, 4., one a pix'):
      solvers.infill(x, jnp.ones((4, 3)))
    with self.assertRaisesRegex(ValueError, 'num_steps must be'):
      solvers.infill(x, jnp.ones((4, 4)), num_steps=0)


if __name__ == '__main__':
  absltest.main()
