"""LEG-TV: the map of least total variation among those that fit the draws.

`argmin_g |Dg|_1  s.t.  |D^{+T} (y - S g)|_inf <= L`, `y = mean_i d_i z_i`,

where `D` takes the differences between neighbouring cells. These do not see the
mean of `g`, which is set to the mean of the empirical LEG
(`perturbations/leg.py`). The bound `L` is

  `relative`   `K_L |D^{+T} y|_inf`, the paper's heuristic,
  `absolute`   a number,
  `paper`      Theorem 1's as printed, `sqrt(2 |D^+|_1 log(p / eps) / n)`,
  `mcdiarmid`  what its proof gives, `|D^+|_1 sqrt(8 log(2 m / eps) / n)`,
  `bootstrap`  the `1 - eps` quantile of `|D^{+T} (y - E y)|_inf`, estimated.

The theorem asks for bounded noise and scores, and its bounds are so large that
the map is constant. With the bootstrap's bound the feasible set holds the true
LEG with probability `1 - eps`, and still leaves other maps out.

References:
  Luo, Barut, Jin, Statistically consistent saliency estimation, 2021.
    https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
  Chernozhukov, Chetverikov, Kato, Gaussian approximations and multiplier
    bootstrap for maxima of sums of high-dimensional random vectors, 2013.
    https://arxiv.org/abs/1212.6906
"""

from collections.abc import Callable
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
import numpy as np

from saliency_jax import maskers
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import stretching
from saliency_jax.core import types
from saliency_jax.perturbations import covariances
from saliency_jax.perturbations import draws
from saliency_jax.perturbations import leg
from saliency_jax.solvers import dantzig
from saliency_jax.solvers import grid
from saliency_jax.solvers import total_variation

# The paper's, whose noise kills every prediction of some networks: look at
# `info.leg.mean_score`. The number of draws is 3000 in its comparisons.
PAPER = {
  'cells': 28,
  'sigma': math.sqrt(0.1),
  'num_samples': 500,
  'covariance': leg.paper,
  'colours': leg.per_channel,
  'antithetic': False,
  'stretch': leg.nearest,
  'draw': leg.gaussian,
  'level': 0.1,
}
# The authors' code, version 1.0, but for the rows that it adds to `D`, from
# the border to zeros outside.
V1 = {**PAPER, 'sigma': 0.02, 'num_samples': 2000, 'clip': False}


class Evidence(NamedTuple):
  """What is known of the moments `y` of `k` maps.

  Attributes:
    moment: `y`.
    largest: `L_max = |D^{+T} y|_inf`, from which on a map is constant.
    num_terms: independent terms `d_i z_i` of which `y` is the mean.
    term: returns one of them; `None` where they are not known.
    key: for further draws.
    batch_size: terms held in memory at once.
  """

  moment: Float[Array, '*cells k']
  largest: Float[Array, 'k']
  num_terms: int
  term: Callable[[Any], Float[Array, '*cells k']] | None = None
  key: Any = None
  batch_size: int | None = None


# `(evidence, level)` to the `L` of each of the `k` maps.
Radius = Callable[[Evidence, types.Scalar], Float[Array, 'k']]


class LegTvInfo(NamedTuple):
  """The map on its grid, how it was found, and from what.

  Attributes:
    grid: the map, before it is stretched.
    radius: `L`, of each of the `k` maps.
    largest: `L_max`, of each: from there on a map is constant.
    flat: share of the edges of each without a step, of which `Dg` is nearly
      zero: below a thousandth of the largest of the empirical LEG.
    solver: the gap, the violation and the objective of each, and whether it
      converged.
    leg: of the empirical LEG: its reliability, and the number of calls.
  """

  grid: Float[Array, '*cells k']
  radius: Float[Array, 'k']
  largest: Float[Array, 'k']
  flat: Float[Array, 'k']
  solver: total_variation.TvInfo
  leg: leg.LegInfo | tuple[()]


def relative(
  evidence: Evidence, level: types.Scalar = 0.05
) -> Float[Array, 'k']:
  """Returns `K_L L_max` for `K_L = level`, .05 or .1 in the paper."""
  checks.within('level', level, '[0, inf)')
  return jnp.asarray(level, evidence.largest.dtype) * evidence.largest


def absolute(evidence: Evidence, level: types.Scalar) -> Float[Array, 'k']:
  """Returns `level` itself, in units of the score times units of `x`."""
  checks.within('level', level, '[0, inf)')
  return jnp.full_like(evidence.largest, level)


def paper(evidence: Evidence, level: types.Scalar = 0.05) -> Float[Array, 'k']:
  """Returns the `L` of Theorem 1 as printed, `level` its `eps`.

  It does not follow from the theorem's proof: see `mcdiarmid`.
  """
  _check_probability(level)
  cells = evidence.moment.shape[:-1]
  log = jnp.log(math.prod(cells) / jnp.asarray(level, evidence.largest.dtype))
  size = 2 * grid.pinv_norm(*cells) / evidence.num_terms
  return jnp.full_like(evidence.largest, jnp.sqrt(size * log))


def mcdiarmid(
  evidence: Evidence, level: types.Scalar = 0.05
) -> Float[Array, 'k']:
  """Returns the `L` that the proof of Theorem 1 gives, `level` its `eps`.

  For scores and noise in [-1, 1], each edge's entry of `D^{+T} y` moves by at
  most `4 |D^+|_1 / n` with one draw; there are `m` edges and two sides. With
  Gaussian noise, which has no bound, it is a figure and no guarantee.
  """
  _check_probability(level)
  cells = evidence.moment.shape[:-1]
  edges = max(1, grid.count(grid.difference(evidence.moment[..., 0])))
  log = jnp.log(2 * edges / jnp.asarray(level, evidence.largest.dtype))
  size = grid.pinv_norm(*cells) * math.sqrt(8 / evidence.num_terms)
  return jnp.full_like(evidence.largest, size * jnp.sqrt(log))


def bootstrap(
  evidence: Evidence,
  level: types.Scalar = 0.05,
  *,
  num_replicates: int = 500,
) -> Float[Array, 'k']:
  """Returns the quantile of `|D^{+T} (y - E y)|_inf` at `1 - level`.

  It is the quantile of `|D^{+T} mean_i e_i (d_i z_i - y)|_inf` over standard
  normal multipliers `e`. The noise is drawn again; the score is not called. The
  draws of `leg.orthogonal` average better than independent draws do, so for
  them the quantile is too large.

  Raises:
    ValueError: if only the moment is known, or for a bad number.
  """
  _check_probability(level)
  checks.count('num_replicates', num_replicates)
  if evidence.term is None:
    raise ValueError(
      'bootstrap needs the terms d_i z_i, and only their mean is known'
    )
  n, moment = evidence.num_terms, evidence.moment
  size = n if evidence.batch_size is None else min(n, evidence.batch_size)
  key = sampling.key_for(evidence.key, sampling.BOOTSTRAP)
  like = jnp.zeros(num_replicates, moment.dtype)

  def of_batch(start):
    i = start + jnp.arange(size)
    real = (i < n).astype(moment.dtype)
    i = jnp.minimum(i, n - 1)
    e = jax.vmap(lambda i: sampling.normal(sampling.draw_key(key, i), like))(i)
    terms = jax.vmap(evidence.term)(i) - moment[None]
    return jnp.einsum(
      'ib,i...k->bk...',
      e * real[:, None],
      terms,
      precision=jax.lax.Precision.HIGHEST,
    )

  starts = jnp.arange(0, n, size)
  mean = sampling.batched_mean(of_batch, starts, batch_size=1)
  norm = lambda u: grid.largest(grid.pinv_adjoint(u))
  norms = jax.vmap(jax.vmap(norm))(mean * (starts.size / n))
  rank = 1 - jnp.asarray(level, moment.dtype)
  return jnp.quantile(norms, rank, axis=0)


def leg_tv(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  radius: Radius = relative,
  level: types.Scalar | Float[Array, '*l'] = 0.05,
  cells: int | tuple[int, int] = 28,
  sigma: types.Scalar = 0.05,
  num_samples: int | None = None,
  covariance: covariances.Covariance = leg.white,
  colours: Callable[[int], leg.Colours] = leg.grey,
  antithetic: bool = True,
  clip: bool = False,
  stretch: stretching.Stretch = leg.nearest,
  draw: draws.Draw = leg.orthogonal,
  masker: maskers.Constructor | None = None,
  num_steps: int | None = None,
  tolerance: types.Scalar = 1e-3,
  batch_size: int | None = 16,
) -> types.Attribution:
  """Estimates the LEG of `fn` around `x` under a price on its variation.

  Args:
    fn: score of one example; no gradient is taken.
    x: the image; any example with a masker.
    key: consumed; required.
    radius: `relative`, `bootstrap`, `absolute`, `paper`, `mcdiarmid`, or any
      other `(evidence, level) -> L`.
    level: `K_L`, `eps` or `L` itself, by `radius`. An array of them makes the
      whole path from one set of draws: results have its axes before theirs.
    cells: and all that follow but the solver's two: see `leg`.
    sigma: scale of the noise.
    num_samples: perturbed images; `None` takes 3136, rounded up.
    covariance: of the noise.
    colours: how it moves the channels.
    antithetic: whether it is used with both signs.
    clip: whether perturbed images are clipped to [0, 1].
    stretch: from cells to pixels.
    draw: of the noise before it is given its covariance.
    masker: its players move, in the place of cells. Neighbours are those on the
      grid of its players; the columns of a table are a chain, in their order.
    num_steps: of the solver at most; `None` takes the solver's own default.
    tolerance: relative gap at which the solver stops; `info.solver.converged`
      says of each map whether it did.
    batch_size: perturbed images held in memory at once; `None` holds all.

  Returns:
    Scores `[*l, H, W, k]`, or `[*l, ...]` as the masker spreads them, and
    `LegTvInfo`.

  Raises:
    ValueError: as `leg`, and for a bad level.
  """
  if masker is None:
    x = examples.floats(x)
    moves = leg.of_image(x, cells, colours, stretch, clip)
  else:
    x = examples.arrays(x)
    checks.no_masker(leg_tv, cells=cells, colours=colours, stretch=stretch)
    moves = leg.of_masker(masker(x, key=key), clip)
  design = leg.Design(
    sigma, num_samples, covariance, antithetic, draw, batch_size
  )
  info, num_terms, term = leg.estimate(fn, x, key, moves, design)
  steps = {'num_steps': num_steps, 'tolerance': tolerance}
  evidence = Evidence(
    info.moment, jnp.zeros(()), num_terms, term, key, batch_size
  )
  solved = _solve(info.grid, evidence, covariance, sigma, radius, level, steps)
  spread = _for_each(moves.spread, level)
  return examples.attribution(x, spread(solved.grid), solved._replace(leg=info))


def leg_tv_of_moment(
  total: Float[Array, '*cells k'],
  num_terms: int,
  *,
  sigma: types.Scalar,
  covariance: covariances.Covariance = leg.white,
  radius: Radius = relative,
  level: types.Scalar | Float[Array, '*l'] = 0.05,
  num_steps: int | None = None,
  tolerance: types.Scalar = 1e-3,
) -> types.Attribution:
  """Solves LEG-TV where only the sum of `d_i z_i` may leave its owner.

  Whoever holds the model and the example sends `num_terms * leg's moment`, from
  noise of the given covariance; neither a score nor an image is disclosed.

  Args:
    total: `sum_i d_i z_i`, one grid for each of `k` maps.
    num_terms: independent terms of the sum.
    sigma: scale of the noise.
    covariance: of the noise.
    radius: as in `leg_tv`, but for `bootstrap`, which needs the terms.
    level: as in `leg_tv`.
    num_steps: as in `leg_tv`.
    tolerance: as in `leg_tv`.

  Returns:
    Scores on the grid, `[*cells, k]`, and `LegTvInfo`, whose `leg` is empty.
  """
  if total.ndim < 2:
    raise ValueError(f'expected a sum [*cells, k], got shape {total.shape}')
  checks.count('num_terms', num_terms)
  moment = total / num_terms
  spectrum = covariances.scaled(
    covariance, total.shape[:-1], sigma, total.dtype
  )
  g = _each(lambda u: grid.filtered(u, 1 / spectrum))(moment)
  evidence = Evidence(moment, jnp.zeros(()), num_terms)
  steps = {'num_steps': num_steps, 'tolerance': tolerance}
  info = _solve(g, evidence, covariance, sigma, radius, level, steps)
  return types.Attribution(info.grid, info)


def _each(f):
  """Maps a function of a grid, and of `k` numbers with it."""
  return jax.vmap(f, in_axes=-1, out_axes=-1)


def _for_each(f, level):
  """Maps a function over as many axes as there are of levels."""
  for _ in range(jnp.ndim(level)):
    f = jax.vmap(f)
  return f


def _solve(g, evidence, covariance, sigma, radius, level, steps):
  """Returns the info of the solution at each level."""
  cells = g.shape[:-1]
  solve, reach = _problem(cells, covariance, sigma, g.dtype)
  edges = _each(grid.difference)(g)
  step = jax.vmap(grid.largest, in_axes=-1)(edges)
  largest = jax.vmap(reach, in_axes=-1)(g)
  evidence = evidence._replace(largest=largest)
  solve = functools.partial(
    solve, **{name: n for name, n in steps.items() if n is not None}
  )

  def one(level):
    limit = radius(evidence, level)
    checks.same_shape('the result of radius', limit, largest)
    solution = jax.vmap(solve, in_axes=(-1, 0))(g, limit)
    flat = jax.vmap(_flat)(solution.value, step)
    value = jnp.moveaxis(solution.value, 0, -1)
    return LegTvInfo(value, limit, largest, flat, solution.info, ())

  return _for_each(one, level)(level)


def _problem(cells, covariance, sigma, dtype):
  """Returns the solver of `(g, L)`, and the `L` from which on it is constant.

  Where `S` is the Laplacian off the mean, `D^{+T} S = unit D`.
  """
  laplacian = grid.exact_eigenvalues(*cells).ravel()[1:]
  ratio = covariance(*cells)
  # Rounding must not put what is meant to be `L_max` below it.
  above = 1 + 8 * float(jnp.finfo(dtype).eps)
  if not isinstance(ratio, jax.core.Tracer):
    ratio = np.asarray(ratio, np.float64).ravel()[1:] / laplacian
    if ratio.size == 0 or np.ptp(ratio) <= 1e-6 * np.max(ratio):
      unit = float(np.mean(ratio)) if ratio.size else 1.0
      unit = unit * jnp.asarray(sigma, dtype) ** 2
      return (
        lambda g, limit, **kwargs: total_variation.tv_box(
          g, above * limit / unit, **kwargs
        ),
        lambda g: unit * grid.largest(grid.difference(g)),
      )
  spectrum = covariances.scaled(covariance, cells, sigma, dtype)
  return (
    lambda g, limit, **kwargs: dantzig.tv_dantzig(
      g, above * limit, spectrum, **kwargs
    ),
    lambda g: dantzig.largest_radius(g, spectrum),
  )


def _flat(g, step):
  """Returns the share of the edges with next to no difference."""
  d = grid.magnitude(grid.difference(g))
  low = jax.tree.map(lambda a: (a <= 1e-3 * step).astype(g.dtype), d)
  return grid.total(low) / max(1, sum(a.size for a in low))


def _check_probability(level):
  checks.within('level', level, '(0, 1]')
