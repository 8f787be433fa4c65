"""Tests for `line_search.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.solvers import line_search


def _quadratic(w):
  return jnp.sum(jnp.arange(1.0, w.size + 1) * w**2)


def _loop(objective, w, d, steps, slope, project):
  """Backtracking as the papers write it."""
  for step in steps:
    new = project(w - step * d)
    if objective(new) - objective(w) <= -step * slope * np.sum(d**2):
      return new, step
  return w, 0.0


class LineSearchTest(parameterized.TestCase):
  @parameterized.parameters(
    (200.0, 1e-5, 0.2, 12), (1.0, 1.0, 0.5, 1), (8.0, 1.0, 0.5, 4)
  )
  def test_ladder(self, upper, lower, decay, num):
    steps = line_search.ladder(upper, lower, decay)
    self.assertLen(steps, num)
    self.assertEqual(steps[0], upper)
    self.assertEqual(steps[-1], lower)
    if num > 2:
      np.testing.assert_allclose(steps[1:-1] / steps[:-2], decay)

  @parameterized.product(
    upper=[0.1, 10.0], batch_size=[None, 1, 3], slope=[1e-4, 0.6]
  )
  def test_matches_loop(self, upper, batch_size, slope):
    w = jnp.array([1.0, -2.0, 0.5])
    d = jax.grad(_quadratic)(w)
    project = lambda w: jnp.clip(w, -1.5, 1.5)
    got = line_search.backtracking(
      _quadratic,
      w,
      d,
      project=project,
      upper=upper,
      slope=slope,
      batch_size=batch_size,
    )
    steps = line_search.ladder(upper, 1e-5, 0.5)
    want, step = _loop(_quadratic, w, d, steps, slope, project)
    np.testing.assert_allclose(got.value, want, rtol=1e-6)
    np.testing.assert_allclose(got.info.step_size, step, rtol=1e-6)
    np.testing.assert_allclose(got.info.objective, _quadratic(want), rtol=1e-6)
    self.assertTrue(got.info.accepted)

  def test_exact_step_on_a_quadratic(self):
    # F(w - a d) - F(w) = -a (1 - a / 2) |d|^2 on |w|^2 / 2: `a` passes while
    # it is at most 2 (1 - slope).
    half = lambda w: jnp.sum(w**2) / 2
    w = jnp.array([3.0, 4.0])
    search = lambda slope: line_search.backtracking(
      half, w, w, upper=0.8, slope=slope
    )
    self.assertAlmostEqual(search(0.1).info.step_size, 0.8, 6)
    self.assertAlmostEqual(search(0.7).info.step_size, 0.4, 6)

  def test_scale_lengthens_steps_and_not_what_they_must_keep(self):
    # A slope of 2e-4 passes one of 1e-4, however long the steps are.
    fall = lambda w: 2e-4 * jnp.sum(w)
    for scale in (1.0, 125.0):
      out = line_search.backtracking(
        fall, jnp.ones(1), jnp.ones(1), scale=scale, slope=1e-4
      )
      self.assertTrue(out.info.accepted)
      self.assertEqual(out.info.step_size, scale)
      np.testing.assert_allclose(out.value, 1 - scale)

  def test_no_step_uphill(self):
    w = jnp.array([1.0, -2.0])
    uphill = -jax.grad(_quadratic)(w)
    stay = line_search.backtracking(_quadratic, w, uphill)
    np.testing.assert_array_equal(stay.value, w)
    self.assertFalse(stay.info.accepted)
    self.assertEqual(stay.info.step_size, 0)
    self.assertEqual(stay.info.objective, _quadratic(w))
    forced = line_search.backtracking(
      _quadratic, w, uphill, lower=0.01, forced=True
    )
    np.testing.assert_allclose(forced.value, w - 0.01 * uphill)
    self.assertFalse(forced.info.accepted)
    self.assertAlmostEqual(forced.info.step_size, 0.01)
    self.assertGreater(forced.info.objective, _quadratic(w))

  def test_nan_never_passes(self):
    nan_far = lambda w: jnp.where(jnp.any(w < -1), jnp.nan, _quadratic(w))
    w = jnp.array([1.0, 1.0])
    out = line_search.backtracking(nan_far, w, 10 * w, upper=1.0)
    self.assertTrue(jnp.isfinite(out.info.objective))
    self.assertLess(out.info.objective, _quadratic(w))

  def test_vmap_is_loop_and_pytrees_pass(self):
    ws = jax.random.normal(jax.random.key(0), (4, 3))
    objective = lambda p: _quadratic(p['a']) + jnp.sum(p['b'] ** 4)

    def search(w):
      params = {'a': w, 'b': 2 * w}
      return line_search.backtracking(objective, params, params)

    loop = [search(w) for w in ws]
    loop = jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
      jax.jit(jax.vmap(search))(ws),
      loop,
    )

  @parameterized.parameters(
    ({'lower': 0.0}, r'lower must be in \(0, inf\), got 0.0'),
    ({'scale': 0.0}, r'scale must be in \(0, inf\), got 0.0'),
    ({'slope': 2.0}, r'slope must be in \[0, 1\), got 2.0'),
    ({'upper': 1e-6}, r'upper must be in \[1e-05, inf\), got 1e-06'),
    ({'decay': 1.0}, r'decay must be in \(0, 1\), got 1.0'),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      line_search.backtracking(_quadratic, jnp.ones(2), jnp.ones(2), **settings)


if __name__ == '__main__':
  absltest.main()
