"""Tests for `leg.py`."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
from scipy import special
import scipy.fft

from saliency_jax import maskers
from saliency_jax import scores
from saliency_jax.perturbations import leg
from saliency_jax.solvers import grid
from tests import equivalence
from tests import until

_SHAPE = (4, 3)
_COVARIANCES = (leg.paper, leg.white, leg.smooth)


def _basis(h, w):
  """`V`, `[h w, h w]`, one wave a column."""
  waves = np.eye(h * w).reshape(h * w, h, w)
  return np.stack(
    [scipy.fft.idctn(c, norm='ortho').ravel() for c in waves], axis=1
  )


def _differences(h, w):
  """`D`, one edge a row."""
  cells = np.arange(h * w).reshape(h, w)
  ends = [*zip(cells[:-1].ravel(), cells[1:].ravel(), strict=True)]
  ends += [*zip(cells[:, :-1].ravel(), cells[:, 1:].ravel(), strict=True)]
  d = np.zeros((len(ends), h * w))
  for row, (a, b) in enumerate(ends):
    d[row, [a, b]] = -1, 1
  return d


def _covariance(covariance, sigma, h=4, w=3):
  """`S`, dense."""
  v = _basis(h, w)
  spectrum = covariance(grid.exact_eigenvalues(h, w))
  return sigma**2 * v @ np.diag(spectrum.ravel()) @ v.T


def _noise(key, i, covariance, sigma, k):
  """Draw `i` of the noise on the cells, `[h w, k]`."""
  unit = leg.gaussian(key, i, jnp.zeros((*_SHAPE, k)))
  spectrum = covariance(grid.exact_eigenvalues(*_SHAPE))
  root = np.sqrt(spectrum.ravel())[:, None]
  return sigma * _basis(*_SHAPE) @ (root * np.reshape(unit, (-1, k)))


def _blocks(z):
  """Stretches `[h w, C]` to an image of twice the size."""
  return jnp.asarray(
    z.reshape(*_SHAPE, -1).repeat(2, 0).repeat(2, 1), jnp.float32
  )


def _cell_sums(a):
  """Sums the gradient of an image over the pixels of each cell."""
  return np.asarray(a).reshape(4, 2, 3, 2, -1).sum((1, 3))


def _loop(fn, x, key, n, covariance, colours, antithetic, sigma):
  """The mean of `d z`, by the definition, and its `S^-1` in every channel."""
  terms = []
  for i in range(n):
    k = 1 if colours is leg.grey else 3
    z = _noise(key, i, covariance, sigma, k)
    term = np.zeros_like(z)
    for c in range(k) if colours is leg.per_channel else [...]:
      only = np.zeros_like(z)
      only[:, c] = z[:, c]
      move = _blocks(np.broadcast_to(only, (12, 3)))
      d = float(fn(x + move)) - float(fn(x))
      if antithetic:
        d = (float(fn(x + move)) - float(fn(x - move))) / 2
      term[:, c] = d * z[:, c]
    terms.append(term)
  inverse = np.linalg.inv(_covariance(covariance, sigma))
  return np.mean(terms, 0), inverse @ np.asarray(terms)


def _explain(fn, x, seed=1, **settings):
  """One program: eagerly, every operation is one."""
  run = jax.jit(lambda x, key: leg.leg(fn, x, key=key, **settings))
  return run(x, jax.random.key(seed))


class LegTest(parameterized.TestCase):
  @parameterized.parameters(
    (leg.grey, leg.paper, True),
    (leg.grey, leg.white, False),
    (leg.joint, leg.smooth, True),
    (leg.joint, leg.paper, False),
    (leg.per_channel, leg.white, True),
    (leg.per_channel, leg.smooth, False),
  )
  def test_matches_loop(self, colours, covariance, antithetic):
    fn = jax.jit(equivalence.score_fn(score=scores.prob))
    (x,) = equivalence.examples(1)
    settings = {
      'sigma': 0.2,
      'covariance': covariance,
      'colours': colours,
      'antithetic': antithetic,
    }
    n = 5
    out = _explain(
      fn,
      x,
      cells=_SHAPE,
      num_samples=2 * n if antithetic else n,
      batch_size=4,
      draw=leg.gaussian,
      **settings,
    )
    moment, terms = _loop(fn, x, jax.random.key(1), n, **settings)
    shape = (*_SHAPE, terms.shape[-1])
    tolerance = {'rtol': 1e-3, 'atol': 1e-5 * np.abs(terms).max()}
    np.testing.assert_allclose(
      out.info.moment, moment.reshape(shape), atol=1e-6
    )
    np.testing.assert_allclose(
      out.info.grid, terms.mean(0).reshape(shape), **tolerance
    )
    np.testing.assert_allclose(
      out.info.stderr,
      (np.std(terms, 0, ddof=1) / np.sqrt(n)).reshape(shape),
      **tolerance,
    )
    halves = [half.mean(0) for half in (terms[:3], terms[3:])]
    np.testing.assert_allclose(
      out.info.split_half, np.corrcoef(*map(np.ravel, halves))[0, 1], 1e-3
    )
    np.testing.assert_allclose(
      out.scores,
      np.asarray(out.info.grid).repeat(2, 0).repeat(2, 1),
      rtol=1e-6,
    )
    signs, groups = 1 + antithetic, 3 if colours is leg.per_channel else 1
    self.assertEqual(out.info.num_calls, 1 + n * signs * groups)

  def test_papers_covariance(self):
    d = _differences(*_SHAPE)
    want = 0.3**2 * (d.T @ d + np.ones((12, 12)) / 12)
    np.testing.assert_allclose(_covariance(leg.paper, 0.3), want, atol=1e-12)

  @parameterized.parameters(*_COVARIANCES)
  def test_sampler(self, covariance):
    # The moment of f = the cell at [1, 2] is that cell's row of S.
    out = _explain(
      lambda x: x[1, 2, 0],
      jnp.zeros((*_SHAPE, 1)),
      cells=_SHAPE,
      sigma=0.3,
      num_samples=20000,
      covariance=covariance,
      batch_size=1000,
      antithetic=False,
      draw=leg.gaussian,
    )
    s = _covariance(covariance, 0.3)
    j = 1 * 3 + 2
    error = np.sqrt((s[j] ** 2 + s[j, j] * np.diag(s)) / 20000)
    z = (np.ravel(out.info.moment) - s[j]) / error
    self.assertLess(np.max(np.abs(z)), 4.5)

  def test_covariances_are_of_unit_variance(self):
    for shape in ((4, 3), (1, 5), (1, 1), (28, 28)):
      eigenvalues = grid.exact_eigenvalues(*shape)
      self.assertEqual(np.mean(leg.white(eigenvalues)), 1)
      np.testing.assert_allclose(np.mean(leg.smooth(eigenvalues)), 1)
      self.assertEqual(np.sum(leg.paper(eigenvalues) == 1) >= 1, True)
      self.assertGreater(np.min(leg.smooth(eigenvalues)), 0)

  @parameterized.parameters(
    (leg.paper, leg.grey, True),
    (leg.white, leg.joint, False),
    (leg.smooth, leg.per_channel, True),
    (leg.paper, leg.per_channel, False),
  )
  def test_standard_errors_cover_known_leg(
    self, covariance, colours, antithetic
  ):
    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.normal(size=(8, 6, 3)), jnp.float32)
    b = jnp.asarray(rng.normal(size=(8, 6, 3)), jnp.float32)
    x = jnp.asarray(rng.uniform(size=(8, 6, 3)), jnp.float32)
    # Both the linear and the quadratic part have their gradient as their LEG.
    fn = lambda x: jnp.sum(a * x) + jnp.sum(b * x) ** 2 + jnp.sum(b * x**2)
    run = jax.jit(
      jax.vmap(
        lambda key: (
          leg.leg(
            fn,
            x,
            key=key,
            cells=_SHAPE,
            sigma=0.1,
            num_samples=400,
            covariance=covariance,
            colours=colours,
            antithetic=antithetic,
            batch_size=None,
            draw=leg.gaussian,
          ).info
        )
      )
    )
    info = run(jax.random.split(jax.random.key(2), 30))
    want = _cell_sums(jax.grad(fn)(x))
    if colours is leg.grey:
      want = want.sum(-1, keepdims=True)
    z = np.asarray((info.grid - want[None]) / info.stderr)
    # Scores of one map are not independent, the 30 maps are: t of each cell's
    # mean over them, and the mean square, with a deviation of .02 to .1.
    self.assertLess(np.max(np.abs(z.mean(0)) * np.sqrt(30)), 4.5)
    self.assertBetween(np.mean(z**2), 0.75, 1.35)

  @parameterized.parameters(*_COVARIANCES)
  def test_orthogonal_draws_know_a_linear_score(self, covariance):
    a = jnp.asarray(np.random.default_rng(0).normal(size=(8, 6, 3)))
    a = a.astype(jnp.float32)
    out = _explain(
      lambda x: jnp.sum(a * x),
      jnp.full((8, 6, 3), 0.5),
      cells=_SHAPE,
      num_samples=6 * 36,
      covariance=covariance,
      colours=leg.joint,
    )
    np.testing.assert_allclose(out.info.grid, _cell_sums(a), atol=2e-3)
    # Three matrices, of which the first half has two.
    self.assertEqual(out.info.num_blocks, 3)
    self.assertGreater(out.info.split_half, 0.999)
    self.assertGreater(out.info.explained, 0.999)
    self.assertLess(np.max(out.info.stderr), 2e-3)

  def test_standard_errors_of_matrices_cover_known_leg(self):
    rng = np.random.default_rng(0)
    a, b = jnp.asarray(rng.normal(size=(2, *_SHAPE, 1)), jnp.float32)
    # The quadratic part is even, and the LEG of the rest is its slope.
    fn = lambda x: jnp.sum(a * x) + 5 * jnp.sum(b * x) ** 2
    run = lambda key: (
      leg.leg(
        fn,
        jnp.zeros((*_SHAPE, 1)),
        key=key,
        cells=_SHAPE,
        sigma=0.1,
        num_samples=36,
        antithetic=False,
        batch_size=None,
      ).info
    )
    keys = jax.random.split(jax.random.key(3), 2000)
    info = jax.jit(jax.vmap(run))(keys)
    off = np.asarray(info.grid - a[None])
    z = lambda u: np.mean(u, 0) / np.std(u, 0) * np.sqrt(len(keys))
    self.assertLess(np.max(np.abs(z(off))), 4.5)
    self.assertLess(np.max(np.abs(z(off**2 - info.stderr**2))), 4.5)

  def test_margins_cover_each_cell(self):
    rng = np.random.default_rng(0)
    a, b = jnp.asarray(rng.normal(size=(2, 6, 6, 1)), jnp.float32) * 0.6
    dot = lambda a, z: jnp.vdot(a, z)
    # E[grad]: of a sine, of a cube, and of nothing for what is even.
    fn = lambda z: (
      jnp.sin(dot(a, z)) + dot(b, z) ** 3 + dot(a, z) ** 2 * dot(b, z) ** 2
    )
    within = lambda u: 0.1**2 * jnp.sum(u**2)
    # Rows of a matrix are of one length: of 36 cells a cube is worth 36 / 38.
    truth = lambda cube: a * jnp.exp(-within(a) / 2) + 3 * cube * within(b) * b
    run = lambda key, draw, num: (
      leg.leg(
        fn,
        jnp.zeros((6, 6, 1)),
        key=key,
        cells=6,
        sigma=0.1,
        num_samples=num,
        draw=draw,
        batch_size=None,
      ).info
    )
    for draw, num, cube in (
      (leg.orthogonal, 144, 36 / 38),
      (leg.gaussian, 100, 1),
    ):
      info = jax.jit(jax.vmap(functools.partial(run, draw=draw, num=num)))(
        jax.random.split(jax.random.key(4), 300)
      )
      inside = np.abs(info.grid - truth(cube)[None]) <= info.margin
      # Known to 1% if the 36 cells of a map were one, and to .2% if none is.
      self.assertBetween(np.mean(inside), 0.93, 0.97)
      self.assertGreater(np.min(np.mean(inside, 0)), 0.88)
      if draw is leg.gaussian:
        np.testing.assert_allclose(info.margin / info.stderr, 2.01, rtol=1e-3)
      else:  # Two matrices: by their difference alone it would be 12.7.
        told = np.sqrt(np.mean(info.stderr**2))
        self.assertLess(np.mean(info.margin), 3 * told)

  @parameterized.parameters(
    (leg.gaussian, False, 'auto', (9, 18, 900), 0.35),
    # Whole matrices, of twelve draws each.
    (leg.orthogonal, True, 0.2, (24, 48, 1200), 0.02),
  )
  def test_until_it_is_good_and_on(
    self, draw, antithetic, sigma, num, tolerance
  ):
    a = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 1)))
    a = a.astype(jnp.float32)
    fn = lambda x: (1.5 + jnp.sin(jnp.sum(a * x))) * jnp.exp(-jnp.sum(x**2))

    def explain(fn, num, **settings):
      return leg.leg(
        fn,
        jnp.full((4, 3, 1), 0.02, jnp.float32),
        key=jax.random.key(3),
        cells=_SHAPE,
        sigma=sigma,
        num_samples=num * (2 if antithetic else 1),
        antithetic=antithetic,
        draw=draw,
        batch_size=5,
        **settings,
      )

    # Of whole matrices the margin has its own error.
    freedom = lambda info: info.draws.num - 12
    if draw is leg.gaussian:
      freedom = lambda info: info.num_blocks - 1
    few, many, most = num
    good = until.check(
      self,
      explain,
      fn,
      few=few,
      many=many,
      most=most,
      tolerance=tolerance,
      error=lambda info: info.margin / special.stdtrit(freedom(info), 0.975),
    )
    num = int(good.info.draws.num)
    calls = num * (1 + antithetic) + 1 + 160 * (sigma == 'auto')
    self.assertEqual(good.info.num_calls, calls)
    same = jax.jit(lambda: explain(fn, num))()
    for name in (
      'grid',
      'stderr',
      'margin',
      'split_half',
      'explained',
      'mean_score',
      'score_std',
      'clipped',
      'variance_reduction',
    ):
      np.testing.assert_allclose(
        getattr(good.info, name), getattr(same.info, name), rtol=2e-3, atol=1e-5
      )  # fmt: skip

  def test_scale_that_keeps_a_share(self):
    # Rows of an orthogonal matrix are of one length, and the score is known.
    fn = lambda x: 0.8 * jnp.exp(-jnp.sum((x - 0.5) ** 2))
    x = jnp.full((4, 4, 1), 0.5)
    run = jax.jit(
      jax.vmap(
        lambda keep: (
          leg.leg(
            fn, x, key=jax.random.key(0), cells=4, sigma='auto', keep=keep,
            num_samples=64, antithetic=True,
          ).info
        )
      )
    )  # fmt: skip
    keep = jnp.array([0.9, 0.5, 0.1])
    info = run(keep)
    np.testing.assert_allclose(
      info.sigma, np.sqrt(-np.log(keep) / 16), rtol=0.01
    )
    np.testing.assert_allclose(info.mean_score, 0.8 * keep, rtol=0.05)
    np.testing.assert_array_equal(info.num_calls, [1 + 320 + 64] * 3)
    self.assertTrue(np.all(info.sigma_found))
    # A score that nothing moves keeps more, at any scale.
    same = _explain(lambda x: 0.5 + 0 * jnp.sum(x), x, cells=2, sigma='auto')
    self.assertFalse(same.info.sigma_found)
    np.testing.assert_allclose(same.info.sigma, 4, rtol=0.01)
    less = _explain(lambda x: -jnp.sum(x), x, cells=2, sigma='auto')
    self.assertTrue(np.all(np.isnan(less.scores)))
    with self.assertRaisesRegex(ValueError, 'a score above 0, .* got -16.0'):
      leg.leg(lambda x: -jnp.sum(x), jnp.ones((4, 4, 1)),
              key=jax.random.key(0), cells=2, sigma='auto')  # fmt: skip

  def test_no_other_word_is_a_scale(self):
    with self.assertRaisesRegex((ValueError, jaxtyping.TypeCheckError), 'auto'):
      equivalence.traced(leg.leg)(
        jnp.sum, jnp.ones((4, 4, 1)), key=jax.random.key(0), sigma='large'
      )

  def test_contrast_is_equation_1(self):
    x = equivalence.examples(1)[0]
    apply, params = equivalence.network()
    one, two, both = (
      _explain(fn, x, cells=2, num_samples=16).info.grid
      for fn in (
        scores.prob(apply, params, 0),
        scores.prob(apply, params, 2),
        scores.contrast(apply, params, 0, 2),
      )
    )
    np.testing.assert_allclose(both, one - two, atol=1e-4)

  def test_orthogonal_draws_are_nearer(self):
    a = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 1)))
    a = a.astype(jnp.float32)
    fn = lambda x: jnp.sin(jnp.sum(a * x)) + jnp.sum(x) ** 2

    def maps(draw):
      run = lambda key: (
        leg.leg(
          fn,
          jnp.zeros((4, 3, 1)),
          key=key,
          cells=_SHAPE,
          sigma=0.1,
          num_samples=72,
          draw=draw,
          batch_size=None,
        ).info
      )
      return jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 1000))

    best, plain = maps(leg.orthogonal), maps(leg.gaussian)
    bias = np.mean(best.grid, 0) - np.mean(plain.grid, 0)
    error = np.sqrt((np.var(best.grid, 0) + np.var(plain.grid, 0)) / 1000)
    self.assertLess(np.max(np.abs(bias) / error), 4.5)
    spread = lambda info: np.sum(np.var(info.grid, 0))
    self.assertLess(spread(best), 0.3 * spread(plain))
    # What each says of its errors is what they are.
    for info in (best, plain):
      found = np.asarray(info.grid)
      wrong = np.mean((found - found.mean(0)) ** 2, (1, 2, 3))
      told = np.mean(info.stderr**2, (1, 2, 3))
      off = wrong * (1000 / 999) - told
      self.assertLess(abs(np.mean(off)) / (np.std(off) / np.sqrt(1000)), 4.5)

  @parameterized.parameters(*_COVARIANCES)
  def test_is_the_gradient_of_the_smoothed_score(self, covariance):
    # Stein: LEG = E[grad f(x + z)], which for x^3 is 3 (x^2 + var z).
    x = jnp.asarray(
      np.random.default_rng(1).uniform(size=(*_SHAPE, 1)), jnp.float32
    )
    out = _explain(
      lambda x: jnp.sum(x**3),
      x,
      cells=_SHAPE,
      sigma=0.4,
      num_samples=20000,
      covariance=covariance,
      batch_size=1000,
      draw=leg.gaussian,
    )
    variance = np.diag(_covariance(covariance, 0.4)).reshape(*_SHAPE, 1)
    want = 3 * (x**2 + variance)
    z = (out.info.grid - want) / out.info.stderr
    self.assertLess(np.max(np.abs(z)), 4.5)
    far = (out.info.grid - 3 * x**2) / out.info.stderr
    self.assertGreater(np.max(np.abs(far)), 5.5)

  def test_tends_to_the_gradient(self):
    # The first of the paper's examples is one pixel.
    run = jax.jit(
      lambda sigma, key: leg.leg(
        lambda x: jnp.sin(3 * x[0, 0, 0]),
        jnp.full((1, 1, 1), 0.3),
        key=key,
        cells=1,
        sigma=sigma,
        num_samples=1000,
        batch_size=None,
        draw=leg.gaussian,
      )
    )
    for sigma in (0.3, 0.1, 0.01):
      out = run(sigma, jax.random.key(0))
      # E[3 cos(3 (x + z))] = 3 cos(3 x) exp(-9 sigma^2 / 2).
      want = 3 * np.cos(0.9) * np.exp(-4.5 * sigma**2)
      error = float(out.info.stderr[0, 0, 0])
      self.assertLess(abs(float(out.scores[0, 0, 0]) - want) / error, 4.5)
    self.assertAlmostEqual(want, 3 * np.cos(0.9), delta=1e-3)
    self.assertLess(error, 0.15)

  def test_pairs_cancel_what_is_even(self):
    (x,) = equivalence.examples(1)
    out = _explain(
      lambda y: jnp.sum((y - x) ** 2),
      x,
      cells=(4, 3),
      num_samples=48,
    )
    np.testing.assert_allclose(out.info.grid, 0, atol=1e-3)
    self.assertGreater(out.info.variance_reduction, 1e6)

  def test_variance_reduction_is_what_pairs_save(self):
    x = equivalence.examples(1)[0][..., :1]
    even = lambda u: u + 0.5 * u**2
    fn = lambda y: even(jnp.sum((y - x)[:4]) - jnp.sum((y - x)[4:]))

    def maps(antithetic):
      run = lambda key: (
        leg.leg(
          fn,
          x,
          key=key,
          cells=2,
          sigma=0.12,
          num_samples=100,
          draw=leg.gaussian,
          antithetic=antithetic,
          batch_size=None,
        ).info
      )
      return jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 2000))

    paired, plain = maps(True), maps(False)
    want = np.sum(np.var(plain.grid, 0)) / np.sum(np.var(paired.grid, 0))
    # Each variance is of 2000 maps, so that it is known to about 3%.
    weight = np.sum(paired.stderr**2, (1, 2, 3))
    got = np.sum(paired.variance_reduction * weight) / np.sum(weight)
    self.assertAlmostEqual(got / want, 1, delta=0.12)
    self.assertGreater(want, 1.5)
    np.testing.assert_array_equal(plain.variance_reduction, 1)

  def test_reliability(self):
    x = jnp.full((8, 6, 3), 0.5)
    linear = jnp.asarray(np.random.default_rng(0).normal(size=(8, 6, 3)))
    linear = linear.astype(jnp.float32)
    hash_ = lambda x: jnp.sin(1e4 * jnp.sum(linear * x))
    explain = functools.partial(
      _explain,
      cells=(4, 3),
      num_samples=4000,
      batch_size=500,
      draw=leg.gaussian,
    )
    good = explain(lambda x: jnp.sum(linear * x), x=x).info
    self.assertGreater(good.split_half, 0.95)
    self.assertAlmostEqual(float(good.explained), 1, delta=0.1)
    none = explain(hash_, x=x).info
    self.assertBetween(none.split_half, -0.95, 0.95)
    self.assertLess(none.explained, 0.01)

  @parameterized.parameters((leg.gaussian, 160), (leg.orthogonal, 96))
  def test_explained_is_the_share_predicted(self, draw, num_samples):
    a = jnp.asarray(np.random.default_rng(0).normal(size=(8, 6, 1)))
    a = a.astype(jnp.float32)
    fn = lambda x: jnp.tanh(6 * jnp.sum(a * x)) + x[0, 0, 0]
    x = jnp.full((8, 6, 1), 0.5)
    run = lambda key, n: (
      leg.leg(
        fn,
        x,
        key=key,
        cells=_SHAPE,
        num_samples=n,
        batch_size=None,
        covariance=leg.paper,
        draw=draw,
      ).info
    )
    claims = jax.jit(jax.vmap(functools.partial(run, n=num_samples)))(
      jax.random.split(jax.random.key(0), 200)
    ).explained
    maps = jax.jit(jax.vmap(functools.partial(run, n=num_samples // 2)))(
      jax.random.split(jax.random.key(1), 200)
    ).grid
    key = jax.random.key(2)
    unit = jax.vmap(lambda i: draw(key, i, jnp.zeros((*_SHAPE, 1))))
    root = np.linalg.cholesky(_covariance(leg.paper, 0.05))
    z = np.asarray(unit(jnp.arange(2004))).reshape(2004, 12) @ root.T
    moves = z.reshape(-1, *_SHAPE, 1).repeat(2, 1).repeat(2, 2)
    d = np.asarray(jax.vmap(fn)(x[None] + jnp.asarray(moves, x.dtype)) - fn(x))
    guess = z @ np.asarray(maps).reshape(200, -1).T
    shares = 1 - np.var(d[:, None] - guess, axis=0) / np.var(d)
    error = np.sqrt(np.var(claims) / 200 + np.var(shares) / 200 + 0.01**2)
    self.assertLess(abs(np.mean(claims) - np.mean(shares)) / error, 4.5)
    self.assertGreater(np.mean(shares), 0.2)

  def test_clip(self):
    seen = []

    def predict(batch):
      seen.append(np.array(batch))
      return batch.mean((1, 2, 3))

    x = jnp.asarray([[[0.0], [1.0]], [[0.5], [0.5]]])
    settings = {'cells': 2, 'sigma': 0.1, 'num_samples': 200, 'batch_size': 40}
    out = _explain(scores.from_host(predict), x, clip=True, **settings)
    images = np.concatenate(seen)
    self.assertEqual((images.min(), images.max()), (0, 1))
    self.assertLen(images, int(out.info.num_calls))
    # Half of the draws move each pixel at the border out of its range.
    self.assertAlmostEqual(float(out.info.clipped), 0.25, delta=0.05)
    seen.clear()
    free = _explain(scores.from_host(predict), x, **settings)
    self.assertLess(np.concatenate(seen).min(), -0.1)
    self.assertAlmostEqual(float(out.info.clipped), float(free.info.clipped))

  @parameterized.parameters(True, False)
  def test_constant_score(self, antithetic):
    (x,) = equivalence.examples(1)
    out = _explain(
      lambda x: jnp.array(0.25),
      x,
      cells=3,
      num_samples=36,
      antithetic=antithetic,
    )
    np.testing.assert_array_equal(out.scores, np.zeros((8, 6, 1)))
    info = out.info
    self.assertEqual((info.split_half, info.explained), (0, 0))
    self.assertEqual((info.mean_score, info.score_std), (0.25, 0))

  @parameterized.parameters(
    {'antithetic': False, 'colours': leg.per_channel, 'clip': True},
  )
  def test_equivalence(self, **settings):
    method = functools.partial(
      leg.leg, cells=2, sigma=1.0, num_samples=24, **settings
    )
    equivalence.check(
      self, method, draws=True, score=scores.prob, batch_sizes=(3,)
    )

  def test_default_number_of_draws_is_whole(self):
    run = lambda **settings: jax.eval_shape(
      functools.partial(leg.leg, jnp.sum, key=jax.random.key(0), **settings),
      jnp.ones((30, 30, 3)),
    )
    for cells in (28, 7, (5, 3)):
      run(cells=cells)
    run(masker=functools.partial(maskers.grid, cells=3))
    out = _explain(lambda x: x[0], jnp.ones(7), masker=maskers.entries)
    self.assertEqual(out.info.num_calls, 3136 + 1)
    out = _explain(lambda x: x[0], jnp.ones(10), masker=maskers.entries)
    self.assertEqual(out.info.num_calls, 3140 + 1)

  def test_batch_size_bounds_memory(self):
    method = functools.partial(leg.leg, cells=8, num_samples=256)
    equivalence.check_memory(self, method)

  @parameterized.parameters(
    ({'num_samples': 0}, 'num_samples must be a whole number of at least 1'),
    ({'num_samples': 5}, 'multiple of 8 and at least 16 .*got 5: take 16, or'),
    (
      {'num_samples': 20, 'colours': leg.joint},
      r'multiple of 24 .*blocks of 12 draws of antithetic pairs\), got 20',
    ),
    ({'num_samples': 50}, 'got 50: take 48, or draw=leg.gaussian'),
    (
      {'num_samples': 5, 'draw': leg.gaussian},
      r'multiple of 2 and at least 4 \(antithetic pairs\), got 5: take 6$',
    ),
    (
      {'num_samples': 1, 'draw': leg.gaussian, 'antithetic': False},
      'multiple of 1 and at least 2, got 1: take 2$',
    ),
    ({'sigma': 0.0}, r'sigma must be in \(0, inf\), got 0.0'),
    ({'sigma': 'auto', 'keep': 1.0}, r'keep must be in \(0, 1\), got 1.0'),
    ({'cells': 7}, r'cells must be a whole number in \[1, 6\], got 7'),
    ({'cells': (0, 2)}, r'cells must be a whole number in \[1, 8\], got 0'),
    (
      {'batch_size': 0},
      r'batch_size must be a whole number of at least 1, got 0',
    ),
    ({'covariance': lambda lam: np.ones(3)}, r'return the shape \(2, 2\)'),
    (
      {'covariance': np.zeros_like},
      r'the least eigenvalue must be in \(0, inf\), got 0.0',
    ),
    (
      {'colours': lambda c: leg.Colours(np.ones((2, c)))},
      r'directions \[1, 3\] or \[3, 3\], got \(2, 3\)',
    ),
    ({'key': None}, 'key=jax.random.key'),
  )
  def test_bad_arguments(self, settings, message):
    settings = {'key': jax.random.key(0), 'cells': 2} | settings
    with self.assertRaisesRegex(ValueError, message):
      equivalence.traced(leg.leg)(jnp.sum, jnp.ones((8, 6, 3)), **settings)


if __name__ == '__main__':
  absltest.main()
