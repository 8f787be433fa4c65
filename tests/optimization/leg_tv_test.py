"""Tests for `leg_tv.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import scipy.optimize

from saliency_jax import scores
from saliency_jax.optimization import leg_tv
from saliency_jax.perturbations import leg
from saliency_jax.solvers import grid
from tests import equivalence


def _differences(h, w):
  """`D`, dense: the edges down, then those to the right, row by row."""
  down = np.kron(np.diff(np.eye(h), axis=0), np.eye(w))
  return np.concatenate([down, np.kron(np.eye(h), np.diff(np.eye(w), axis=0))])


def _covariance(covariance, sigma, h, w):
  """`S`, dense."""
  d = _differences(h, w)
  if covariance is leg.white:
    return sigma**2 * np.eye(h * w)
  return sigma**2 * (d.T @ d + np.ones((h * w, h * w)) / (h * w))


def _norm(moment, h, w):
  """`|D^{+T} y|_inf`."""
  return np.abs(np.linalg.pinv(_differences(h, w)).T @ np.ravel(moment)).max()


def _definition(moment, radius, s, h, w):
  """The least `|Dg|_1`, by HiGHS: oracle 9."""
  d = _differences(h, w)
  m, p = d.shape
  map_ = np.linalg.pinv(d).T
  y, a = map_ @ np.ravel(moment), map_ @ s
  none = np.zeros((m, m))
  result = scipy.optimize.linprog(
    np.concatenate([np.zeros(p), np.ones(m)]),
    A_ub=np.block([[d, -np.eye(m)], [-d, -np.eye(m)], [a, none], [-a, none]]),
    b_ub=np.concatenate([np.zeros(2 * m), y + radius, radius - y]),
    bounds=[(0, 0)] + [(None, None)] * (p - 1) + [(0, None)] * m,
    method='highs-ipm',
  )
  return result.fun


def _explain(fn, x, seed=0, **settings):
  """One program: eagerly, every operation is one."""
  run = jax.jit(lambda x, key: leg_tv.leg_tv(fn, x, key=key, **settings))
  return run(x, jax.random.key(seed))


def _blocks(h, w):
  """A map with few edges."""
  g = np.zeros((h, w), np.float32)
  g[1 : h // 2 + 1, 2 : w - 1] = 1
  return g


class LegTvTest(parameterized.TestCase):
  @parameterized.parameters(leg.paper, leg.white)
  def test_solves_the_definition(self, covariance):
    h, w = 6, 5
    fn = equivalence.score_fn(score=scores.prob)
    x = equivalence.examples(1, shape=(12, 10, 3))[0]
    levels = jnp.array([0.0, 0.1, 0.4, 1.0])
    out = _explain(
      fn,
      x,
      level=levels,
      cells=(h, w),
      sigma=0.1,
      num_samples=60,
      covariance=covariance,
      colours=leg.joint,
      draw=leg.gaussian,
    )
    info = out.info
    self.assertEqual(out.scores.shape, (4, 12, 10, 3))
    np.testing.assert_array_equal(
      out.scores, np.asarray(info.grid).repeat(2, 1).repeat(2, 2)
    )
    self.assertEqual(info.leg.num_calls, 61)
    s = _covariance(covariance, 0.1, h, w)
    d = _differences(h, w)
    map_ = np.linalg.pinv(d).T
    for c in range(3):
      moment = np.asarray(info.leg.moment[..., c], np.float64)
      largest = _norm(moment, h, w)
      np.testing.assert_allclose(info.largest[:, c], largest, rtol=1e-4)
      for i, level in enumerate(levels):
        g = np.asarray(info.grid[i, ..., c], np.float64)
        radius = float(level) * largest
        np.testing.assert_allclose(info.radius[i, c], radius, rtol=1e-4)
        off = np.abs(map_ @ (moment.ravel() - s @ g.ravel())).max()
        self.assertLess(off, radius + 1e-4 * largest)
        if 0 < i < 3:
          want = _definition(moment, radius, s, h, w)
          np.testing.assert_allclose(np.abs(d @ g.ravel()).sum(), want, 2e-3)
    self.assertTrue(np.all(info.solver.converged))
    self.assertLessEqual(np.max(info.solver.relative_gap), 1e-3)
    self.assertLess(np.max(np.diff(info.solver.objective, axis=0)), 0)
    # K_L = 0 is the empirical LEG, K_L = 1 a constant; all have its mean.
    scale = np.abs(info.leg.grid).max()
    np.testing.assert_allclose(info.grid[0], info.leg.grid, atol=1e-3 * scale)
    np.testing.assert_array_equal(info.solver.objective[3], np.zeros(3))
    np.testing.assert_array_equal(
      info.grid[3], np.broadcast_to(info.grid[3, 0, 0], (h, w, 3))
    )
    np.testing.assert_array_equal(info.flat[3], np.ones(3))
    np.testing.assert_allclose(
      np.mean(info.grid, (1, 2)),
      np.broadcast_to(np.mean(info.leg.grid, (0, 1)), (4, 3)),
      atol=1e-4 * scale,
    )

  @parameterized.parameters((1, 3), (4, 3), (6, 6), (2, 1), (1, 1))
  def test_papers_covariance_undoes_the_inverse(self, h, w):
    d = _differences(h, w)
    s = _covariance(leg.paper, 0.3, h, w)
    np.testing.assert_allclose(np.linalg.pinv(d).T @ s, 0.09 * d, atol=1e-12)

  def test_theorem(self):
    evidence = leg_tv.Evidence(
      grid.operator(28, 28), jnp.zeros((28, 28, 2)), jnp.zeros(2), 3000
    )
    # |D^+|_1 is 14 there; the figure of .30 is the theorem's at 3000 draws.
    self.assertAlmostEqual(grid.pinv_norm(28, 28), 14)
    paper = np.sqrt(2 * 14 * np.log(784 / 0.05) / 3000)
    np.testing.assert_allclose(leg_tv.paper(evidence), [paper] * 2, rtol=1e-5)
    self.assertAlmostEqual(paper, 0.30, places=2)
    want = 14 * np.sqrt(8 * np.log(2 * 1512 / 0.01) / 3000)
    np.testing.assert_allclose(
      leg_tv.mcdiarmid(evidence, 0.01), [want] * 2, rtol=1e-5
    )

  def test_mcdiarmid_covers_bounded_noise(self):
    # The worst that its proof allows: f in {-1, 1}, z in {-1, 1}.
    h, w, n = 3, 3, 200
    rng = np.random.default_rng(0)
    z = rng.choice([-1.0, 1.0], size=(400, n, 9))
    d = 2 * np.sign(z.sum(-1))
    moments = np.mean(d[..., None] * z, 1)
    map_ = np.linalg.pinv(_differences(h, w)).T
    off = np.abs((moments - moments.mean(0)) @ map_.T).max(-1)
    evidence = leg_tv.Evidence(
      grid.operator(h, w), jnp.zeros((h, w, 1)), jnp.zeros(1), n
    )
    self.assertLess(off.max(), float(leg_tv.mcdiarmid(evidence)[0]))

  def test_bootstrap_covers_at_its_level(self):
    h, w, sigma, n = 6, 6, 0.2, 400
    truth = _blocks(h, w)
    fn = lambda x: jnp.sum(truth[..., None] * x) + jnp.sum(x[:2]) ** 2
    x = jnp.zeros((h, w, 1))
    run = lambda key: (
      leg_tv.leg_tv(
        fn,
        x,
        key=key,
        radius=functools.partial(leg_tv.bootstrap, num_replicates=300),
        level=0.05,
        cells=h,
        sigma=sigma,
        num_samples=n,
        covariance=leg.paper,
        antithetic=False,
        draw=leg.gaussian,
        num_steps=64,
        batch_size=None,
      ).info
    )
    num = 600
    info = jax.jit(lambda keys: jax.lax.map(run, keys, batch_size=100))(
      jax.random.split(jax.random.key(0), num)
    )
    # The LEG of the square at zero is none.
    s = _covariance(leg.paper, sigma, h, w)
    moment = (s @ truth.ravel()).reshape(h, w)
    map_ = np.linalg.pinv(_differences(h, w)).T
    error = np.asarray(info.leg.moment[..., 0]) - moment
    off = np.abs(error.reshape(num, -1) @ map_.T).max(1)
    covered = np.mean(off <= np.asarray(info.radius[:, 0]))
    # Known to .9% from 600 maps.
    self.assertBetween(covered, 0.92, 0.98)
    # A set that says something: no map is constant.
    self.assertLess(np.max(info.radius / info.largest), 0.9)
    self.assertGreater(np.min(np.ptp(info.grid, axis=(1, 2))), 0.05)

  def test_is_nearer_to_a_map_with_few_edges(self):
    h, w = 10, 10
    truth = _blocks(h, w)[..., None]
    run = lambda key: (
      leg_tv.leg_tv(
        lambda x: jnp.sum(truth * x),
        jnp.zeros((h, w, 1)),
        key=key,
        level=0.1,
        cells=h,
        num_samples=200,
        covariance=leg.paper,
        draw=leg.gaussian,
        batch_size=None,
      ).info
    )
    info = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 50))
    wrong = lambda g: np.mean((g - truth[None]) ** 2, axis=(1, 2, 3))
    gain = wrong(info.leg.grid) - wrong(info.grid)
    self.assertGreater(np.mean(gain) / (np.std(gain) / np.sqrt(50)), 4.5)
    self.assertGreater(np.min(info.flat), 0)

  def test_bootstrap_is_the_quantile_of_its_definition(self):
    h, w, n = 3, 4, 10
    terms = np.random.default_rng(0).normal(size=(n, h, w, 2))
    terms = terms.astype(np.float32)
    moment = jnp.asarray(terms.mean(0))
    evidence = leg_tv.Evidence(
      grid.operator(h, w),
      moment,
      jnp.zeros(2),
      n,
      lambda i: jnp.asarray(terms)[i],
    )
    sizes = [
      jax.jit(
        functools.partial(
          leg_tv.bootstrap,
          evidence._replace(batch_size=size, key=jax.random.key(1)),
          num_replicates=4000,
        )
      )(0.1)
      for size in (None, 3)
    ]
    np.testing.assert_allclose(*sizes, rtol=1e-5)
    e = np.random.default_rng(1).normal(size=(20000, n))
    map_ = np.linalg.pinv(_differences(h, w)).T
    off = (terms - terms.mean(0)).reshape(n, h * w, 2)
    sums = np.einsum('bi,ipk,mp->bmk', e / n, off, map_)
    want = np.quantile(np.abs(sums).max(1), 0.9, axis=0)
    # A quantile at .9 of 4000: 2% of the value.
    np.testing.assert_allclose(sizes[0], want, rtol=0.08)

  def test_moment_alone(self):
    fn = equivalence.score_fn(score=scores.prob)
    (x,) = equivalence.examples(1)
    settings = {'sigma': 0.1, 'covariance': leg.paper, 'level': 0.2}
    whole = _explain(fn, x, cells=(4, 3), num_samples=48, **settings)
    total = 24 * whole.info.leg.moment
    part = leg_tv.leg_tv_of_moment(total, 24, **settings)
    equivalence.assert_close(part.info.radius, whole.info.radius, 'radius, ')
    np.testing.assert_allclose(
      part.scores, whole.info.grid, atol=1e-4 * np.abs(part.scores).max()
    )
    self.assertEqual(part.info.leg, ())
    with self.assertRaisesRegex(ValueError, 'needs the terms'):
      leg_tv.leg_tv_of_moment(total, 20, sigma=0.1, radius=leg_tv.bootstrap)
    with self.assertRaisesRegex(
      (ValueError, jaxtyping.TypeCheckError), r'\*cells,? k'
    ):
      leg_tv.leg_tv_of_moment(total[0, 0], 20, sigma=0.1)
    with self.assertRaisesRegex(
      ValueError, r'num_terms must be a whole number of at least 1'
    ):
      leg_tv.leg_tv_of_moment(total, 0, sigma=0.1)

  def test_level_by_held_out_draws(self):
    h, w = 6, 6
    truth = _blocks(h, w)[..., None]
    cells = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1], (h, w, 1)))
    cells = cells.astype(jnp.float32)
    explain = lambda fn, num: _explain(
      fn,
      jnp.zeros((h, w, 1)),
      cells=h,
      level='auto',
      sigma=0.1,
      num_samples=num,
      draw=leg.gaussian,
      batch_size=None,
    )
    # Few draws of few edges want a price on edges.
    out = explain(lambda x: jnp.sum(truth * x), 72)
    choice, info = out.info.choice, out.info
    predicted = np.asarray(choice.predicted)
    self.assertEqual(choice.chosen, np.argmax(predicted))
    self.assertGreater(choice.chosen, 0)
    # A linear score is predicted but for how far its map is off.
    off = np.sum((info.grid - truth) ** 2) / np.sum(truth**2)
    self.assertAlmostEqual(np.max(predicted), 1 - off, delta=0.1)
    off = np.sum((info.leg.grid - truth) ** 2) / np.sum(truth**2)
    # A ratio of two means of squares over 256 draws: four standard errors.
    bound = 4 * np.sqrt((2 + 2) / 256)
    self.assertAlmostEqual(predicted[0], 1 - off, delta=bound * off)
    self.assertEqual(info.leg.num_calls, 1 + 72 + 512)
    np.testing.assert_allclose(
      info.radius, choice.levels[choice.chosen] * info.largest, rtol=1e-5
    )
    self.assertEqual(out.scores.shape, (h, w, 1))
    # Cells at odds, well known, do not.
    out = explain(lambda x: jnp.sum(cells * x), 4000)
    self.assertLessEqual(out.info.choice.chosen, 1)

  def test_sizes_of_channels_are_summed(self):
    (x,) = equivalence.examples(1)
    settings = {'cells': 3, 'num_samples': 6}
    fn = equivalence.score_fn(score=scores.prob)
    whole = _explain(fn, x, **{**leg_tv.PAPER, **settings}).scores
    got = jax.jit(
      lambda x, key: leg_tv.summed_by_size(fn, x, key=key, **settings)
    )(x, jax.random.key(0))
    want = np.sum(np.abs(whole), -1, keepdims=True)
    np.testing.assert_allclose(got.scores, want, rtol=1e-4)

  @parameterized.parameters(leg_tv.PAPER, leg_tv.V1)
  def test_presets(self, **preset):
    (x,) = equivalence.examples(1)
    settings = {**preset, 'cells': 3, 'num_samples': 6}
    out = _explain(equivalence.score_fn(score=scores.prob), x, **settings)
    self.assertEqual(out.scores.shape, x.shape)
    self.assertEqual(out.info.leg.num_calls, 19)
    np.testing.assert_allclose(
      out.info.radius, 0.1 * out.info.largest, rtol=1e-6
    )

  def test_scaled_laplacian_takes_the_fast_solver(self):
    total = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 1)))
    total = total.astype(jnp.float32)

    def solve(covariance, sigma):
      run = functools.partial(
        leg_tv.leg_tv_of_moment, covariance=covariance, sigma=sigma, level=0.2
      )
      return jax.jit(lambda total: run(total, 10))(total).info

    one = solve(leg.paper, 0.2)
    two = solve(lambda lam: 4 * leg.paper(lam), 0.1)
    most = lambda info: info.solver.trace.shape[-1] * 8
    self.assertEqual(most(one), 1000)
    self.assertEqual(one.solver.steps[0], two.solver.steps[0])
    np.testing.assert_allclose(one.radius, two.radius, rtol=1e-5)
    np.testing.assert_allclose(
      one.solver.objective, two.solver.objective, rtol=1e-4
    )
    # Any other gets the same answer of the general solver.
    bent = lambda lam: leg.paper(lam) * (1 + 1e-5 * np.eye(*lam.shape))
    near = solve(bent, 0.2)
    self.assertEqual(most(near), 6000)
    np.testing.assert_allclose(
      one.solver.objective, near.solver.objective, rtol=2e-3
    )

  def test_equivalence(self):
    # Noise large enough that the matrices differ: what is said of errors is a
    # difference of theirs, and rounding is of the size of the map.
    def method(fn, x, *, key=None, batch_size=None):
      out = leg_tv.leg_tv(
        fn,
        x,
        key=key,
        level=0.2,
        cells=(4, 3),
        sigma=1.0,
        num_samples=48,
        covariance=leg.paper,
        batch_size=batch_size,
      )
      # The gap and its like are rounding, once the solver is through.
      solver = out.info.solver
      solver = solver._replace(
        **dict.fromkeys(
          ('gap', 'relative_gap', 'violation', 'trace'), jnp.zeros(1, x.dtype)
        )
      )
      # A ratio to the variance of the map, which is known on the map's scale.
      found = out.info.leg
      size = jnp.sum(found.stderr**2) / jnp.sum(found.grid**2)
      found = found._replace(variance_reduction=found.variance_reduction * size)
      return out._replace(info=out.info._replace(solver=solver, leg=found))

    equivalence.check(
      self, method, draws=True, score=scores.prob, batch_sizes=(3,)
    )

  def test_batch_size_bounds_memory(self):
    method = functools.partial(
      leg_tv.leg_tv,
      cells=8,
      num_samples=256,
      covariance=leg.paper,
      num_steps=8,
    )
    equivalence.check_memory(self, method)

  @parameterized.parameters(
    ({'level': -0.1}, r'level must be in \[0, inf\), got -0.1'),
    (
      {'level': 'auto', 'radius': leg_tv.bootstrap},
      "numbers, or 'auto' for radius=leg_tv.relative, got 'auto'",
    ),
    (
      {'level': -0.1, 'radius': leg_tv.absolute},
      r'level must be in \[0, inf\), got -0.1',
    ),
    ({'level': 0, 'radius': leg_tv.paper}, r'level must be in \(0, 1\], got 0'),
    (
      {'level': 2.0, 'radius': leg_tv.mcdiarmid},
      r'level must be in \(0, 1\], got 2.0',
    ),
    (
      {'radius': functools.partial(leg_tv.bootstrap, num_replicates=0)},
      r'num_replicates must be a whole number of at least 1, got 0',
    ),
    (
      {'radius': lambda evidence, level: jnp.zeros(3)},
      'the result of radius must be like the example',
    ),
    (
      {'num_steps': 0},
      r'num_steps must be a whole number of at least 1, got 0',
    ),
    ({'num_samples': 3}, 'num_samples must be a multiple of 8 .* take 16'),
    ({'key': None}, 'key=jax.random.key'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), 'cells': 2, 'num_samples': 16} | (
      settings
    )
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(leg_tv.leg_tv)(
        jnp.sum, jnp.ones((8, 6, 3)), **settings
      )


if __name__ == '__main__':
  absltest.main()
