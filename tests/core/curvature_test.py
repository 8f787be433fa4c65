"""Tests for `curvature.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import curvature
from saliency_jax.core import jaxprs
from saliency_jax.core import sampling
from tests import equivalence

_lanczos = equivalence.compiled(curvature.lanczos)
_top_eigenvalue = equivalence.compiled(curvature.top_eigenvalue)


def _symmetric(eigenvalues, seed=0):
  n = len(eigenvalues)
  q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
  return jnp.asarray(q * np.asarray(eigenvalues) @ q.T, jnp.float32)


def _softmax_net(activation, seed=0):
  k1, k2, kx, kv = jax.random.split(jax.random.key(seed), 4)
  w1 = jax.random.normal(k1, (8, 6))
  w2 = jax.random.normal(k2, (5, 8))
  x, v = jax.random.normal(kx, (6,)), jax.random.normal(kv, (6,))
  return lambda x: w2 @ activation(w1 @ x), x, v


def _cross_entropy(logits):
  return -jax.nn.log_softmax(logits)[2]


class ProductsTest(parameterized.TestCase):
  def test_hvp_of_a_quadratic(self):
    a = _symmetric(np.arange(1.0, 7.0))
    v = jnp.arange(6.0)
    got = curvature.hvp(lambda x: 0.5 * x @ a @ x, jnp.ones(6), v)
    np.testing.assert_allclose(got, a @ v, rtol=1e-5, atol=1e-5)

  def test_linearised_product_is_the_same(self):
    logits_fn, x, v = _softmax_net(jnp.tanh)

    def loss(x):
      return _cross_entropy(logits_fn(x))

    @jax.jit
    def linearised(x, v):
      grad, product = curvature.hvp_fn(loss, x)
      return grad, product(v)

    grad, got = linearised(x, v)
    np.testing.assert_allclose(grad, jax.jit(jax.grad(loss))(x), rtol=1e-6)
    want = jax.jit(lambda x, v: curvature.hvp(loss, x, v))(x, v)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    hessian = np.asarray(jax.jit(jax.hessian(loss))(x))
    np.testing.assert_allclose(
      want, hessian @ np.asarray(v), rtol=1e-4, atol=1e-5
    )

  @parameterized.parameters((jax.nn.relu, True), (jax.nn.softplus, False))
  def test_gauss_newton_is_the_hessian_of_relu_networks(self, act, same):
    """Oracle: `W A W' v`, equal on ReLU and different on softplus."""
    with jax.enable_x64(True):
      logits_fn, x, v = jax.tree.map(
        lambda a: a if callable(a) else a.astype(jnp.float64),
        _softmax_net(act),
      )
      loss = lambda x: _cross_entropy(logits_fn(x))
      got, hessian, w, p = jax.tree.map(
        np.asarray,
        jax.jit(
          lambda x, v: (
            curvature.gauss_newton_vp(logits_fn, _cross_entropy, x, v),
            curvature.hvp(loss, x, v),
            jax.jacrev(logits_fn)(x).T,
            jax.nn.softmax(logits_fn(x)),
          )
        )(x, v),
      )
      want = w @ (np.diag(p) - np.outer(p, p)) @ (w.T @ np.asarray(v))
      np.testing.assert_allclose(got, want, rtol=1e-10)
      error = float(np.linalg.norm(hessian - got) / np.linalg.norm(got))
      if same:
        self.assertLess(error, 1e-12)
      else:
        self.assertGreater(error, 1e-2)

  def test_accepts_pytrees(self):
    def fn(x):
      return jnp.sum(x['a'] ** 2) * x['b']

    x = {'a': jnp.ones(3), 'b': jnp.array(2.0)}
    v = {'a': jnp.zeros(3), 'b': jnp.array(1.0)}
    got = curvature.hvp(fn, x, v)
    np.testing.assert_allclose(got['a'], 2 * x['a'])
    self.assertEqual(got['b'], 0)

  def test_rejects_a_direction_of_another_shape(self):
    with self.assertRaisesRegex(ValueError, r'v must be like .*\(3,\)'):
      curvature.hvp(jnp.sum, jnp.ones(3), jnp.ones(4))

  def test_a_function_without_forward_derivative_is_named(self):
    @jax.custom_vjp
    def square(x):
      return x**2

    square.defvjp(lambda x: (square(x), x), lambda x, g: (2 * x * g,))
    fn, x = lambda x: jnp.sum(square(x) ** 2), jnp.ones(3)
    for second in (
      lambda: curvature.hvp(fn, x, x),
      lambda: curvature.hvp_fn(fn, x),
      lambda: jax.eval_shape(lambda x: curvature.hvp_fn(fn, x)[0], x),
      lambda: curvature.gauss_newton_vp(square, jnp.sum, x, x),
    ):
      with self.assertRaisesRegex(ValueError, 'jax.custom_jvp, .*cafo'):
        second()


class LanczosTest(parameterized.TestCase):
  @parameterized.parameters(1, 3)
  def test_finds_the_top_of_a_spectrum(self, num_pairs):
    values = np.r_[np.linspace(0, 1, 37), 5.0, 7.0, 9.0]
    a = _symmetric(values)
    start = jax.random.normal(jax.random.key(0), (40,))
    pairs, info = _lanczos(
      lambda v: a @ v, start, num_steps=20, num_pairs=num_pairs
    )
    np.testing.assert_allclose(
      pairs.values, values[::-1][:num_pairs], rtol=1e-5
    )
    for value, v, residual in zip(*pairs, info.residual, strict=True):
      v = np.asarray(v)
      self.assertAlmostEqual(float(np.linalg.norm(v)), 1, places=5)
      actual = np.linalg.norm(np.asarray(a) @ v - np.asarray(value) * v)
      self.assertLess(abs(float(actual - residual)), 2e-5)

  def test_residual_bounds_the_error_before_it_converges(self):
    a = _symmetric(np.linspace(0, 1, 40))
    pairs, info = _lanczos(lambda v: a @ v, jnp.ones(40), num_steps=4)
    error = np.abs(np.linalg.eigvalsh(a) - float(pairs.values[0])).min()
    self.assertGreater(float(info.residual[0]), 1e-3)
    self.assertLess(error, float(info.residual[0]))

  def test_low_rank_ends_early(self):
    """Steps past the end add nothing, not even a zero above the spectrum."""
    u = jnp.arange(1.0, 11.0) / jnp.linalg.norm(jnp.arange(1.0, 11.0))
    for scale in (3.0, -3.0):
      pairs, info = _lanczos(
        lambda v, scale=scale: scale * u * (u @ v), u, num_steps=6
      )
      self.assertAlmostEqual(float(pairs.values[0]), scale, places=5)
      self.assertEqual(info.num_products, 1)
      self.assertLess(float(info.residual[0]), 1e-5)

  def test_batched_and_jitted(self):
    a = jnp.stack([_symmetric(np.arange(1.0, 9.0) * s) for s in (1, 2)])

    def top(a):
      return curvature.lanczos(lambda v: a @ v, jnp.ones(8), num_steps=8)

    pairs, _ = jax.jit(jax.vmap(top))(a)
    np.testing.assert_allclose(pairs.values[:, 0], [8, 16], rtol=1e-5)

  def test_rejects_too_few_steps(self):
    with self.assertRaisesRegex(ValueError, 'num_steps must be .* got 2'):
      curvature.lanczos(lambda v: v, jnp.ones(4), num_steps=2, num_pairs=3)


_SPECTRA = {
  'one_far': np.r_[np.linspace(0, 1, 59), 10.0],
  'even_and_indefinite': np.linspace(-3, 3, 60),
  'decaying': 50 / np.arange(1, 61) ** 2,
}


class TopEigenvalueTest(parameterized.TestCase):
  @parameterized.product(spectrum=list(_SPECTRA), num_steps=[4, 20])
  def test_bound_holds_as_often_as_it_says(self, spectrum, num_steps):
    values, failure, draws = _SPECTRA[spectrum], 0.1, 200
    with jax.enable_x64(True):
      a = _symmetric(values).astype(jnp.float64)
      keys = jax.random.split(jax.random.key(1), draws)
      (found, _), info = jax.jit(
        jax.vmap(
          lambda key: curvature.top_eigenvalue(
            lambda v: a @ v,
            jnp.ones(60),
            key=key,
            num_steps=num_steps,
            failure=failure,
          )
        )
      )(keys)
    found, info = jax.tree.map(np.asarray, (found, info))
    top = np.linalg.eigvalsh(a)[-1]
    failed = np.mean(info.bound < top * (1 - 1e-12))
    # Four deviations above the stated probability.
    most = failure + 4 * np.sqrt(failure * (1 - failure) / draws)
    self.assertLess(failed, most)
    self.assertLessEqual(np.max(found), top * (1 + 1e-12))
    np.testing.assert_array_less(np.linalg.eigvalsh(a)[0] - 1e-9, info.least)
    if num_steps == 20 and spectrum != 'even_and_indefinite':
      np.testing.assert_allclose(found[:, 0], top, rtol=1e-9)
      np.testing.assert_allclose(info.bound, top, rtol=1e-9)

  def test_bound_is_where_the_polynomials_meet(self):
    """The statement of the docstring, from the parts of a plain Lanczos."""
    a = np.asarray(_symmetric(np.linspace(-1, 2, 30)), np.float64)
    with jax.enable_x64(True):
      key = jax.random.key(3)
      (_, _), info = _top_eigenvalue(
        lambda v: jnp.asarray(a) @ v,
        jnp.ones(30),
        key=key,
        num_steps=5,
        failure=0.01,
      )
      q = np.asarray(
        sampling.normal(
          sampling.draw_key(jax.random.clone(key), 0), jnp.ones(30)
        )
      )
    basis, betas = [q / np.linalg.norm(q)], []
    for _ in range(5):
      w = a @ basis[-1]
      w -= np.array(basis).T @ (np.array(basis) @ w)
      w -= np.array(basis).T @ (np.array(basis) @ w)
      betas.append(np.linalg.norm(w))
      basis.append(w / betas[-1])
    q = np.array(basis[:5]).T
    theta = np.linalg.eigvalsh(q.T @ a @ q)
    left = np.prod(float(info.bound) - theta) * 0.01 * np.sqrt(np.pi / 58)
    np.testing.assert_allclose(left, np.prod(betas), rtol=1e-6)

  def test_an_exhausted_space_is_exact(self):
    rows = jnp.asarray(np.random.default_rng(0).standard_normal((3, 40)))
    rows = rows.astype(jnp.float32)
    (values, vectors), info = _top_eigenvalue(
      lambda v: rows.T @ (rows @ v), jnp.ones(40), key=jax.random.key(0)
    )
    top = np.linalg.eigvalsh(np.asarray(rows.T @ rows, np.float64))[-1]
    np.testing.assert_allclose(values[0], top, rtol=1e-6)
    np.testing.assert_allclose(info.bound, top, rtol=1e-6)
    self.assertBetween(float(info.num_products), 4, 6)
    self.assertAlmostEqual(float(jnp.linalg.norm(vectors[0])), 1, places=5)

  def test_a_residual_does_not_tell_that_a_value_is_the_largest(self):
    a = jnp.diag(jnp.r_[2.0, jnp.zeros(8), 5.0])
    start = jnp.zeros(10).at[0].set(1)
    (values, _), info = _lanczos(lambda v: a @ v, start, num_steps=3)
    self.assertEqual((values[0], info.residual[0]), (2, 0))
    (values, _), _ = _top_eigenvalue(
      lambda v: a @ v, start, key=jax.random.key(0)
    )
    self.assertAlmostEqual(float(values[0]), 5, places=5)

  def test_converges_within_twenty_products(self):
    """A spectrum as steep as those of the networks, to 1e-3."""
    a = _symmetric(300 * 0.7 ** np.arange(200.0))
    run = jax.jit(
      lambda key: curvature.top_eigenvalue(
        lambda v: a @ v, jnp.ones(200), key=key, num_steps=20
      )
    )
    for seed in range(5):
      (values, _), info = run(jax.random.key(seed))
      np.testing.assert_allclose(values[0], 300, rtol=1e-4)
      np.testing.assert_allclose(info.bound, 300, rtol=1e-3)

  def test_one_dimension(self):
    (values, _), info = curvature.top_eigenvalue(
      lambda v: -2 * v, jnp.ones(1), key=jax.random.key(0)
    )
    np.testing.assert_allclose((values[0], info.bound, info.least), -2)

  @parameterized.parameters(
    ({'key': None}, 'pass key='),
    (
      {'num_steps': 0},
      r'num_steps must be a whole number of at least 1, got 0',
    ),
    ({'failure': 0.0}, r'failure must be in \(0, 1\], got 0.0'),
    ({'failure': 1.5}, r'failure must be in \(0, 1\], got 1.5'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), **settings}
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(curvature.top_eigenvalue)(
        lambda v: v, jnp.ones(4), **settings
      )


class ShiftedSolveTest(parameterized.TestCase):
  @parameterized.parameters(3, 8, 60)
  def test_residual_is_that_of_the_solution(self, num_steps):
    with jax.enable_x64(True):
      a = _symmetric(_SPECTRA['decaying']).astype(jnp.float64)
      b = jax.random.normal(jax.random.key(0), (60,))
      y, info = jax.jit(
        lambda b: curvature.shifted_solve(
          lambda v: a @ v, b, 55.0, num_steps=num_steps
        )
      )(b)
      a, b, y = np.asarray(a), np.asarray(b), np.asarray(y)
      left = np.linalg.norm(b - 55 * y + a @ y) / np.linalg.norm(b)
      np.testing.assert_allclose(left, info.residual, rtol=1e-6, atol=1e-14)
      if num_steps == 60:
        want = np.linalg.solve(55 * np.eye(60) - a, b)
        np.testing.assert_allclose(y, want, rtol=1e-10)

  def test_matches_conjugate_gradients(self):
    with jax.enable_x64(True):
      a = _symmetric(_SPECTRA['decaying']).astype(jnp.float64)
      b = jax.random.normal(jax.random.key(0), (60,))
      y, _ = curvature.shifted_solve(lambda v: a @ v, b, 55.0, num_steps=4)
      want, _ = jax.scipy.sparse.linalg.cg(
        lambda v: 55 * v - a @ v, b, tol=0.0, maxiter=4
      )
      np.testing.assert_allclose(y, want, rtol=1e-10)

  def test_pytrees_zero_and_exhausted(self):
    b = {'a': jnp.ones(3), 'b': jnp.array(2.0)}
    product = lambda v: jax.tree.map(lambda a: 3 * a, v)
    y, info = curvature.shifted_solve(product, b, 5.0)
    np.testing.assert_allclose(y['a'], 0.5, rtol=1e-6)
    np.testing.assert_allclose(y['b'], 1, rtol=1e-6)
    self.assertEqual(info.num_products, 1)
    y, info = curvature.shifted_solve(
      product, jax.tree.map(jnp.zeros_like, b), 5
    )
    np.testing.assert_array_equal(y['a'], 0)
    self.assertEqual(info.residual, 0)

  def test_woodbury(self):
    with jax.enable_x64(True):
      q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 3)))
      pairs = curvature.Eigenpairs(jnp.array([4.0, 1.0, 0.0]), jnp.asarray(q.T))
      b = jnp.arange(20.0)
      a = q * np.array([4.0, 1, 0]) @ q.T
      np.testing.assert_allclose(
        curvature.low_rank_product(pairs, b), a @ b, rtol=1e-12
      )
      want = np.linalg.solve(5 * np.eye(20) - a, b)
      np.testing.assert_allclose(
        curvature.woodbury(pairs, b, 5.0), want, rtol=1e-12
      )


class PrecisionTest(parameterized.TestCase):
  @parameterized.parameters(
    lambda f, v: curvature.lanczos(f, v, num_steps=3),
    lambda f, v: curvature.top_eigenvalue(f, v, key=jax.random.key(0)),
    lambda f, v: curvature.shifted_solve(f, v, 2.0),
    lambda f, v: curvature.woodbury(
      curvature.Eigenpairs(jnp.ones(1), v[None]), v, 2.0
    ),
  )
  def test_products_are_of_the_highest_precision(self, solve):
    jaxpr = jax.make_jaxpr(lambda v: solve(lambda v: v, v))(jnp.ones(4))
    precisions = [
      eqn.params['precision']
      for eqn in jaxprs.equations(jaxpr.jaxpr)
      if eqn.primitive.name == 'dot_general'
    ]
    self.assertNotEmpty(precisions)
    highest = jax.lax.Precision.HIGHEST
    self.assertEqual(set(precisions), {(highest, highest)})


if __name__ == '__main__':
  absltest.main()
