"""Tests for `ascent.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from saliency_jax import attacks
from saliency_jax.attacks import balls
from saliency_jax.optimization import boxes
from tests import equivalence

_W = jnp.array([1.0, -2.0, 0.5, 3.0])
_X = jnp.array([0.5, 0.4, 0.6, 0.3])


def _linear(x):
  return x @ _W


def _bumps(x):
  """A function with many maxima."""
  return jnp.sum(jnp.sin(5 * x) * jnp.arange(1.0, x.size + 1))


def _sphere_of_two(num):
  angles = np.linspace(0, 2 * np.pi, num)
  return np.stack([np.cos(angles), np.sin(angles)], 1)


class PgdTest(parameterized.TestCase):
  @parameterized.parameters(
    (balls.l2, _W / jnp.linalg.norm(_W)), (balls.linf, jnp.sign(_W))
  )
  def test_best_point_of_a_linear_score(self, ball, direction):
    run = functools.partial(attacks.pgd, _linear, rho=0.2, ball=ball)
    # Short steps hardly move along the sphere from its far side.
    out = jax.jit(functools.partial(run, step_size=0.1))(
      _X, key=jax.random.key(0)
    )
    np.testing.assert_allclose(out.x, _X + 0.2 * direction, atol=1e-3)
    rise = 0.2 * float(_W @ direction)
    np.testing.assert_allclose(out.clean_objective, _linear(_X), rtol=1e-6)
    np.testing.assert_allclose(
      out.objective - out.clean_objective, rise, rtol=1e-4
    )
    np.testing.assert_allclose(out.norm, 0.2, rtol=1e-5)
    self.assertEqual(out.feasible, True)

  def test_reference_loop(self):
    # The best of all points that are visited, steps of 2.5 rho / n.
    key, rho, n = jax.random.key(3), 0.7, 6
    out = attacks.pgd(
      _bumps, _X, rho=rho, key=key, box=None, num_restarts=2, num_steps=n
    )
    x = np.asarray(_X, np.float64)
    value = lambda p: float(np.sum(np.sin(5 * p) * np.arange(1, 5)))
    points, traces = [x], []
    for r in range(2):
      draw = balls.l2.draw(jax.random.fold_in(key, r), _X, rho)
      point, values = x + np.asarray(draw, np.float64), []
      for _ in range(n + 1):
        points.append(point)
        values.append(value(point))
        slope = 5 * np.cos(5 * point) * np.arange(1, 5)
        point = point + 2.5 * rho / n * slope / np.linalg.norm(slope)
        step = point - x
        point = x + step * min(1, rho / np.linalg.norm(step))
      traces.append(np.maximum.accumulate([value(x), *values])[1:])
    best = max(points, key=value)
    np.testing.assert_allclose(out.x, best, atol=1e-4)
    np.testing.assert_allclose(out.objective, value(best), rtol=1e-5)
    np.testing.assert_allclose(out.trace, np.max(traces, 0), rtol=1e-5)

  @parameterized.product(ball=(balls.l2, balls.linf), box=((0, 1), (0.2, 0.55)))
  def test_stays_in_ball_and_box(self, ball, box):
    xs = jnp.clip(equivalence.examples(5, shape=(6,)), *box)
    run = functools.partial(attacks.pgd, _bumps, rho=0.3, ball=ball, box=box)
    run = functools.partial(run, num_restarts=3, num_steps=7)
    keys = jax.random.split(jax.random.key(1), 5)
    out = jax.jit(jax.vmap(lambda x, key: run(x, key=key)))(xs, keys)
    norms = jax.vmap(ball.norm)(out.x - xs)
    self.assertTrue(np.all(norms <= 0.3 * (1 + 1e-5)), norms)
    self.assertTrue(np.all((out.x >= box[0]) & (out.x <= box[1])))
    self.assertTrue(np.all(out.objective > out.clean_objective))
    np.testing.assert_allclose(
      jax.vmap(_bumps)(out.x), out.objective, rtol=1e-5
    )
    self.assertTrue(np.all(np.diff(out.trace) >= 0))
    np.testing.assert_array_equal(out.trace[:, -1], out.objective)
    # In a batch as alone, compiled or not.
    alone = run(xs[2], key=keys[2])
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a[2], b, atol=1e-5), out, alone
    )

  def test_does_not_depend_on_batch_size(self):
    run = functools.partial(
      attacks.pgd, _bumps, _X, rho=0.5, num_restarts=5, num_steps=4
    )
    want = run(key=jax.random.key(2))
    for batch_size in (2, None):
      got = run(key=jax.random.key(2), batch_size=batch_size)
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, want
      )
    jax.tree.map(
      np.testing.assert_array_equal, run(key=jax.random.key(2)), want
    )
    other = run(key=jax.random.key(4))
    self.assertGreater(jnp.max(jnp.abs(other.trace - want.trace)), 0)

  def test_more_restarts_find_the_best_of_a_disc(self):
    x = jnp.array([0.5, 0.4])
    out = attacks.pgd(
      _bumps,
      x,
      rho=1.5,
      key=jax.random.key(0),
      box=None,
      num_restarts=16,
      num_steps=200,
      batch_size=None,
    )
    radii = np.linspace(0, 1.5, 151)[:, None, None]
    points = np.asarray(x) + radii * _sphere_of_two(721)
    values = np.sin(5 * points) @ np.array([1.0, 2.0])
    np.testing.assert_allclose(out.objective, values.max(), rtol=1e-3)

  def test_length_of_steps_may_fall(self):
    # Of three steps, of .3, .2 and .1, from the example.
    schedule = optax.linear_schedule(0.3, 0.0, 3)
    run = functools.partial(attacks.pgd, _linear, _X, rho=5, num_steps=3)
    run = functools.partial(run, box=None, from_example=True)
    out = run(key=jax.random.key(0), step_size=schedule)
    np.testing.assert_allclose(out.norm, 0.6, rtol=1e-5)
    out = run(key=jax.random.key(0), step_size=0.3)
    np.testing.assert_allclose(out.norm, 0.9, rtol=1e-5)

  def test_example_stays_where_nothing_is_better(self):
    out = attacks.pgd(
      lambda x: -jnp.sum((x - _X) ** 2), _X, rho=0.1, key=jax.random.key(0),
      num_steps=1, step_size=1e-3,
    )  # fmt: skip
    np.testing.assert_array_equal(out.x, _X)
    self.assertEqual((out.objective, out.norm), (0, 0))
    flat = attacks.pgd(
      lambda x: 0 * jnp.sum(x), _X, rho=0.1, key=jax.random.key(0)
    )
    np.testing.assert_array_equal(flat.x, _X)

  @parameterized.parameters(jnp.float64, jnp.bfloat16)
  def test_keeps_the_dtype(self, dtype):
    with jax.enable_x64(dtype == jnp.float64):
      x = _X.astype(dtype)
      out = attacks.pgd(
        lambda x: jnp.sum(x * _W.astype(dtype)),
        x,
        rho=0.2,
        key=jax.random.key(0),
      )
      self.assertEqual(out.x.dtype, dtype)
      np.testing.assert_allclose(out.norm, 0.2, rtol=1e-2)

  @parameterized.parameters(
    (dict(rho=0), r'rho must be in \(0, inf\), got 0'),
    (dict(num_steps=0), 'num_steps must be a whole number of at least 1'),
    (dict(num_restarts=0), 'num_restarts must be a whole number of at least 1'),
    (dict(step_size=-1.0), r'step_size must be in \(0, inf\), got -1'),
    (dict(key=None), 'pass key='),
    (dict(fn=lambda x: x), r'expected a score of one number, got \(4,\)'),
    (dict(x=jnp.ones(4, int)), 'floats, got int32: cast it'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'fn': _linear, 'x': _X, 'rho': 0.2, **settings}
    settings = {'key': jax.random.key(0), **settings}
    with self.assertRaisesRegex(ValueError, message):
      attacks.pgd(settings.pop('fn'), settings.pop('x'), **settings)


class InBoxTest(parameterized.TestCase):
  def test_best_corner_of_a_linear_score(self):
    box = boxes.Box(
      jnp.array([0.1, 0.2, 0.3, 0.0]), jnp.array([0.4, 0.5, 0.0, 0.7])
    )
    out = attacks.in_box(_linear, _X, box, key=jax.random.key(0))
    np.testing.assert_allclose(
      out.x, _X + jnp.array([0.4, -0.2, 0, 0.7]), atol=1e-6
    )
    np.testing.assert_allclose(
      out.objective - out.clean_objective, 0.4 + 0.4 + 2.1, rtol=1e-5
    )
    np.testing.assert_allclose(out.norm, 0.7, rtol=1e-6)

  def test_finds_what_the_middle_alone_does_not(self):
    # The slope at the example is zero, and so is the step from there.
    fn = lambda x: jnp.sum((x - _X) ** 2)
    box = boxes.Box(*[jnp.full(4, 0.3)] * 2)
    run = functools.partial(attacks.in_box, fn, _X, box, key=jax.random.key(0))
    self.assertEqual(run(num_restarts=1).objective, 0)
    np.testing.assert_allclose(run(num_restarts=2).objective, 0.36, rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
