"""Tests for `sparsity_weight.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.optimization import sparsity_weight
from saliency_jax.solvers import proximal


def _problem(g, curve=0.0):
  """`H = curve I`, `2 lam2 = 20`, and a loss that is cubic."""
  g = jnp.asarray(g, jnp.float32)
  return sparsity_weight.Problem(
    fn=lambda d: jnp.vdot(g, d) - jnp.sum(d**3),
    gradient=g,
    product=lambda v: curve * v,
    solve=lambda lam1: proximal.shrink(g, lam1) / (20 - curve),
  )


def _search_loop(g, curve, merit):
  """The paper's search, one solve at a time."""
  g = np.asarray(g, np.float64)
  solve = lambda lam1: (
    np.sign(g) * np.maximum(np.abs(g) - lam1, 0) / (20 - curve)
  )
  lam1, tried = 1e-6, []
  while True:
    d = solve(lam1)
    ratio = np.mean(d == 0)
    if 0.75 <= ratio < 1:
      gain = g @ d + curve * d @ d / 2
      tried.append((gain if merit == 'model' else g @ d - np.sum(d**3), lam1))
    if ratio == 1:
      break
    lam1 *= 10
  if tried:
    return max(tried)[1]
  while not 0.75 <= np.mean(solve(lam1) == 0) < 1:
    lam1 /= 2
  return lam1


_HEAVY = np.r_[np.geomspace(1e-4, 0.8, 30), -2.0]
# All between a tenth and one: no decade leaves some zero and some not.
_EVEN = np.linspace(0.11, 0.6, 40)


class SearchTest(parameterized.TestCase):
  @parameterized.product(
    g=[_HEAVY, 37 * _HEAVY, _EVEN, 0.01 * _EVEN, 5e-3 * _HEAVY],
    curve=[0.0, 15.0],
    merit=['model', 'true'],
  )
  def test_matches_the_paper(self, g, curve, merit):
    merit_fn = {
      'model': sparsity_weight.second_order_gain,
      'true': sparsity_weight.true_gain,
    }[merit]
    got = sparsity_weight.search(_problem(g, curve), merit=merit_fn)
    want = _search_loop(g, curve, merit)
    np.testing.assert_allclose(got, want, rtol=1e-5)

  def test_both_ways_to_choose_are_tried(self):
    decades = [
      np.log10(_search_loop(g, 0.0, 'model')) % 1 for g in (_HEAVY, _EVEN)
    ]
    self.assertLess(min(decades[0], 1 - decades[0]), 1e-6)
    self.assertGreater(min(decades[1], 1 - decades[1]), 1e-2)

  def test_falls_back_on_the_quantile(self):
    """Ties leave no share of zeros between a few and all."""
    g = jnp.ones(20)
    got = sparsity_weight.search(_problem(g))
    self.assertEqual(got, 1)

  @parameterized.parameters(1, 3, None)
  def test_batched(self, batch_size):
    search = functools.partial(sparsity_weight.search, batch_size=batch_size)
    gs = jnp.asarray(np.stack([_HEAVY, 3 * _HEAVY[::-1]]), jnp.float32)
    got = jax.jit(jax.vmap(lambda g: search(_problem(g))))(gs)
    want = [_search_loop(g, 0.0, 'model') for g in gs]
    np.testing.assert_allclose(got, want, rtol=1e-5)

  @parameterized.parameters(
    ({'least': 0.0}, r'least must be in \(0, 1\), got 0.0'),
    ({'first': 0.0}, r'first must be in \(0, inf\), got 0.0'),
    (
      {'num_decades': 0},
      r'num_decades must be a whole number of at least 1, got 0',
    ),
    (
      {'num_halvings': 0},
      r'num_halvings must be a whole number of at least 1, got 0',
    ),
  )
  def test_bad_arguments(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      sparsity_weight.search(_problem(_HEAVY), **settings)


class ShareTest(parameterized.TestCase):
  def test_share_of_zeros(self):
    d = jnp.array([0.0, -0.0, 1e-30, 3.0])
    self.assertEqual(sparsity_weight.share_of_zeros(d), 0.5)


if __name__ == '__main__':
  absltest.main()
