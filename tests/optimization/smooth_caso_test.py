"""Tests for `smooth_caso.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import scores
from saliency_jax.core import sampling
from saliency_jax.gradients import smoothgrad
from saliency_jax.optimization import caso
from saliency_jax.optimization import smooth_caso
from saliency_jax.optimization import sparsity_weight
from tests import equivalence

_cafo = equivalence.compiled(caso.cafo)
_caso = equivalence.compiled(caso.caso)
_smooth_cafo = equivalence.compiled(smooth_caso.smooth_cafo)
_smooth_caso = equivalence.compiled(smooth_caso.smooth_caso)
_SMALL = {'num_samples': 6, 'sigma': 0.3}


def _loss():
  """Returns a loss of 12 entries with kinks, and an example."""
  rng = np.random.default_rng(2)
  w1, w2, x = (
    jnp.asarray(rng.standard_normal(s)) for s in ((20, 12), (4, 20), 12)
  )
  logits_fn = lambda _, x: w2 @ jax.nn.relu(w1 @ x) / 3
  return scores.loss(logits_fn, None, 2), x


def _means(fn, x, key):
  """Gradient, Hessian and loss, each neighbour in turn."""

  @jax.jit
  def mean(i):
    draw = sampling.draw_key(jax.random.clone(key), i)
    point = x + 0.3 * sampling.normal(draw, x)
    return jax.grad(fn)(point), jax.hessian(fn)(point), fn(point)

  return map(np.array, zip(*[mean(i) for i in range(6)], strict=True))


class SmoothTest(parameterized.TestCase):
  def test_cafo_matches_loop(self):
    with jax.enable_x64(True):
      (fn, x), key = _loss(), jax.random.key(3)
      out = _smooth_cafo(fn, x, key=key, lam1=0.01, **_SMALL)
      grads, _, losses = _means(fn, x, key)
      want = _cafo(lambda x: jnp.vdot(grads.mean(0), x), x, lam1=0.01)
    np.testing.assert_allclose(out.scores, want.scores, atol=1e-14)
    np.testing.assert_allclose(
      out.info.stderr, grads.std(0, ddof=1) / np.sqrt(6), rtol=1e-10
    )
    np.testing.assert_allclose(out.info.mean_loss, losses.mean(), rtol=1e-12)
    np.testing.assert_allclose(
      out.info.solution.objective, want.info.objective, rtol=1e-12
    )

  @parameterized.parameters(0, 0.02, None)
  def test_caso_matches_loop(self, lam1):
    with jax.enable_x64(True):
      (fn, x), key = _loss(), jax.random.key(3)
      settings = {'lam1': lam1, 'kappa': 1.0, 'num_steps': 60}
      out = _smooth_caso(fn, x, key=key, **settings, **_SMALL)
      grads, hessians, _ = _means(fn, x, key)
      g, h = jnp.asarray(grads.mean(0)), jnp.asarray(hessians.mean(0))
      model = lambda d: g @ d + d @ h @ d / 2
      want = _caso(model, jnp.zeros(12), key=jax.random.key(0), **settings)
      top = np.linalg.eigvalsh(h)[-1]
    np.testing.assert_allclose(out.scores, want.scores, atol=1e-8)
    got = out.info.solution
    np.testing.assert_allclose(got.eigenvalue, top, rtol=1e-8)
    for name in ('objective', 'gain', 'lam1', 'lam2', 'sparsity'):
      np.testing.assert_allclose(
        getattr(got, name), getattr(want.info, name), rtol=1e-7, err_msg=name
      )

  def test_the_true_gain_is_that_of_the_average(self):
    with jax.enable_x64(True):
      (fn, x), key = _loss(), jax.random.key(3)
      seen = []

      def rule(problem):
        d = 0.1 * jnp.ones(12)
        seen.append(sparsity_weight.true_gain(problem, d))
        return jnp.array(0.01)

      smooth_caso.smooth_cafo(fn, x, key=key, lam1=rule, **_SMALL)
      _, _, before = _means(fn, x, key)
      _, _, after = _means(fn, x + 0.1, key)
    np.testing.assert_allclose(seen[0], (after - before).mean(), rtol=1e-10)

  def test_noise_may_depend_on_the_example(self):
    with jax.enable_x64(True):
      fn, x = _loss()
      sigma = 0.3 / float(jnp.max(x) - jnp.min(x))
      of_range = functools.partial(smoothgrad.of_range, fraction=sigma)
      a, b = (
        _smooth_cafo(
          fn, x, key=jax.random.key(1), num_samples=4, sigma=s
        ).scores
        for s in (of_range, 0.3)
      )
    np.testing.assert_allclose(a, b, atol=1e-12)

  def test_equivalence(self):
    small = {'num_samples': 4, 'sigma': 0.1}
    equivalence.check(
      self,
      functools.partial(smooth_caso.smooth_cafo, **small),
      draws=True,
      score=scores.loss,
    )
    equivalence.check(
      self,
      functools.partial(
        smooth_caso.smooth_caso,
        # Far from solved: residuals at the end are only rounding.
        num_steps=1,
        eigen_steps=3,
        kappa=0.01,
        **small,
      ),
      draws=True,
      score=scores.loss,
      batch_sizes=(3,),
      dtypes=(jnp.float32,),
    )

  def test_memory(self):
    # The basis of Lanczos' method, `eigen_steps` examples, is kept besides.
    for method in (
      smooth_caso.smooth_cafo,
      functools.partial(smooth_caso.smooth_caso, eigen_steps=4),
    ):
      method = functools.partial(method, num_samples=128)
      equivalence.check_memory(self, method)

  @parameterized.parameters(
    ({'key': None}, 'pass key='),
    ({'sigma': 0.0}, r'sigma must be in \(0, inf\), got 0.0'),
    (
      {'num_samples': 0},
      r'num_samples must be a whole number of at least 1, got 0',
    ),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), **settings}
    for method in (smooth_caso.smooth_cafo, smooth_caso.smooth_caso):
      with self.assertRaisesRegex(ValueError, message):
        equivalence.traced(method)(
          lambda x: jnp.sum(x**2), jnp.ones(4), **settings
        )


if __name__ == '__main__':
  absltest.main()
