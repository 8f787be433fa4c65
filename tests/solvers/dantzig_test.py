"""Tests for `dantzig.py`."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.sparse as sp

from saliency_jax.solvers import dantzig
from saliency_jax.solvers import flows
from saliency_jax.solvers import grid
from saliency_jax.solvers import total_variation

_solve = jax.jit(dantzig.tv_dantzig, static_argnames='num_steps')


def _random(seed, h, w):
  g = np.cumsum(np.random.default_rng(seed).normal(size=(h, w)), axis=1)
  return jnp.asarray(g, jnp.float32)


def _spectrum(name, h, w):
  lam = grid.exact_eigenvalues(h, w)
  lam[0, 0] = 1
  power = {'paper': 1, 'white': 0, 'smooth': -1}[name]
  return jnp.asarray(0.2 * lam**power, jnp.float32)


def _reach(g, spectrum):
  """The definition, apart from the solver's own."""
  on = grid.operator(*g.shape)
  return float(flows.largest(on.pinv_adjoint(on.filtered(g, spectrum))))


def _dense(f, like):
  """The matrix of a linear map from grids to edges, in float64."""
  with jax.enable_x64(True):
    eye = jnp.eye(like.size, dtype=jnp.float64).reshape(-1, *like.shape)
    columns = jax.vmap(f)(eye)
  return np.concatenate([np.reshape(a, (like.size, -1)) for a in columns], 1).T


def _matrices(g, spectrum):
  """`D`, and `D^{+T} S`, written out."""
  wide = np.asarray(spectrum, np.float64)
  d, on = _dense(grid.difference, g), grid.operator(*g.shape)
  score = _dense(
    lambda u: on.pinv_adjoint(on.filtered(u, jnp.asarray(wide))), g
  )
  return d, score


def _linear_program(g, radius, name):
  """The optimum by HiGHS in float64, sparse, without a cosine.

  In the potential `p = D^+ e` of what the constraint bounds: `M^-1` is the
  Laplacian for white noise, its square for smooth and 1 for the paper's, so
  `u = g + M^-1 p` and `|Dp| <= radius`.
  """
  h, w = g.shape
  one = lambda n: sp.diags([-1.0, 1.0], [0, 1], (n - 1, n))
  d = sp.vstack([sp.kron(one(h), sp.eye(w)), sp.kron(sp.eye(h), one(w))])
  d = d.tocsr()
  unit = float(_spectrum(name, h, w)[-1, -1])
  top = float(grid.exact_eigenvalues(h, w)[-1, -1])
  power = {'paper': 0, 'white': 1, 'smooth': 2}[name]
  # `M` is a power of the Laplacian's inverse times the unit of its last wave.
  wave = unit / top * top**power
  inverse = sp.eye(h * w)
  for _ in range(power):
    inverse = (d.T @ d) @ inverse
  moves = d @ inverse / wave
  b = d @ np.ravel(np.asarray(g, np.float64))
  m, p = d.shape
  eye, none = sp.eye(m), sp.csr_matrix((m, m))
  rows = [[moves, -eye], [-moves, -eye], [d, none], [-d, none]]
  result = scipy.optimize.linprog(
    np.concatenate([np.zeros(p), np.ones(m)]),
    A_ub=sp.vstack([sp.hstack(row) for row in rows]),
    b_ub=np.concatenate([-b, b, np.full(2 * m, radius)]),
    bounds=[(0, 0)] + [(None, None)] * (p - 1) + [(0, None)] * m,
    method='highs-ipm',
  )
  return result.fun


def _appendix(g, radius, spectrum):
  """Appendix A.1: in `alpha = Dg = up - down`, of no curl round any face."""
  d, score = _matrices(g, spectrum)
  m = d.shape[0]
  h, w = g.shape
  y = score @ np.ravel(np.asarray(g, np.float64))
  map_ = score @ np.linalg.pinv(d)
  down = np.arange((h - 1) * w).reshape(h - 1, w)
  right = (h - 1) * w + np.arange(h * (w - 1)).reshape(h, w - 1)
  curl = []
  for i in range(h - 1):
    for j in range(w - 1):
      row = np.zeros(m)
      row[[right[i, j], down[i, j + 1]]] = 1
      row[[right[i + 1, j], down[i, j]]] = -1
      curl.append(row)
  curl = np.asarray(curl)
  result = scipy.optimize.linprog(
    np.ones(2 * m),
    A_ub=np.block([[map_, -map_], [-map_, map_]]),
    b_ub=np.concatenate([y + radius, radius - y]),
    A_eq=np.hstack([curl, -curl]),
    b_eq=np.zeros(len(curl)),
    method='highs',
  )
  return result.fun


class DantzigTest(parameterized.TestCase):
  @parameterized.product(
    name=('white', 'smooth', 'paper'),
    shape=((6, 9), (14, 14), (28, 28)),
    share=(0.05, 0.3),
  )
  def test_matches_linear_program(self, name, shape, share):
    g, spectrum = _random(0, *shape), _spectrum(name, *shape)
    radius = share * _reach(g, spectrum)
    got = _solve(g, radius, spectrum)
    want = _linear_program(g, radius, name)
    np.testing.assert_allclose(got.info.objective, want, rtol=1e-3)
    self.assertTrue(got.info.converged)
    self.assertLessEqual(got.info.relative_gap, 1e-3)
    self.assertEqual(got.info.steps, got.info.steps_to_tolerance)
    self.assertLess(got.info.dual, want * (1 + 2e-5))
    if shape != (6, 9):
      return
    # And what it claims of itself, in float64.
    d, score = _matrices(g, spectrum)
    move = np.ravel(np.asarray(got.value, np.float64) - np.asarray(g))
    self.assertLess(np.max(np.abs(score @ move)), radius + 2e-6)
    np.testing.assert_allclose(
      got.info.objective,
      np.abs(d @ np.ravel(np.asarray(got.value, np.float64))).sum(),
      rtol=1e-5,
    )
    np.testing.assert_allclose(np.mean(got.value), np.mean(g), atol=1e-5)

  @parameterized.parameters('white', 'paper')
  def test_matches_appendix_form(self, name):
    """A second oracle, and for the paper's covariance of `tv_box` too."""
    g, spectrum = _random(1, 6, 9), _spectrum(name, 6, 9)
    radius = 0.2 * _reach(g, spectrum)
    want = _appendix(g, radius, spectrum)
    got = _solve(g, radius, spectrum)
    np.testing.assert_allclose(got.info.objective, want, rtol=1e-3)
    if name == 'paper':
      box = jax.jit(total_variation.tv_box)(g, radius / 0.2)
      np.testing.assert_allclose(box.info.objective, want, rtol=1e-3)

  def test_says_that_it_did_not_converge(self):
    g, spectrum = _random(2, 6, 9), _spectrum('smooth', 6, 9)
    got = _solve(g, 0.1 * _reach(g, spectrum), spectrum, num_steps=8)
    self.assertFalse(got.info.converged)
    self.assertGreater(got.info.relative_gap, 1e-3)
    self.assertEqual(got.info.steps, 8)
    self.assertEqual(got.info.steps_to_tolerance, -1)

  def test_tolerance(self):
    """A smaller one takes more steps, and is met in what remains of digits."""
    with jax.enable_x64(True):
      g = jnp.asarray(_random(2, 6, 9), jnp.float64)
      spectrum = jnp.asarray(_spectrum('smooth', 6, 9), jnp.float64)
      solve = jax.jit(dantzig.tv_dantzig)
      radius = 0.1 * _reach(g, spectrum)
      infos = [
        solve(g, radius, spectrum, tolerance=t).info for t in (1e-2, 1e-7)
      ]
      self.assertTrue(all(info.converged for info in infos))
      self.assertLess(infos[0].steps, infos[1].steps)
      self.assertLess(infos[1].relative_gap, 1e-7)

  def test_largest_radius(self):
    g, spectrum = _random(5, 6, 9), _spectrum('smooth', 6, 9)
    np.testing.assert_allclose(
      dantzig.largest_radius(g, spectrum), _reach(g, spectrum), rtol=1e-5
    )

  def test_weights(self):
    """With the paper's covariance they are those of `tv_box`."""
    g, spectrum = _random(3, 6, 9), _spectrum('paper', 6, 9)
    weights = jax.tree.map(
      lambda e: jnp.abs(e) + 0.1, grid.difference(_random(4, 6, 9))
    )
    got = _solve(g, 0.1, spectrum, weights=weights)
    want = jax.jit(total_variation.tv_box)(g, 0.1 / 0.2, weights=weights)
    self.assertLess(got.info.relative_gap, 1e-3)
    np.testing.assert_allclose(
      got.info.objective, want.info.objective, rtol=1e-3
    )

  def test_extreme_radii(self):
    g, spectrum = _random(5, 6, 9), _spectrum('white', 6, 9)
    wide = _solve(g, 1.001 * _reach(g, spectrum), spectrum)
    self.assertEqual(np.ptp(wide.value), 0)
    self.assertEqual(wide.info.objective, 0)
    self.assertEqual(wide.info.gap, 0)
    none = _solve(g, 0.0, spectrum)
    np.testing.assert_array_equal(none.value, g)

  def test_mean_of_spectrum_has_no_effect(self):
    g, spectrum = _random(6, 6, 9), _spectrum('white', 6, 9)
    a = _solve(g, 0.1, spectrum)
    b = _solve(g, 0.1, spectrum.at[0, 0].set(0))
    np.testing.assert_array_equal(a.value, b.value)

  def test_vmap_matches_loop(self):
    gs = jnp.stack([_random(i, 6, 9) for i in range(3)])
    spectrum = _spectrum('white', 6, 9)
    solve = lambda g: dantzig.tv_dantzig(g, 0.2, spectrum)
    batched = jax.jit(jax.vmap(solve))(gs)
    self.assertTrue(np.all(batched.info.converged))
    for i, g in enumerate(gs):
      want = _solve(g, 0.2, spectrum)
      # Each stops where it would alone, though the batch goes on.
      self.assertEqual(batched.info.steps[i], want.info.steps)
      np.testing.assert_allclose(batched.value[i], want.value, atol=1e-3)
      np.testing.assert_allclose(
        batched.info.objective[i], want.info.objective, rtol=1e-3
      )

  def test_rejects(self):
    g = jnp.ones((4, 4))
    with self.assertRaisesRegex(ValueError, 'spectrum must be positive'):
      dantzig.tv_dantzig(g, 0.1, jnp.zeros((4, 4)))
    with self.assertRaisesRegex(ValueError, 'radius'):
      dantzig.tv_dantzig(g, -0.1, g)

  def test_nan_shows(self):
    g = _random(7, 6, 9)
    for got in (
      _solve(g.at[1, 1].set(jnp.nan), 0.1, _spectrum('white', 6, 9)),
      _solve(g, 0.1, -_spectrum('white', 6, 9)),
    ):
      self.assertTrue(np.all(np.isnan(got.value)))
      self.assertTrue(np.isnan(got.info.gap))


if __name__ == '__main__':
  absltest.main()
