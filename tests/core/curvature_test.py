"""Tests for `curvature.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import curvature
from saliency_jax.core import jaxprs


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

    grad, product = curvature.hvp_fn(loss, x)
    np.testing.assert_allclose(grad, jax.grad(loss)(x), rtol=1e-6)
    want = curvature.hvp(loss, x, v)
    np.testing.assert_allclose(product(v), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
      want, jax.hessian(loss)(x) @ v, rtol=1e-4, atol=1e-5
    )

  @parameterized.parameters((jax.nn.relu, True), (jax.nn.softplus, False))
  def test_gauss_newton_is_the_hessian_of_relu_networks(self, act, same):
    """Oracle: `W A W' v`, equal on ReLU and different on softplus."""
    with jax.enable_x64(True):
      logits_fn, x, v = jax.tree.map(
        lambda a: a if callable(a) else a.astype(jnp.float64),
        _softmax_net(act),
      )
      got = curvature.gauss_newton_vp(logits_fn, _cross_entropy, x, v)
      w = jax.jacrev(logits_fn)(x).T
      p = jax.nn.softmax(logits_fn(x))
      want = w @ (jnp.diag(p) - jnp.outer(p, p)) @ (w.T @ v)
      np.testing.assert_allclose(got, want, rtol=1e-10)
      hessian = curvature.hvp(lambda x: _cross_entropy(logits_fn(x)), x, v)
      error = float(jnp.linalg.norm(hessian - got) / jnp.linalg.norm(got))
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


class LanczosTest(parameterized.TestCase):
  @parameterized.parameters(1, 3)
  def test_finds_the_top_of_a_spectrum(self, num_pairs):
    values = np.r_[np.linspace(0, 1, 37), 5.0, 7.0, 9.0]
    a = _symmetric(values)
    start = jax.random.normal(jax.random.key(0), (40,))
    pairs, info = curvature.lanczos(
      lambda v: a @ v, start, num_steps=20, num_pairs=num_pairs
    )
    np.testing.assert_allclose(
      pairs.values, values[::-1][:num_pairs], rtol=1e-5
    )
    for value, v, residual in zip(*pairs, info.residual, strict=True):
      self.assertAlmostEqual(float(jnp.linalg.norm(v)), 1, places=5)
      actual = jnp.linalg.norm(a @ v - value * v)
      self.assertLess(abs(float(actual - residual)), 2e-5)

  def test_residual_bounds_the_error_before_it_converges(self):
    a = _symmetric(np.linspace(0, 1, 40))
    pairs, info = curvature.lanczos(lambda v: a @ v, jnp.ones(40), num_steps=4)
    error = np.abs(np.linalg.eigvalsh(a) - float(pairs.values[0])).min()
    self.assertGreater(float(info.residual[0]), 1e-3)
    self.assertLess(error, float(info.residual[0]))

  def test_low_rank_ends_early(self):
    """Steps past the end add nothing, not even a zero above the spectrum."""
    u = jnp.arange(1.0, 11.0) / jnp.linalg.norm(jnp.arange(1.0, 11.0))
    for scale in (3.0, -3.0):
      pairs, info = curvature.lanczos(
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

  def test_products_are_of_the_highest_precision(self):
    jaxpr = jax.make_jaxpr(
      lambda s: curvature.lanczos(lambda v: v, s, num_steps=3)
    )(jnp.ones(4))
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
