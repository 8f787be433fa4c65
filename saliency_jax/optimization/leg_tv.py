"""LEG-TV: the map of least total variation among those that fit the draws.

`argmin_g |Dg|_1  s.t.  |D^{+T} (y - S g)|_inf <= L`, `y = mean_i d_i z_i`,

where `D` takes the differences between neighbouring cells, or along the edges
of any graph of them. These do not see the mean of `g`, which is set to the mean
of the empirical LEG (`perturbations/leg.py`). The bound `L` is one of
`radii.py`.

References:
  Luo, Barut, Jin, Statistically consistent saliency estimation, 2021.
    https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
"""

from collections.abc import Callable
import functools
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
import numpy as np

from saliency_jax import maskers
from saliency_jax import transforms
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import graphs
from saliency_jax.core import stretching
from saliency_jax.core import types
from saliency_jax.optimization import held_out
from saliency_jax.optimization import radii
from saliency_jax.perturbations import covariances
from saliency_jax.perturbations import draws
from saliency_jax.perturbations import leg
from saliency_jax.perturbations import moves as moving
from saliency_jax.solvers import dantzig
from saliency_jax.solvers import flows
from saliency_jax.solvers import graph
from saliency_jax.solvers import grid
from saliency_jax.solvers import total_variation

# What `radius` may be, beside one's own functions.
Evidence, Radius = radii.Evidence, radii.Radius
relative, absolute, bootstrap = radii.relative, radii.absolute, radii.bootstrap
paper, mcdiarmid = radii.paper, radii.mcdiarmid

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
    leg: of the empirical LEG: its reliability, and the number of all calls.
    choice: what held-out draws say of each level, with `level='auto'`.
  """

  grid: Float[Array, '*cells k']
  radius: Float[Array, 'k']
  largest: Float[Array, 'k']
  flat: Float[Array, 'k']
  solver: total_variation.TvInfo
  leg: leg.LegInfo | tuple[()]
  choice: held_out.Choice | tuple[()] = ()


def leg_tv(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  radius: radii.Radius = radii.relative,
  level: types.Scalar | Float[Array, '*l'] | Literal['auto'] = 0.05,
  cells: int | tuple[int, int] = 28,
  sigma: types.Scalar | Literal['auto'] = 0.05,
  keep: types.Scalar = 0.5,
  num_samples: int | None = None,
  covariance: covariances.Covariance = leg.white,
  colours: Callable[[int], moving.Colours] = leg.grey,
  antithetic: bool = True,
  clip: bool = False,
  stretch: stretching.Stretch = leg.nearest,
  draw: draws.Draw = leg.orthogonal,
  masker: maskers.Constructor | None = None,
  edges: Any = None,
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
      'auto' takes of `held_out.LEVELS` the `K_L` whose map explains most of the
      score over 256 further draws.
    cells: and all that follow but the solver's two: see `leg`.
    sigma: scale of the noise.
    keep: share of the score that is left at `sigma='auto'`.
    num_samples: perturbed images; `None` takes 3136, rounded up.
    covariance: of the noise.
    colours: how it moves the channels.
    antithetic: whether it is used with both signs.
    clip: whether perturbed images are clipped to [0, 1].
    stretch: from cells to pixels.
    draw: of the noise before it is given its covariance.
    masker: its players move, in the place of cells. Neighbours are those on the
      grid of its players.
    edges: or those that these join, `[m, 2]`, such as superpixels that touch,
      columns that go together, or all pairs: see `leg`. Players without an
      order, such as columns, have no others.
    num_steps: of the solver at most; `None` takes the solver's own default.
    tolerance: relative gap at which the solver stops; `info.solver.converged`
      says of each map whether it did.
    batch_size: perturbed images held in memory at once; `None` holds all.

  Returns:
    Scores `[*l, H, W, k]`, or `[*l, ...]` as the masker spreads them, and
    `LegTvInfo`.

  Raises:
    ValueError: as `leg`, for a bad level, and for players without an order
      beside no edges.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> maps, info = saliency_jax.leg_tv(
    ...   lambda x: x[:4].sum(),
    ...   jnp.ones((8, 8, 1)),
    ...   key=jax.random.key(0),
    ...   cells=2,
    ...   num_samples=16,
    ... )
    >>> maps.shape, info.grid.shape
    ((8, 8, 1), (2, 2, 1))
  """
  if masker is None:
    x = examples.floats(x)
    moves = moving.of_image(x, cells, colours, stretch, clip)
  else:
    x = examples.arrays(x)
    checks.no_masker(leg_tv, cells=cells, colours=colours, stretch=stretch)
    players = checks.constructor(masker)(x, key=key)
    if not players.ordered:
      graphs.required(edges)
    moves = moving.of_masker(players, clip)
  moves = moving.on_graph(moves, edges)
  design = leg.Design(
    sigma, keep, num_samples, covariance, antithetic, draw, batch_size
  )
  auto = _is_auto(level, radius)
  level = jnp.asarray(held_out.LEVELS) if auto else level
  info, num_terms, term, noise = leg.estimate(fn, x, key, moves, design)
  steps = {'num_steps': num_steps, 'tolerance': tolerance}
  evidence = radii.Evidence(
    moves.on, info.moment, jnp.zeros(()), num_terms, term, key, batch_size
  )
  solved = _solve(
    info.grid, evidence, covariance, info.sigma, radius, level, steps
  )
  if auto:
    choice = held_out.choose(
      solved.grid,
      fn,
      moves,
      noise,
      key,
      num_signs=2 if antithetic else 1,
      batch_size=batch_size,
    )
    level = choice.levels[choice.chosen]
    solved = jax.tree.map(lambda a: a[choice.chosen], solved)
    solved = solved._replace(choice=choice)
    info = info._replace(num_calls=info.num_calls + choice.num_calls)
  spread = _for_each(moves.spread, level)
  return examples.attribution(x, spread(solved.grid), solved._replace(leg=info))


def leg_tv_of_moment(
  total: Float[Array, '*cells k'],
  num_terms: int,
  *,
  sigma: types.Scalar,
  covariance: covariances.Covariance = leg.white,
  radius: radii.Radius = radii.relative,
  level: types.Scalar | Float[Array, '*l'] = 0.05,
  edges: Any = None,
  num_steps: int | None = None,
  tolerance: types.Scalar = 1e-3,
) -> types.Attribution:
  """Solves LEG-TV where only the sum of `d_i z_i` may leave its owner.

  Whoever holds the model and the example sends `num_terms * leg's moment`, from
  noise of the given covariance; neither a score nor an image is disclosed.

  Args:
    total: `sum_i d_i z_i`, one grid for each of `k` maps, or `[p, k]` with
      edges.
    num_terms: independent terms of the sum.
    sigma: scale of the noise.
    covariance: of the noise.
    radius: as in `leg_tv`, but for `bootstrap`, which needs the terms.
    level: as in `leg_tv`.
    edges: as in `leg_tv`.
    num_steps: as in `leg_tv`.
    tolerance: as in `leg_tv`.

  Returns:
    Scores on the grid, `[*cells, k]`, and `LegTvInfo`, whose `leg` is empty.
  """
  if total.ndim < 2:
    raise ValueError(f'expected a sum [*cells, k], got shape {total.shape}')
  checks.count('num_terms', num_terms)
  moment, cells = total / num_terms, total.shape[:-1]
  on = grid.operator(*cells)
  if edges is not None:
    on = graph.operator(edges, math.prod(cells))
  spectrum = covariances.scaled(covariance, on.eigenvalues, sigma, total.dtype)
  g = _each(lambda u: on.filtered(u, 1 / spectrum))(moment)
  evidence = radii.Evidence(on, moment, jnp.zeros(()), num_terms)
  steps = {'num_steps': num_steps, 'tolerance': tolerance}
  info = _solve(g, evidence, covariance, sigma, radius, level, steps)
  return types.Attribution(info.grid, info)


def summed_by_size(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  **settings: Any,
) -> types.Attribution:
  """Makes the map that the paper shows: the sizes of the channels' maps summed.

  Args:
    fn: score of one example; no gradient is taken.
    x: the image.
    key: consumed; required.
    **settings: of `leg_tv`, in the place of some of `PAPER`.
  """
  method = functools.partial(leg_tv, **{**PAPER, **settings})
  method = transforms.sum_channels(transforms.absolute(method))
  return method(fn, x, key=key)


def _is_auto(level, radius):
  """Returns whether held-out draws choose the level, or raises."""
  if not isinstance(level, str):
    return False
  if level != 'auto' or radius is not relative:
    raise ValueError(
      "level must be numbers, or 'auto' for radius=leg_tv.relative, got "
      f'{level!r}'
    )
  return True


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
  on = evidence.on
  solve, reach = _problem(on, covariance, sigma, g.dtype)
  step = jax.vmap(flows.largest, in_axes=-1)(_each(on.difference)(g))
  largest = jax.vmap(reach, in_axes=-1)(g)
  evidence = evidence._replace(largest=largest)
  solve = functools.partial(
    solve, **{name: n for name, n in steps.items() if n is not None}
  )

  def one(level):
    limit = radius(evidence, level)
    checks.same_shape('the result of radius', limit, largest)
    solution = jax.vmap(solve, in_axes=(-1, 0))(g, limit)
    flat = jax.vmap(functools.partial(_flat, on))(solution.value, step)
    value = jnp.moveaxis(solution.value, 0, -1)
    return LegTvInfo(value, limit, largest, flat, solution.info, ())

  return _for_each(one, level)(level)


def _problem(on, covariance, sigma, dtype):
  """Returns the solver of `(g, L)`, and the `L` from which on it is constant.

  Where `S` is the Laplacian off the mean, `D^{+T} S = unit D`.
  """
  seen = on.eigenvalues > 0
  ratio = covariance(on.eigenvalues)
  # Rounding must not put what is meant to be `L_max` below it.
  above = 1 + 8 * float(jnp.finfo(dtype).eps)
  if not isinstance(ratio, jax.core.Tracer):
    ratio = np.asarray(ratio, np.float64)[seen] / on.eigenvalues[seen]
    if ratio.size == 0 or np.ptp(ratio) <= 1e-6 * np.max(ratio):
      unit = float(np.mean(ratio)) if ratio.size else 1.0
      unit = unit * jnp.asarray(sigma, dtype) ** 2
      return (
        lambda g, limit, **kwargs: total_variation.tv_box(
          g, above * limit / unit, on=on, **kwargs
        ),
        lambda g: unit * flows.largest(on.difference(g)),
      )
  spectrum = covariances.scaled(covariance, on.eigenvalues, sigma, dtype)
  return (
    lambda g, limit, **kwargs: dantzig.tv_dantzig(
      g, above * limit, spectrum, on=on, **kwargs
    ),
    lambda g: dantzig.largest_radius(g, spectrum, on=on),
  )


def _flat(on, g, step):
  """Returns the share of the edges with next to no difference."""
  d = flows.magnitude(on.difference(g))
  low = jax.tree.map(lambda a: (a <= 1e-3 * step).astype(g.dtype), d)
  return flows.total(low) / max(1, flows.count(low))
