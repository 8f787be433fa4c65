"""Tests for `proximal.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import jaxopt
import numpy as np

from saliency_jax.core import jaxprs
from saliency_jax.solvers import proximal
from tests import equivalence


def _quadratic(size=40, top=50.0, dtype=jnp.float64, seed=0):
  """Returns `Q` and `b` of `f(x) = x'Qx / 2 - b'x`, of condition `top`."""
  rng = np.random.default_rng(seed)
  q, _ = np.linalg.qr(rng.standard_normal((size, size)))
  matrix = q * np.geomspace(1, top, size) @ q.T
  return jnp.asarray(matrix, dtype), jnp.asarray(
    rng.standard_normal(size), dtype
  )


def _soft(v, threshold):
  return np.sign(v) * np.maximum(np.abs(v) - threshold, 0)


def _beck_teboulle(q, b, weight, step, num_steps):
  """The paper's loop, with its test on values, and the restart."""
  f = lambda x: x @ q @ x / 2 - b @ x
  x = y = np.zeros_like(b)
  t, taken = 1.0, 0
  for _ in range(num_steps):
    grad = q @ y - b
    new = _soft(y - step * grad, step * weight)
    d = new - y
    if f(new) > f(y) + grad @ d + d @ d / (2 * step) + 1e-13:
      step /= 2
      continue
    taken += 1
    if d @ (new - x) < 0:
      t = 1.0
      inertia, t = 0.0, (1 + np.sqrt(5)) / 2
    else:
      inertia, t = (
        (t - 1) / ((1 + np.sqrt(1 + 4 * t**2)) / 2),
        (1 + np.sqrt(1 + 4 * t**2)) / 2,
      )
    x, y = new, new + inertia * (new - x)
  return x, step, taken


class FistaTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.3, 5.0)
  def test_shrinks_in_closed_form(self, weight):
    b = jnp.linspace(-2, 2, 9)
    x, info = proximal.fista(
      lambda x: x - b, proximal.lasso(weight), jnp.zeros(9), num_steps=2
    )
    np.testing.assert_allclose(x, _soft(b, weight), atol=1e-7)
    self.assertLess(info.residual, 1e-6)
    self.assertEqual(info.steps, 2)

  @parameterized.product(step=[0.02, 1.0], affine=[False, True])
  def test_matches_loop(self, step, affine):
    with jax.enable_x64(True):
      q, b = _quadratic()
      x, info = proximal.fista(
        lambda x: q @ x - b,
        proximal.lasso(0.2),
        jnp.zeros(40),
        step=step,
        num_steps=30,
        affine=affine,
      )
    want, step, taken = _beck_teboulle(
      np.asarray(q), np.asarray(b), 0.2, step, 30
    )
    np.testing.assert_allclose(x, want, atol=1e-12)
    self.assertEqual((float(info.step), int(info.steps)), (step, taken))

  @parameterized.parameters(0.01, 0.2)
  def test_matches_jaxopt(self, weight):
    with jax.enable_x64(True):
      q, b = _quadratic(top=200.0)
      x, info = proximal.fista(
        lambda x: q @ x - b,
        proximal.lasso(weight),
        jnp.zeros(40),
        num_steps=800,
        affine=True,
      )
      with jax.numpy_dtype_promotion('standard'):
        peer = jaxopt.ProximalGradient(
          lambda x: x @ q @ x / 2 - b @ x,
          prox=jaxopt.prox.prox_lasso,
          maxiter=5000,
          tol=1e-10,
          jit=True,
        )
        want = peer.run(jnp.zeros(40), hyperparams_prox=weight).params
    x, want = np.asarray(x), np.asarray(want)
    np.testing.assert_allclose(x, want, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(x == 0, want == 0)
    self.assertLess(float(info.residual), 1e-8)

  def test_residual_is_the_condition_of_optimality(self):
    """At zero residual, minus the gradient is in the subdifferential."""
    with jax.enable_x64(True):
      q, b = _quadratic()
      solve = lambda n: proximal.fista(
        lambda x: q @ x - b, proximal.lasso(0.2), jnp.zeros(40), num_steps=n
      )
      x, info = solve(400)
      grad = q @ x - b
      np.testing.assert_allclose(info.gradient, grad, atol=1e-12)
      np.testing.assert_allclose(
        grad[x != 0], -0.2 * jnp.sign(x[x != 0]), atol=1e-9
      )
      self.assertLess(np.max(np.abs(grad[x == 0])), 0.2)
      self.assertBetween(int(np.sum(x == 0)), 2, 38)
      x, info = solve(5)
      s = info.step
      ahead = _soft(x - s * (q @ x - b), s * 0.2)
      np.testing.assert_allclose(
        info.residual, np.linalg.norm(ahead - x) / s, rtol=1e-10
      )
      self.assertGreater(info.residual, 1e-3)

  @parameterized.parameters(jnp.float32, jnp.float64)
  def test_the_inverse_lipschitz_constant_is_never_refused(self, dtype):
    """Not even at the end, where all that moves is rounding."""
    with jax.enable_x64(dtype == jnp.float64):
      q, b = _quadratic(dtype=dtype)
      _, info = proximal.fista(
        lambda x: q @ x - b,
        proximal.lasso(0.1),
        jnp.zeros(40, dtype),
        step=1 / 50,
        num_steps=500,
        affine=True,
      )
    self.assertEqual(info.steps, 500)
    self.assertEqual(info.trace.dtype, dtype)

  def test_accelerates(self):
    """The residual falls faster than without momentum."""
    with jax.enable_x64(True):
      q, b = _quadratic(top=1000.0)
      _, info = proximal.fista(
        lambda x: q @ x - b,
        proximal.lasso(0.05),
        jnp.zeros(40),
        step=1e-3,
        num_steps=300,
      )
    q, b, x = np.asarray(q), np.asarray(b), np.zeros(40)
    forward = lambda x: _soft(x - 1e-3 * (q @ x - b), 5e-5)
    for _ in range(300):
      x = forward(x)
    ahead = forward(x)
    plain = np.linalg.norm(ahead - x) / 1e-3
    self.assertLess(float(info.residual), 0.01 * plain)

  def test_a_gradient_that_is_not_affine(self):
    with jax.enable_x64(True):
      b = jnp.linspace(-3, 3, 7)
      x, info = proximal.fista(
        jax.grad(lambda x: jnp.sum(jnp.logaddexp(x, -x) - b * x / 4)),
        proximal.lasso(0.25),
        jnp.zeros(7),
        step=64.0,
        num_steps=200,
      )
      np.testing.assert_allclose(x, np.arctanh(_soft(b / 4, 0.25)), atol=1e-9)
      self.assertLess(info.steps, 200)
      self.assertLess(info.step, 64)

  def test_batched_examples_keep_their_own_steps(self):
    matrices, bs = zip(
      *(_quadratic(8, top, jnp.float32) for top in (2.0, 90.0)), strict=True
    )

    def solve(q, b):
      return proximal.fista(
        lambda x: q @ x - b,
        proximal.lasso(0.1),
        jnp.zeros(8),
        num_steps=30,
        affine=True,
      )

    batch = jax.jit(jax.vmap(solve))(jnp.stack(matrices), jnp.stack(bs))
    for i in range(2):
      x, info = solve(matrices[i], bs[i])
      np.testing.assert_allclose(batch.value[i], x, atol=1e-6)
      self.assertEqual(batch.info.step[i], info.step)
    self.assertGreater(batch.info.step[0], 8 * batch.info.step[1])

  def test_pytrees(self):
    b = {'a': jnp.array([2.0, -0.1]), 'b': jnp.array(-3.0)}
    x, info = proximal.fista(
      lambda x: jax.tree.map(jnp.subtract, x, b),
      proximal.lasso(1.0),
      jax.tree.map(jnp.zeros_like, b),
      num_steps=1,
    )
    np.testing.assert_allclose(x['a'], [1, 0])
    np.testing.assert_allclose(x['b'], -2)
    np.testing.assert_allclose(info.gradient['b'], 1)

  @parameterized.parameters(0, 3)
  def test_nan_is_not_taken_for_a_solution(self, when):
    grad = lambda x: jnp.where(jnp.max(x) >= when, jnp.nan, x - 10)
    x, info = proximal.fista(
      grad, proximal.lasso(0.0), jnp.zeros(3), step=0.2, num_steps=5
    )
    self.assertTrue(np.all(np.isnan(x)))
    self.assertTrue(np.isnan(info.residual))

  def test_a_gradient_that_is_known_is_not_called_for(self):
    scale = jnp.array([1.0, 2.0, 4.0])
    calls = []

    def solve(**known):
      calls.clear()

      def grad(x):
        calls.append(x)
        return scale * x - 1

      return proximal.fista(
        grad, proximal.lasso(0.1), jnp.ones(3), step=0.25, **known
      )

    want, num = solve(), len(calls)
    got = solve(start_grad=scale - 1)
    self.assertLen(calls, num - 1)
    jax.tree.map(np.testing.assert_array_equal, got, want)

  @parameterized.parameters(
    (
      {'num_steps': 0},
      r'num_steps must be a whole number of at least 1, got 0',
    ),
    ({'step': 0.0}, r'step must be in \(0, inf\), got 0.0'),
    ({'decay': 1.0}, r'decay must be in \(0, 1\), got 1.0'),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      proximal.fista(lambda x: x, proximal.lasso(1), jnp.ones(2), **settings)

  def test_products_are_of_the_highest_precision(self):
    jaxpr = jax.make_jaxpr(
      lambda x: proximal.fista(lambda x: x, proximal.lasso(1.0), x)
    )(jnp.ones(3))
    precisions = [
      eqn.params['precision']
      for eqn in jaxprs.equations(jaxpr.jaxpr)
      if eqn.primitive.name == 'dot_general'
    ]
    self.assertNotEmpty(precisions)
    highest = jax.lax.Precision.HIGHEST
    self.assertEqual(set(precisions), {(highest, highest)})


class ThresholdTest(parameterized.TestCase):
  @parameterized.product(
    dtype=[jnp.float16, jnp.float32, jnp.float64], count=[0, 1, 30, 60]
  )
  def test_is_an_order_statistic(self, dtype, count):
    equivalence.skip_without(self, dtype)
    with jax.enable_x64(dtype == jnp.float64):
      v = jax.random.normal(jax.random.key(0), (4, 15), jnp.float32)
      v = v.astype(dtype).at[0, :4].set(0)
      got = proximal.least_threshold({'a': v[:2], 'b': v[2:]}, count)
      want = np.sort(np.abs(np.asarray(v)).ravel())
      self.assertEqual(got, np.r_[np.zeros(1, want.dtype), want][count])
      self.assertEqual(got.dtype, dtype)
      traced = jax.jit(proximal.least_threshold)(v, jnp.array(count))
      self.assertEqual(traced, got)

  def test_ties_and_rows(self):
    v = jnp.array([[1.0, -1, 1, 3], [jnp.inf, 0, 0, 2]])
    got = jax.vmap(lambda v: proximal.least_threshold(v, 3))(v)
    np.testing.assert_array_equal(got, [1, 2])

  def test_sparsest_leaves_the_solution_of_a_lasso(self):
    with jax.enable_x64(True):
      q, b = _quadratic()
      solve = lambda prox: proximal.fista(
        lambda x: q @ x - b,
        prox,
        jnp.zeros(40),
        step=1 / 50,
        num_steps=500,
        affine=True,
      )
      x, info = solve(proximal.sparsest(25))
      self.assertEqual(np.sum(x == 0), 25)
      self.assertLess(info.residual, 1e-10)
      ahead = x - info.step * info.gradient
      weight = proximal.least_threshold(ahead, 25) / info.step
      want, _ = solve(proximal.lasso(weight))
      np.testing.assert_allclose(x, want, atol=1e-10)


if __name__ == '__main__':
  absltest.main()
