"""Tests for `caso.py`."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import scores
from saliency_jax.core import jaxprs
from saliency_jax.core import piecewise_linear
from saliency_jax.optimization import caso
from tests import equivalence

_SIZE = 30
_cafo = equivalence.compiled(caso.cafo)
_caso = equivalence.compiled(caso.caso)


def _logits(activation=jax.nn.relu, classes=6, gain=1.0, dtype=jnp.float64):
  """Returns the logits of a network of two layers, and an example."""
  rng = np.random.default_rng(1)
  shapes = ((40, _SIZE), (classes, 40), (_SIZE,))
  w1, w2, x = (jnp.asarray(rng.standard_normal(s), dtype) for s in shapes)
  return lambda x: gain / 4 * (w2 @ activation(w1 @ x)), x


def _loss(**settings):
  logits_fn, x = _logits(**settings)
  label = jnp.argmax(logits_fn(x))
  return scores.loss(lambda _, x: logits_fn(x), None, label), x


@functools.cache
def _solver(activation=jax.nn.relu, num_steps=24, **settings):
  """Returns the jitted `caso`, to be called with a traced setting, and `x`."""
  fn, x = _loss(activation=activation)
  method = functools.partial(
    caso.caso, fn, x, kappa=1.0, num_steps=num_steps, **settings
  )
  return jax.jit(lambda **traced: method(key=jax.random.key(0), **traced))


def _model(fn, x):
  both = jax.jit(lambda x: (jax.grad(fn)(x), jax.hessian(fn)(x)))
  return tuple(map(np.asarray, both(x)))


def _soft(v, threshold):
  return np.sign(v) * np.maximum(np.abs(v) - threshold, 0)


def _long_solve(g, h, lam1, lam2, num_steps=20000):
  """Proximal descent without momentum, for very long."""
  d, step = np.zeros_like(g), 1 / (2 * lam2 - min(np.linalg.eigvalsh(h)[0], 0))
  for _ in range(num_steps):
    d = _soft(d + step * (g + h @ d - 2 * lam2 * d), step * lam1)
  return d


def _objective(d, g, h, lam1, lam2):
  return g @ d + d @ h @ d / 2 - lam1 * np.abs(d).sum() - lam2 * d @ d


def _cosine(a, b):
  a, b = np.asarray(a), np.asarray(b)
  return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


class CafoTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.05, 0.2)
  def test_closed_form(self, lam1):
    """Oracle 1."""
    with jax.enable_x64(True):
      fn, x = _loss()
      out = _cafo(fn, x, lam1=lam1, kappa=4.0)
      g = np.asarray(jax.jit(jax.grad(fn))(x))
      np.testing.assert_allclose(out.scores, _soft(g, lam1) / 8, atol=1e-15)
      want = _objective(np.asarray(out.scores), g, 0 * np.outer(g, g), lam1, 4)
      np.testing.assert_allclose(out.info.objective, want, rtol=1e-12)
      np.testing.assert_allclose(out.info.gain, g @ out.scores, rtol=1e-12)
      self.assertEqual(out.info.sparsity, np.mean(np.abs(g) <= lam1))
      self.assertEqual((out.info.lam1, out.info.lam2), (lam1, 4))
      # Nothing nearby does better.
      for seed in range(5):
        noise = np.random.default_rng(seed).standard_normal(_SIZE) * 1e-3
        self.assertLess(
          _objective(out.scores + noise, g, 0 * np.outer(g, g), lam1, 4), want
        )

  @parameterized.parameters(0.0, 0.5, 0.75, 0.9)
  def test_sparsity_is_exact(self, sparsity):
    fn, x = _loss(dtype=jnp.float32)
    for value in (sparsity, jnp.array(sparsity)):
      out = _cafo(fn, x, sparsity=value)
      self.assertEqual(
        int(np.sum(out.scores == 0)), math.ceil(sparsity * _SIZE)
      )

  def test_points_uphill(self):
    fn, x = _loss(dtype=jnp.float32)
    out = _cafo(fn, x)
    self.assertGreater(fn(x + 0.01 * out.scores), fn(x))

  def test_equivalence(self):
    equivalence.check(self, caso.cafo, score=scores.loss)

  def test_accepts_pytrees(self):
    fn, x = _loss(dtype=jnp.float32)
    tree_fn = lambda t: fn(jnp.concatenate([t['a'], t['b']]))
    want = _cafo(fn, x).scores
    got = _cafo(tree_fn, {'a': x[:7], 'b': x[7:]}).scores
    np.testing.assert_allclose(got['b'], want[7:], rtol=1e-5)


class CasoTest(parameterized.TestCase):
  @parameterized.parameters(jax.nn.relu, jax.nn.softplus)
  def test_zero_weight_is_solved_exactly(self, activation):
    """Oracle 2: Woodbury's form, conjugate gradients and FISTA agree."""
    with jax.enable_x64(True):
      fn, x = _loss(activation=activation)
      g, h = _model(fn, x)
      top = np.linalg.eigvalsh(h)[-1]
      want = np.linalg.solve((top + 2) * np.eye(_SIZE) - h, g)
      krylov = _solver(activation, lam1=0)()
      fista = _solver(activation, 100)(lam1=0.0)
      for out in (krylov, fista):
        np.testing.assert_allclose(out.info.eigenvalue, top, rtol=1e-6)
        np.testing.assert_allclose(
          out.scores, want, atol=1e-6 * np.abs(want).max()
        )
        self.assertLess(float(out.info.residual), 1e-8)
        self.assertEqual(out.info.lam1, 0)

  def test_residual_of_few_steps_is_what_they_leave(self):
    with jax.enable_x64(True):
      fn, x = _loss()
      g, h = _model(fn, x)
      out = _solver(num_steps=2, lam1=0)()
      shifted = 2 * float(out.info.lam2) * np.eye(_SIZE) - h
      left = np.linalg.norm(shifted @ out.scores - g) / np.linalg.norm(g)
      np.testing.assert_allclose(out.info.residual, left, rtol=1e-8)
      self.assertGreater(left, 1e-6)

  def test_eigenpairs_stand_for_the_products(self):
    """Oracle 2, and FISTA on all of the pairs."""
    with jax.enable_x64(True):
      fn, x = _loss()
      pairs, _ = equivalence.compiled(piecewise_linear.eigenpairs)(
        _logits()[0], x, key=jax.random.key(1), num_pairs=6
      )
      g, h = _model(fn, x)
      top = np.linalg.eigvalsh(h)[-1]
      explain = functools.partial(_caso, fn, x, eigenpairs=pairs, kappa=1.0)
      out = explain(lam1=0)
      want = np.linalg.solve((top + 2) * np.eye(_SIZE) - h, g)
      np.testing.assert_allclose(out.scores, want, rtol=1e-9)
      np.testing.assert_allclose(out.info.eigenvalue, top, rtol=1e-12)
      self.assertLess(out.info.residual, 1e-12)
      got = explain(lam1=0.01, num_steps=100)
      want = _solver(num_steps=100)(lam1=0.01)
      np.testing.assert_allclose(got.scores, want.scores, atol=1e-7)

  @parameterized.product(
    activation=[jax.nn.relu, jax.nn.softplus], share=[0.1, 0.3]
  )
  def test_matches_a_long_solve(self, activation, share):
    """At the default number of steps: objective to 1e-5, zeros exactly."""
    with jax.enable_x64(True):
      fn, x = _loss(activation=activation)
      g, h = _model(fn, x)
      lam1 = float(share * np.abs(g).max())
      out = jax.tree.map(np.asarray, _solver(activation)(lam1=lam1))
    info, d, lam2 = out.info, out.scores, float(out.info.lam2)
    want = _long_solve(g, h, lam1, lam2)
    got = _objective(d, g, h, lam1, lam2)
    np.testing.assert_allclose(
      got, _objective(want, g, h, lam1, lam2), rtol=1e-5
    )
    np.testing.assert_array_equal(d == 0, want == 0)
    self.assertEqual(info.sparsity, np.mean(want == 0))
    self.assertBetween(float(info.sparsity), 0.01, 0.99)
    # And its statements are true.
    np.testing.assert_allclose(info.objective, got, rtol=1e-10)
    np.testing.assert_allclose(info.gain, g @ d + d @ h @ d / 2, rtol=1e-10)
    step = 1 / (2 * lam2 - min(np.linalg.eigvalsh(h)[0], 0))
    ahead = _soft(d + step * (g + h @ d - 2 * lam2 * d), step * lam1)
    miss = np.linalg.norm(ahead - d) / step / np.linalg.norm(g)
    np.testing.assert_allclose(info.residual, miss, rtol=0.1, atol=1e-12)
    top = np.linalg.eigvalsh(h)[-1]
    np.testing.assert_allclose(info.eigenvalue, top, rtol=1e-4)
    self.assertGreaterEqual(info.eigenvalue_bound, top * (1 - 1e-12))
    self.assertLess(info.eigenvalue_bound, 2 * lam2)
    np.testing.assert_allclose(lam2, info.eigenvalue / 2 + 1, rtol=1e-12)

  def test_is_zero_from_the_largest_gradient_on(self):
    with jax.enable_x64(True):
      fn, x = _loss()
      most = float(jnp.max(jnp.abs(jax.grad(fn)(x))))
      for method in (_solver(), jax.jit(functools.partial(caso.cafo, fn, x))):
        # Its gradient is that of another program, and known up to rounding.
        above, below = (method(lam1=most * c) for c in (1 + 1e-12, 0.999))
        np.testing.assert_array_equal(above.scores, 0)
        self.assertEqual(above.info.objective, 0)
        self.assertEqual(np.sum(below.scores != 0), 1)

  @parameterized.parameters(0.4, 0.75, 0.9)
  def test_sparsity_is_exact_and_a_solution(self, sparsity):
    with jax.enable_x64(True):
      out, few = (
        jax.tree.map(np.asarray, _solver(num_steps=n)(sparsity=sparsity))
        for n in (100, 24)
      )
      g, h = _model(*_loss())
    self.assertEqual(int(np.sum(out.scores == 0)), math.ceil(sparsity * _SIZE))
    want = _long_solve(g, h, float(out.info.lam1), float(out.info.lam2))
    np.testing.assert_allclose(out.scores, want, atol=1e-8 * np.abs(want).max())
    # The default takes enough steps.
    self.assertEqual(int(np.sum(few.scores == 0)), math.ceil(sparsity * _SIZE))
    np.testing.assert_allclose(few.info.lam1, out.info.lam1, rtol=1e-4)

  def test_nears_cafo_with_confidence(self):
    """Oracle 4: the cosine goes to 1 as p does, with many classes."""
    with jax.enable_x64(True):
      cosines, confidence = [], []
      for gain in (0.2, 1.0, 3.0):
        fn, x = _loss(classes=100, gain=gain)
        a = jax.jit(functools.partial(caso.caso, fn, x, lam1=0, kappa=0.1))(
          key=jax.random.key(0)
        )
        b = _cafo(fn, x, lam1=0)
        cosines.append(_cosine(a.scores, b.scores))
        confidence.append(float(jnp.exp(-fn(x))))
      self.assertEqual(sorted(confidence), confidence)
      self.assertEqual(sorted(cosines), cosines)
      self.assertLess(confidence[0], 0.3)
      self.assertGreater(confidence[-1], 0.99)
      self.assertLess(cosines[0], 0.99)
      self.assertGreater(cosines[-1], 0.999999)

  def test_weights_may_be_given(self):
    with jax.enable_x64(True):
      g, h = _model(*_loss())
      solve = _solver(num_steps=60, lam1=0.01)
      out = solve(lam2=30.0)
      self.assertEqual((out.info.lam1, out.info.lam2), (0.01, 30))
      want = _long_solve(g, h, 0.01, 30.0)
      np.testing.assert_allclose(out.scores, want, atol=1e-10)
      # Too small a weight: the bound says that nothing is being maximised.
      info = solve(lam2=0.01).info
      self.assertGreater(info.eigenvalue_bound, 2 * info.lam2)

  def test_a_score_without_curvature(self):
    """A logit of a piecewise linear network: CASO is CAFO."""
    fn = lambda x: jnp.sum(jnp.arange(5.0) * x)
    out = _caso(fn, jnp.ones(5), key=jax.random.key(0), lam1=1.5)
    np.testing.assert_allclose(
      out.scores, _soft(np.arange(5.0), 1.5) / 20, rtol=1e-6
    )
    self.assertEqual((out.info.eigenvalue, out.info.eigenvalue_bound), (0, 0))

  def test_paper_settings(self):
    with jax.enable_x64(True):
      fn, x = _loss()
      out = jax.jit(functools.partial(caso.caso, fn, x, **caso.PAPER))(
        key=jax.random.key(0)
      )
      self.assertBetween(float(out.info.sparsity), 0.75, 0.999)
      self.assertLessEqual(int(out.info.steps), 10)

  def test_equivalence(self):
    # Far from solved: residuals at the end are only rounding.
    method = functools.partial(
      caso.caso, eigen_steps=3, num_steps=1, kappa=0.01
    )
    dtypes = equivalence.ALL_DTYPES
    equivalence.check(self, method, score=scores.loss, dtypes=dtypes)

  def test_zero_weight_does_not_depend_on_the_batch(self):
    xs = equivalence.examples(3)
    fn = equivalence.score_fn(score=scores.loss)
    explain = jax.jit(
      lambda x: caso.caso(fn, x, key=jax.random.key(0), lam1=0).scores
    )
    batch = jax.jit(jax.vmap(explain))(xs)
    equivalence.assert_close(batch, jnp.stack([explain(x) for x in xs]))

  def test_nan_shows(self):
    out = _caso(
      lambda x: jnp.sum(x) * jnp.nan, jnp.ones(4), key=jax.random.key(0)
    )
    self.assertTrue(np.all(np.isnan(out.scores)))
    self.assertTrue(np.isnan(out.info.residual))

  def test_products_are_of_the_highest_precision(self):
    jaxpr = jax.make_jaxpr(
      lambda x, key: caso.caso(lambda x: jnp.sum(jnp.tanh(x)), x, key=key)
    )(jnp.ones(4), jax.random.key(0))
    precisions = [
      eqn.params['precision']
      for eqn in jaxprs.equations(jaxpr.jaxpr)
      if eqn.primitive.name == 'dot_general'
    ]
    self.assertNotEmpty(precisions)
    highest = jax.lax.Precision.HIGHEST
    self.assertEqual(set(precisions), {(highest, highest)})

  @parameterized.parameters(
    ({'key': None}, 'pass key='),
    ({'lam1': -1.0}, r'lam1 must be in \[0, inf\), got -1.0'),
    ({'lam2': 0.0}, r'lam2 must be in \(0, inf\), got 0.0'),
    ({'kappa': 0.0}, r'kappa must be in \(0, inf\), got 0.0'),
    ({'sparsity': 1.0}, r'sparsity must be in \[0, 1\), got 1.0'),
    ({'sparsity': -0.5}, r'sparsity must be in \[0, 1\), got -0.5'),
    (
      {'num_steps': 0},
      r'num_steps must be a whole number of at least 1, got 0',
    ),
    (
      {'eigen_steps': 0},
      r'eigen_steps must be a whole number of at least 1, got 0',
    ),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), **settings}
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(caso.caso)(
        lambda x: jnp.sum(x**2), jnp.ones(4), **settings
      )


if __name__ == '__main__':
  absltest.main()
