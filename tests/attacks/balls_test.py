"""Tests for `balls.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.attacks import balls


class BallTest(parameterized.TestCase):
  @parameterized.parameters('l2', 'linf')
  def test_ball(self, name):
    ball = getattr(balls, name)
    order = {'l2': 2, 'linf': np.inf}[name]
    like = jnp.zeros((3, 4))
    step = ball.draw(jax.random.key(0), like, 0.5)
    norm = np.linalg.norm(np.ravel(step), order)
    np.testing.assert_allclose(norm, 0.5, rtol=1e-6)
    np.testing.assert_allclose(ball.norm(step), norm, rtol=1e-6)
    np.testing.assert_array_equal(ball.project(step, 0.6), step)
    near = ball.project(step, 0.1)
    np.testing.assert_allclose(ball.norm(near), 0.1, rtol=1e-6)
    np.testing.assert_array_equal(ball.project(like, 0.1), like)

  @parameterized.parameters(('l2', [0.6, -0.8, 0]), ('linf', [1.0, -1.0, 0.0]))
  def test_steepest(self, name, want):
    ball = getattr(balls, name)
    for scale in (1.0, 1e-25):
      got = ball.steepest(scale * jnp.array([3.0, -4.0, 0.0]))
      np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_array_equal(ball.steepest(jnp.zeros(2)), 0)

  def test_projection_is_the_nearest_point(self):
    step = jnp.array([3.0, -4.0])
    np.testing.assert_allclose(
      balls.l2.project(step, 2.5), [1.5, -2], rtol=1e-6
    )
    np.testing.assert_allclose(balls.linf.project(step, 3.5), [3, -3.5])


if __name__ == '__main__':
  absltest.main()
