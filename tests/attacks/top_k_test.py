"""Tests for `top_k.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import attacks
from saliency_jax.attacks import balls
from saliency_jax.attacks import top_k
from saliency_jax.core import types

_D, _RHO = 12, 0.3


def _logits(x, activation=jax.nn.softplus):
  """A small smooth network of two classes."""
  keys = jax.random.split(jax.random.key(4), 2)
  w = jax.random.normal(keys[0], (_D, 16), x.dtype)
  v = jax.random.normal(keys[1], (16, 3), x.dtype)
  return activation(2 * (x - 0.5) @ w) @ v


def _examples(n):
  return jax.random.uniform(jax.random.key(1), (n, _D))


def _attack(x, key, **settings):
  settings = {'rho': _RHO, 'num_restarts': 2, 'num_steps': 6, **settings}
  return attacks.top_k_attack(_logits, x, key=key, **settings)


class ObjectiveTest(parameterized.TestCase):
  def test_top_k_share(self):
    clean = jnp.array([5.0, 1.0, 4.0, 0.0])
    found = jnp.array([1.0, 2.0, 3.0, 4.0])
    self.assertAlmostEqual(float(attacks.top_k_share(found, clean, k=2)), 0.4)
    self.assertAlmostEqual(float(attacks.top_k_share(found, clean)), 0.1)
    zero = attacks.top_k_share(jnp.zeros(4), clean)
    self.assertEqual(zero, 0)

  def test_mass_centre(self):
    clean = jnp.zeros((4, 5, 2)).at[0, 0].set(1.0)
    found = jnp.zeros((4, 5, 2)).at[3, 4].set(2.0)
    self.assertAlmostEqual(
      float(attacks.mass_centre(found, clean)), -5, places=5
    )
    grad = jax.grad(attacks.mass_centre)(clean, clean)
    self.assertTrue(np.isfinite(grad).all())

  def test_target_share(self):
    found = jnp.array([1.0, 3.0])
    target = jnp.array([False, True])
    got = attacks.target_share(found, found, target=target)
    self.assertAlmostEqual(float(got), -0.75)


class AttackTest(parameterized.TestCase):
  @parameterized.product(
    ball=(balls.l2, balls.linf), step=(top_k.decaying_step, top_k.sign_step)
  )
  def test_stays_in_ball_box_and_class(self, ball, step):
    run = jax.jit(
      jax.vmap(functools.partial(_attack, ball=ball, step=step, rho=0.2))
    )
    xs = _examples(6)
    out = run(xs, jax.random.split(jax.random.key(0), 6))
    self.assertTrue(np.all(out.norm <= 0.2 * (1 + 1e-6)))
    self.assertTrue(np.all((out.x >= 0) & (out.x <= 1)))
    np.testing.assert_array_equal(
      jnp.argmax(jax.vmap(_logits)(out.x), 1),
      jnp.argmax(jax.vmap(_logits)(xs), 1),
    )
    self.assertTrue(np.all(np.diff(out.trace) <= 0))
    np.testing.assert_array_equal(out.trace[:, -1], out.objective)

  def test_objective_is_that_of_the_neighbour(self):
    x = _examples(1)[0]
    out = _attack(x, jax.random.key(2))
    label = jnp.argmax(_logits(x))
    of = lambda x: jnp.abs(jax.grad(lambda x: _logits(x)[label])(x))
    np.testing.assert_allclose(
      out.objective, attacks.top_k_share(of(out.x), of(x)), rtol=1e-5
    )
    np.testing.assert_allclose(
      out.clean_objective, attacks.top_k_share(of(x), of(x)), rtol=1e-5
    )
    self.assertLess(out.objective, out.clean_objective)

  def test_finds_the_best_of_a_plane(self):
    # Two entries: the whole disc can be searched.
    logits = lambda x: jnp.stack([x[0] ** 2 / 2 + jnp.sin(2 * x[1]), -9.0])
    share = functools.partial(attacks.top_k_share, k=1)
    x = jnp.array([0.5, 0.4])
    out = attacks.top_k_attack(
      logits,
      x,
      rho=0.2,
      key=jax.random.key(0),
      objective=share,
      box=None,
      num_steps=40,
    )
    a, r = np.meshgrid(np.linspace(0, 2 * np.pi, 721), np.linspace(0, 0.2, 41))
    points = np.asarray(x)[:, None, None] + r * np.stack([np.cos(a), np.sin(a)])
    first, second = np.abs(points[0]), np.abs(2 * np.cos(2 * points[1]))
    least = np.min(second / (first + second))
    np.testing.assert_allclose(out.objective, least, atol=2e-3)

  def test_does_not_depend_on_batch_size(self):
    x = _examples(1)[0]
    want = _attack(x, jax.random.key(5), num_restarts=3)
    for batch_size in (2, None):
      got = _attack(x, jax.random.key(5), num_restarts=3, batch_size=batch_size)
      np.testing.assert_allclose(got.x, want.x, atol=1e-5)

  def test_surrogate_attacks_a_network_without_curvature(self):
    relu = functools.partial(_logits, activation=jax.nn.relu)
    x = _examples(1)[0]
    run = functools.partial(
      attacks.top_k_attack, relu, x, rho=_RHO, key=jax.random.key(0)
    )
    out = run(surrogate=_logits)
    self.assertLess(out.objective, out.clean_objective)
    self.assertEqual(jnp.argmax(relu(out.x)), jnp.argmax(relu(x)))

  def test_a_map_of_steps_is_attacked_along_a_relaxed_one(self):
    # The votes of the larger half: their slope is zero.
    def votes(fn, x, *, key):
      m, info = top_k.magnitude(fn, x, key=key)
      held = (m >= jnp.sort(m)[_D // 2]).astype(m.dtype)
      return types.Attribution(held, info)

    xs, keys = _examples(16), jax.random.split(jax.random.key(0), 16)

    def run(**settings):
      attack = functools.partial(_attack, method=votes, **settings)
      return jax.jit(jax.vmap(attack))(xs, keys)

    out, still = run(relaxed=top_k.magnitude), run()
    gain = np.asarray(still.objective - out.objective)
    self.assertTrue(np.all(gain >= 0))
    self.assertGreater(gain.mean(), 3 * gain.std(ddof=1) / 4)
    # What counts is the map itself: votes are of six entries.
    label = jnp.argmax(_logits(out.x[0]))
    found, clean = (
      votes(lambda x: _logits(x)[label], x, key=None).scores
      for x in (out.x[0], xs[0])
    )
    np.testing.assert_allclose(
      out.objective[0], attacks.top_k_share(found, clean), rtol=1e-5
    )

  def test_beats_random_search_at_equal_cost(self):
    xs = _examples(16)
    keys = jax.random.split(jax.random.key(3), 16)
    ours = jax.jit(jax.vmap(_attack))(xs, keys).objective
    theirs = jax.jit(
      jax.vmap(
        lambda x, key: attacks.random_search(
          _logits, x, rho=_RHO, key=key, num_draws=2 * 6 * 3
        )
      )
    )(xs, keys).objective
    better = np.asarray(theirs - ours)
    error = better.std(ddof=1) / np.sqrt(better.size)
    self.assertGreater(better.mean(), 3 * error)

  def test_without_a_start_the_example_is_returned(self):
    # On the boundary of its class: any step of this size leaves it.
    logits = lambda x: jnp.stack([-100 * jnp.sum(x**2) + 1, 0.0])
    x = jnp.zeros(3)
    out = attacks.top_k_attack(
      logits, x, rho=2.0, key=jax.random.key(0), box=None
    )
    self.assertFalse(out.feasible)
    np.testing.assert_array_equal(out.x, x)
    self.assertTrue(np.all(np.isnan(out.trace)))
    self.assertEqual(out.norm, 0)

  @parameterized.parameters(
    (dict(rho=0), r'rho must be in \(0, inf\), got 0'),
    (
      dict(num_restarts=0),
      r'num_restarts must be a whole number of at least 1, got 0',
    ),
    (
      dict(num_steps=0),
      r'num_steps must be a whole number of at least 1, got 0',
    ),
    (
      dict(num_tries=0),
      r'num_tries must be a whole number of at least 1, got 0',
    ),
    (dict(key=None), 'pass key='),
    (
      dict(objective=functools.partial(attacks.top_k_share, k=13)),
      r'k must be a whole number in \[1, 12\], got 13',
    ),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), **settings}
    with self.assertRaisesRegex(ValueError, message):
      _attack(_examples(1)[0], **settings)

  def test_wants_floats(self):
    for attack in (attacks.top_k_attack, attacks.random_search):
      with self.assertRaisesRegex(ValueError, 'floats, got int32: cast it'):
        attack(_logits, jnp.ones(4, int), rho=_RHO, key=jax.random.key(0))


class RandomSearchTest(parameterized.TestCase):
  def test_takes_the_best_draw_of_the_class(self):
    x = _examples(1)[0]
    out = attacks.random_search(
      _logits, x, rho=_RHO, key=jax.random.key(0), num_draws=9, batch_size=4
    )
    self.assertLessEqual(float(out.norm), _RHO * (1 + 1e-6))
    self.assertEqual(jnp.argmax(_logits(out.x)), jnp.argmax(_logits(x)))
    self.assertEqual(out.trace.shape, (9,))
    self.assertTrue(np.all(np.diff(out.trace) <= 0))
    np.testing.assert_allclose(out.objective, out.trace[-1])


if __name__ == '__main__':
  absltest.main()
