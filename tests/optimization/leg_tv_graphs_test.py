"""Tests for `leg_tv.py` on what is no grid of pixels."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from saliency_jax import maskers
from saliency_jax.core import graphs
from saliency_jax.optimization import leg_tv
from saliency_jax.perturbations import leg

_LABELS = np.random.default_rng(3).integers(0, 12, (7, 8))
_CUBES = functools.partial(maskers.grid, cells=3, axes=(0, 1, 2))
# An example, its masker, the edges that are given, and those that are meant.
_CASES = {
  'series': ((20, 2), maskers.steps, None, graphs.chain(20)),
  'volume': ((6, 6, 3), _CUBES, None, graphs.grid((3, 3, 3))),
  'superpixels': (
    (7, 8, 1),
    functools.partial(maskers.segments, labels=_LABELS),
    graphs.of_segments(_LABELS),
    graphs.of_segments(_LABELS),
  ),
  # Two pieces, one of them a column alone.
  'table': ((6,), maskers.entries, [[0, 1], [1, 2], [4, 3], [2, 0]], None),
}


def _score(shape):
  a, b = jnp.asarray(np.random.default_rng(0).normal(size=(2, *shape)))
  a, b = a.astype(jnp.float32), b.astype(jnp.float32)
  return lambda x: jnp.tanh(jnp.sum(a * x)) + jnp.sin(jnp.sum(b * x))


def _example(shape):
  x = np.random.default_rng(1).uniform(size=shape)
  return jnp.asarray(x, jnp.float32)


def _differences(graph, num):
  d = np.zeros((len(graph), num))
  for row, (i, j) in enumerate(graph):
    d[row, [i, j]] = -1, 1
  return d


def _least(d, moment, radius, s):
  """The least `|Dg|_1` of the definition, by HiGHS: oracle 9."""
  m, p = d.shape
  map_ = np.linalg.pinv(d).T
  y, a = map_ @ moment, map_ @ s
  none = np.zeros((m, m))
  return scipy.optimize.linprog(
    np.concatenate([np.zeros(p), np.ones(m)]),
    A_ub=np.block([[d, -np.eye(m)], [-d, -np.eye(m)], [a, none], [-a, none]]),
    b_ub=np.concatenate([np.zeros(2 * m), y + radius, radius - y]),
    bounds=[(None, None)] * p + [(0, None)] * m,
    method='highs-ipm',
  ).fun


class LegTvGraphsTest(parameterized.TestCase):
  @parameterized.product(case=tuple(_CASES), covariance=(leg.paper, leg.white))
  def test_solves_the_definition(self, case, covariance):
    shape, masker, edges, meant = _CASES[case]
    fn, x, levels = _score(shape), _example(shape), jnp.array([0.1, 0.3])
    out = jax.jit(
      lambda x, key: leg_tv.leg_tv(
        fn,
        x,
        key=key,
        level=levels,
        masker=masker,
        edges=edges,
        sigma=0.2,
        num_samples=60,
        covariance=covariance,
        draw=leg.gaussian,
      )
    )(x, jax.random.key(0))
    players, info = masker(x), out.info
    meant = graphs.known(edges, players.num) if meant is None else meant
    d = _differences(meant, players.num)
    p = players.num
    # One over its size in each piece: what `D` does not see.
    null = np.eye(p) - np.linalg.pinv(d) @ d
    s = np.eye(p) if covariance is leg.white else d.T @ d + null
    s, map_ = 0.2**2 * s, np.linalg.pinv(d).T
    moment = np.ravel(info.leg.moment).astype(np.float64)
    largest = np.abs(map_ @ moment).max()
    np.testing.assert_allclose(info.largest, [[largest]] * 2, rtol=1e-4)
    empirical = np.linalg.solve(s, moment)
    np.testing.assert_allclose(
      np.ravel(info.leg.grid), empirical, atol=1e-3 * np.abs(empirical).max()
    )
    self.assertTrue(np.all(info.solver.converged))
    self.assertLessEqual(np.max(info.solver.relative_gap), 1e-3)
    for i, level in enumerate(levels):
      g, radius = np.ravel(info.grid[i]).astype(np.float64), level * largest
      off = np.abs(map_ @ (moment - s @ g)).max()
      self.assertLess(off, radius + 1e-4 * largest)
      want = _least(d, moment, float(radius), s)
      np.testing.assert_allclose(np.abs(d @ g).sum(), want, rtol=2e-3)
      # Each piece keeps its mean.
      np.testing.assert_allclose(
        null @ g, null @ empirical, atol=1e-3 * np.abs(empirical).max()
      )
      spread = players.spread(info.grid[i, ..., 0].reshape(players.shape))
      np.testing.assert_array_equal(out.scores[i], spread)

  def test_a_chain_is_the_same_by_its_edges(self):
    shape, masker, _, chain = _CASES['series']
    fn, x = _score(shape), _example(shape)
    one, two = (
      jax.jit(
        functools.partial(
          leg_tv.leg_tv,
          fn,
          masker=masker,
          edges=edges,
          covariance=leg.smooth,
          num_samples=80,
        )
      )(x, key=jax.random.key(0))
      for edges in (None, chain)
    )
    scale = np.abs(one.info.leg.grid).max()
    for got, want in (
      (two.info.leg.grid, one.info.leg.grid),
      (two.info.leg.stderr, one.info.leg.stderr),
    ):
      np.testing.assert_allclose(got, want, atol=1e-3 * scale)
    np.testing.assert_allclose(
      two.info.solver.objective, one.info.solver.objective, rtol=2e-3
    )

  def test_players_without_an_order_are_no_graph(self):
    with self.assertRaisesRegex(ValueError, 'no graph: pass edges='):
      jax.eval_shape(
        functools.partial(leg_tv.leg_tv, jnp.sum, masker=maskers.entries),
        jnp.ones(4),
        key=jax.random.key(0),
      )

  def test_cells_of_an_image(self):
    """With corners for neighbours, and the moment alone."""
    edges = graphs.grid((4, 3), diagonal=True)
    settings = {'sigma': 0.1, 'covariance': leg.paper, 'edges': edges}
    out = jax.jit(
      lambda x, key: leg_tv.leg_tv(
        _score((8, 6, 3)),
        x,
        key=key,
        cells=(4, 3),
        num_samples=72,
        colours=leg.joint,
        antithetic=False,
        **settings,
      )
    )(_example((8, 6, 3)), jax.random.key(0))
    self.assertEqual(out.info.grid.shape, (12, 3))
    np.testing.assert_array_equal(
      out.scores,
      np.reshape(out.info.grid, (4, 3, 3)).repeat(2, 0).repeat(2, 1),
    )
    moment = out.info.leg.moment
    part = leg_tv.leg_tv_of_moment(moment, 1, **settings)
    np.testing.assert_allclose(
      part.info.solver.objective, out.info.solver.objective, rtol=2e-3
    )

  def test_nearer_than_leg_to_a_map_with_few_edges(self):
    """Ten times over, by what each is off by, on a chain of two levels."""
    num = 40
    truth = np.where(np.arange(num) < 12, 0.3, 0.0).astype(np.float32)
    fn = lambda x: jnp.sum(truth * x) + jnp.cos(3 * jnp.sum(x[::2]))
    run = lambda key: (
      leg_tv.leg_tv(
        fn,
        jnp.ones(num),
        key=key,
        masker=maskers.entries,
        edges=graphs.chain(num),
        level=0.3,
        sigma=0.2,
        num_samples=160,
        antithetic=False,
        draw=leg.gaussian,
        batch_size=None,
      ).info
    )
    info = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 10))
    off = lambda g: np.mean((np.asarray(g)[..., 0] - truth) ** 2, -1)
    gain = off(info.leg.grid) - off(info.grid)
    self.assertGreater(np.mean(gain) / (np.std(gain) / np.sqrt(10)), 4.5)


if __name__ == '__main__':
  absltest.main()
