"""Tests for `piecewise_linear.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.core import curvature
from saliency_jax.core import jaxprs
from saliency_jax.core import piecewise_linear
from tests import equivalence


def _relu6(x):
  return jnp.clip(x, 0, 6)


_eigenpairs = equivalence.compiled(piecewise_linear.eigenpairs)


def _net(activation=jax.nn.relu, *, classes=5, dtype=jnp.float64, gain=1.0):
  """Returns the logits of two layers, and an example of 12 entries."""
  rng = np.random.default_rng(0)
  shapes = ((16, 12), (classes, 16), (12,))
  w1, w2, x = (jnp.asarray(rng.standard_normal(s), dtype) for s in shapes)
  return lambda x: gain / 4 * (w2 @ activation(w1 @ x)), x


def _loss(logits_fn, label):
  return lambda x: -jax.nn.log_softmax(logits_fn(x))[label]


def _relative(a, b):
  a, b = np.asarray(a), np.asarray(b)
  return float(np.linalg.norm(a - b) / np.linalg.norm(b))


class EigenpairsTest(parameterized.TestCase):
  @parameterized.parameters(jax.nn.relu, _relu6)
  def test_is_the_hessian_whatever_the_label(self, activation):
    with jax.enable_x64(True):
      logits_fn, x = _net(activation)
      (values, vectors), info = _eigenpairs(
        logits_fn, x, key=jax.random.key(0), num_pairs=5
      )
      got = (vectors.T * values[None]) @ vectors
      for label in range(5):
        hessian = jax.jit(jax.hessian(_loss(logits_fn, label)))(x)
        self.assertLess(_relative(got, hessian), 1e-12)
      want = np.linalg.eigvalsh(hessian)[::-1]
      np.testing.assert_allclose(info.values[:4], want[:4], rtol=1e-10)
      self.assertEqual(info.rank, 4)  # One less than the classes.
      self.assertTrue(info.is_piecewise_linear)
      self.assertLess(info.departure, 1e-13)
      gram = vectors[:4] @ vectors[:4].T
      np.testing.assert_allclose(gram, np.eye(4), atol=1e-8)

  def test_agrees_with_lanczos(self):
    with jax.enable_x64(True):
      logits_fn, x = _net()
      (values, _), _ = _eigenpairs(
        logits_fn, x, key=jax.random.key(0), num_pairs=3
      )

      @jax.jit
      def lanczos(x):
        _, product = curvature.hvp_fn(_loss(logits_fn, 0), x)
        return curvature.lanczos(
          product, jnp.ones(12), num_steps=10, num_pairs=3
        )

      (want, _), _ = lanczos(x)
      np.testing.assert_allclose(values, want, rtol=1e-9)

  def test_rank_counts_what_differs(self):
    """Classes with the same gradient add nothing."""
    with jax.enable_x64(True):
      logits_fn, x = _net(classes=3)
      double = lambda x: jnp.concatenate([logits_fn(x), logits_fn(x) + 1])
      _, info = _eigenpairs(double, x, key=jax.random.key(0), num_pairs=1)
      self.assertEqual(info.rank, 2)
      self.assertEqual(info.values.shape, (6,))

  def test_float32_keeps_the_digits_of_a_confident_network(self):
    """At `1 - p = 1e-6`, `1 - p` itself would be rounding."""
    with jax.enable_x64(True):
      logits_fn, x = _net(gain=16.0)
      p = jnp.max(jax.nn.softmax(logits_fn(x)))
      self.assertBetween(float(1 - p), 1e-7, 3e-6)
      _, want = _eigenpairs(logits_fn, x, key=jax.random.key(0), num_pairs=1)
    logits_fn, x = _net(gain=16.0, dtype=jnp.float32)
    _, got = _eigenpairs(logits_fn, x, key=jax.random.key(0), num_pairs=1)
    self.assertEqual(got.values.dtype, jnp.float32)
    np.testing.assert_allclose(got.values[:1], want.values[:1], rtol=2e-4)

  @parameterized.parameters(1, 2, 3, None)
  def test_batch_size_does_not_matter(self, batch_size):
    with jax.enable_x64(True):
      logits_fn, x = _net()
      factor = equivalence.compiled(piecewise_linear.factor)
      got = factor(logits_fn, x, batch_size=batch_size)
      w = np.asarray(jax.jit(jax.jacrev(logits_fn))(x)).T
      p = np.asarray(jax.nn.softmax(logits_fn(x)))
      root = np.diag(np.sqrt(p)) - np.outer(p, np.sqrt(p))
      np.testing.assert_allclose(got, (w @ root).T, atol=1e-14)

  def test_batch_size_bounds_memory(self):
    """Beyond the rows themselves there is `batch_size` of the network."""
    shape, classes = (32, 32, 3), 64
    kernel = jnp.ones((3, 3, 3, 32)) / 9
    dense = jax.random.normal(jax.random.key(0), (32, classes))

    def logits_fn(x):
      h = jax.lax.conv_general_dilated(
        x[None],
        kernel,
        (1, 1),
        'SAME',
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      )
      return jnp.mean(jax.nn.relu(h[0]), (0, 1)) @ dense

    def size(batch_size):
      f = functools.partial(
        piecewise_linear.factor, logits_fn, batch_size=batch_size
      )
      return equivalence.temp_bytes(f, jnp.ones(shape))

    self.assertLess(size(4), 0.25 * size(None))

  def test_batched_jitted_and_pytrees(self):
    logits_fn, x = _net(dtype=jnp.float32)
    tree_fn = lambda t: logits_fn(jnp.concatenate([t['a'], t['b']]))
    tree = {'a': x[:5], 'b': x[5:]}
    decompose = functools.partial(_eigenpairs, num_pairs=2)
    key = jax.random.key(0)
    pairs, info = decompose(logits_fn, x, key=key)
    tree_pairs, _ = decompose(tree_fn, tree, key=jax.random.clone(key))
    np.testing.assert_allclose(tree_pairs.values, pairs.values, rtol=1e-5)
    self.assertEqual(tree_pairs.vectors['b'].shape, (2, 7))
    run = jax.jit(jax.vmap(lambda x, key: decompose(logits_fn, x, key=key)[1]))
    batch = run(jnp.stack([2 * x, x]), jax.random.split(jax.random.key(1)))
    np.testing.assert_allclose(batch.values[1], info.values, atol=2e-6)
    self.assertEqual(batch.rank[1], 4)

  @parameterized.parameters(
    ({'num_pairs': 6}, r'num_pairs must be a whole number in \[1, 5\], got 6'),
    ({'num_pairs': 0}, r'num_pairs must be a whole number in \[1, 5\], got 0'),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
    (
      {'num_probes': 0},
      r'num_probes must be a whole number of at least 1, got 0',
    ),
    ({'key': None}, 'pass key='),
  )
  def test_bad_arguments(self, settings, message):
    logits_fn, x = _net(dtype=jnp.float32)
    settings = {'key': jax.random.key(0), 'num_pairs': 2, **settings}
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(piecewise_linear.eigenpairs)(logits_fn, x, **settings)

  def test_refuses_a_score(self):
    with self.assertRaisesRegex(ValueError, r'logits \[k\] .* got \(\)'):
      piecewise_linear.factor(jnp.sum, jnp.ones(3))

  def test_products_are_of_the_highest_precision(self):
    x = jnp.ones(3)
    logits_fn = lambda x: jnp.stack([x[0] + x[1], x[2]])
    jaxpr = jax.make_jaxpr(
      lambda x, key: piecewise_linear.eigenpairs(
        logits_fn, x, key=key, num_pairs=1
      )
    )(x, jax.random.key(0))
    precisions = [
      eqn.params['precision']
      for eqn in jaxprs.equations(jaxpr.jaxpr)
      if eqn.primitive.name == 'dot_general'
    ]
    self.assertNotEmpty(precisions)
    highest = jax.lax.Precision.HIGHEST
    self.assertEqual(set(precisions), {(highest, highest)})


class DepartureTest(parameterized.TestCase):
  @parameterized.parameters(
    (jax.nn.relu, True),
    (_relu6, True),
    (jnp.abs, True),
    (jax.nn.softplus, False),
    (jax.nn.sigmoid, False),
    (jax.nn.silu, False),
  )
  def test_tells_piecewise_linear_from_smooth(self, activation, linear):
    for dtype in (jnp.float32, jnp.float64):
      with jax.enable_x64(dtype == jnp.float64):
        logits_fn, x = _net(activation, dtype=dtype)
        _, info = _eigenpairs(logits_fn, x, key=jax.random.key(0), num_pairs=1)
      self.assertEqual(bool(info.is_piecewise_linear), linear)
      if linear:
        self.assertLess(float(info.departure), 50 * np.finfo(dtype).eps)
      else:
        self.assertGreater(float(info.departure), 1e-2)

  def test_is_the_ratio_of_the_matrices(self):
    with jax.enable_x64(True):
      logits_fn, x = _net(jax.nn.softplus)
      rows = equivalence.compiled(piecewise_linear.factor)(logits_fn, x)
      gauss_newton = rows.T @ rows
      for label in (0, 3):
        hessian = jax.jit(jax.hessian(_loss(logits_fn, label)))(x)
        want = _relative(hessian, gauss_newton)
        got = jax.jit(
          lambda x, label=label: piecewise_linear.departure(
            logits_fn, x, key=jax.random.key(1), label=label, num_probes=2000
          )
        )(x)
        # The spread of a ratio of squares of 2000 directions.
        np.testing.assert_allclose(got, want, rtol=0.1)

  def test_linear_logits_of_one_class_are_no_trouble(self):
    got = equivalence.compiled(piecewise_linear.departure)(
      lambda x: jnp.sum(x, keepdims=True), jnp.ones(3), key=jax.random.key(0)
    )
    self.assertEqual(got, 0)


if __name__ == '__main__':
  absltest.main()
