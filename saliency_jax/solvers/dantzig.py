"""A Dantzig selector in total variation, of the score of a Gaussian design.

`argmin_u sum_e w_e |(Du)_e| s.t. |D^{+T} S (u - g)|_inf <= radius, mean(u) =
mean(g)`, for any covariance `S` diagonal in the waves of the graph
(`operators.py`), which are the DCT-II basis on a grid: LEG-TV with independent
noise (`S = sigma^2 I`) or any other spectrum. With the paper's covariance
`total_variation.py` is the same problem, and faster.

`D^{+T} S = D M`, `M = S (D'D)^+`, is diagonal in the waves too, so ADMM with a
second split, `(a, e) = (Dd, k D M d)` of the displacement `d = u - g`, projects
by these transforms as well; each split has a penalty of its own. The unknown
is `V'd`: `M` is as ill conditioned as the spectrum is far from the Laplacian's,
and its coefficients keep their digits where the sum of their waves would not.

Flows `(l, n)` with `D'l + k M D'n = 0` and `|l| <= w` bound the optimum by
`-<l, Dg> - k radius |n|_1`. Two are made of each iterate: `l` clipped and `n`
corrected for it, which inverts `M` and is useless on a steep spectrum; and both
scaled until `|l| <= w`, which inverts nothing. Bringing a point that is outside
by a hair back towards `g` costs a hair of `|Dg|_1`, many times the optimum. So
the iteration aims at a box that is smaller by a hair: by what `k radius |n|_1`,
the slope of the optimum in the box, says to cost a quarter of the tolerance.

In float32 a gap of 1e-3 takes 60 to 3200 steps for `white` and `smooth` on
grids of 14 and 28 and radii of .02 to .3 of the largest, and 150 to 5800 for
`white` at 56 and 112. `smooth` takes 2500 to 5700 at 56 where it gets there,
and stops at gaps of 1e-3 to 8e-3 at 56 and 112: `info.converged` says so.

References:
  Luo, Barut, Jin, Statistically consistent saliency estimation, 2021.
    https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
  Candes and Tao, The Dantzig selector, 2007.
    https://arxiv.org/abs/math/0506081
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
import numpy as np

from saliency_jax.core import types
from saliency_jax.solvers import douglas_rachford
from saliency_jax.solvers import flows
from saliency_jax.solvers import operators
from saliency_jax.solvers import total_variation as tv

_map = jax.tree.map


def tv_dantzig(
  g: Float[Array, '*cells'],
  radius: types.Scalar,
  spectrum: Float[Array, '*cells'],
  *,
  weights: flows.Flow | None = None,
  on: operators.Operator | None = None,
  num_steps: int = 6000,
  tolerance: types.Scalar = 1e-3,
) -> types.Solution:
  """Minimises total variation within `radius` of the score equations of `g`.

  Args:
    g: the map to simplify: a grid of any number of axes, or as `on` says.
    radius: at least 0, in units of `g` times units of the spectrum. From
      `largest_radius(g, spectrum)` on the result is constant.
    spectrum: positive eigenvalues of `S`, laid out as the waves are; the first,
      of the mean, has no effect.
    weights: at least 0, of each edge; `None` weighs them 1.
    on: the graph; `None` is the grid of the shape of `g`.
    num_steps: at most, in whole blocks of `douglas_rachford.CHECK_EVERY`.
    tolerance: relative gap at which to stop; `info.converged` says if it did.

  Returns:
    The map and `TvInfo`, as `tv_box` does; the violation is in the units of
    the radius.

  Raises:
    ValueError: as `tv_box`, and on a spectrum of wrong shape or not positive.
  """
  on = tv.operator_of(g, on)
  radius, weights = tv.checked(g, on, radius, weights, num_steps, tolerance)
  gain = _checked_spectrum(spectrum, g, on) * on.inverse_eigenvalues(g.dtype)
  waves, score = _score(g, gain, on)
  constant = radius >= flows.largest(score)

  # Units in which |Dg|, the weights and |k D M g| have mean one.
  b = on.waves_difference(waves)
  scale, weight_scale = tv.mean_size(b), tv.mean_size(weights)
  unit = 1 / tv.mean_size(score)
  problem = _Problem(
    on,
    b=_map(lambda b: b / scale, b),
    weights=_map(lambda w: w / weight_scale, weights),
    gain=gain * (scale * unit),
    limit=radius * unit,
    constant=constant,
  )
  to_means = waves / scale, (problem.b, _map(lambda e: e * unit, score))
  run = _run(problem, to_means, num_steps, tolerance)
  c, move = run.seen.displacement
  unit_objective = scale * weight_scale
  info = tv.summary(
    run,
    objective=jnp.where(constant, 0, run.seen.objective) * unit_objective,
    gap=run.seen.gap * unit_objective,
    violation=jnp.maximum(flows.largest(move[1]) - problem.limit, 0) / unit,
    tolerance=tolerance,
  )
  u = jnp.where(constant, on.means(g), g + scale * on.from_waves(c))
  u = jnp.where(jnp.isnan(info.gap), jnp.nan, u)
  return types.Solution(value=u, info=info)


def largest_radius(
  g: Float[Array, '*cells'],
  spectrum: Float[Array, '*cells'],
  *,
  on: operators.Operator | None = None,
) -> Float[Array, '']:
  """Returns `|D^{+T} S g|_inf`, from which on the solution is constant."""
  on = tv.operator_of(g, on)
  gain = _checked_spectrum(spectrum, g, on) * on.inverse_eigenvalues(g.dtype)
  return flows.largest(_score(g, gain, on)[1])


class _Problem(NamedTuple):
  """The problem in its own units: displacements as waves `c`, `d = V c`.

  Attributes:
    on: the graph.
    b: `Dg`.
    weights: of the edges.
    gain: eigenvalues of `k M`.
    limit: the bound of `|k D M d - k D M g|`, about `g`.
    constant: whether the solution is constant, and nothing is to be found.
  """

  on: operators.Operator
  b: flows.Flow
  weights: flows.Flow
  gain: Float[Array, '*cells']
  limit: Float[Array, '']
  constant: Bool[Array, '']

  @property
  def inverse(self):
    """Eigenvalues of the pseudo-inverse of `D'D`."""
    return self.on.inverse_eigenvalues(self.gain.dtype)

  @property
  def inverse_gain(self):
    """Eigenvalues of the pseudo-inverse of `k M`."""
    moved = self.gain > 0
    return jnp.where(moved, 1 / jnp.where(moved, self.gain, 1), 0)

  def flux(self, l):
    """Returns the waves of `D'l`."""
    return self.on.waves(self.on.adjoint(l))


def _run(problem, to_means, num_steps, tolerance):
  """Iterates from `g`; where the solution is constant it is found already.

  `to_means` is `g` less its means: its waves, and both splits of it.
  """
  dtype = problem.gain.dtype
  none = _map(jnp.zeros_like, to_means)
  start = tv.Best(
    jnp.where(problem.constant, 0, flows.total(_cost(problem, none[1][0]))),
    _map(lambda v, z: jnp.where(problem.constant, -v, z), to_means, none),
    jnp.zeros((), dtype),
    none[1],
    jnp.full((), jnp.inf, dtype),
  )
  condition = _condition(problem)
  return douglas_rachford.solve(
    _splitting(problem),
    douglas_rachford.State(
      *none, (0.1 * condition, 0.1 / condition), jnp.ones((), dtype)
    ),
    look=functools.partial(_look, problem, tolerance),
    seen=start,
    num_looks=-(-num_steps // douglas_rachford.CHECK_EVERY),
    tolerance=tolerance,
  )


def _condition(problem):
  """Returns the first guess of the penalties, which are a ratio.

  The cube root of the condition of `M` was within 20% of the best one for white
  noise and for the paper's covariance.
  """
  others = problem.gain[problem.on.eigenvalues > 0]
  condition = jnp.cbrt(
    jnp.max(others, initial=0) / tv.positive(jnp.min(others, initial=jnp.inf))
  )
  return jnp.where(jnp.isfinite(condition), condition, 1)


def _splitting(problem):
  """Returns the two splits, `(a, e) = (Dd, k D M d)`, for the iteration."""
  on, gain, limit = problem.on, problem.gain, problem.limit
  inverse = problem.inverse

  def prox(z, step, aim):
    a = _map(
      lambda z, b, w: tv.soft(z + b, step[0] * w) - b,
      z[0],
      problem.b,
      problem.weights,
    )
    return a, _map(lambda z: jnp.clip(z, -aim * limit, aim * limit), z[1])

  def forward(c):
    return on.waves_difference(c), on.waves_difference(gain * c)

  def pinv(r, step):
    normal = inverse / (1 / step[0] + gain**2 / step[1])
    return normal * (
      problem.flux(r[0]) / step[0] + gain * problem.flux(r[1]) / step[1]
    )

  return douglas_rachford.Problem(prox, forward, pinv)


def _look(problem, tolerance, best, c, move, flow):
  """Returns the best point and bound so far, their gap, and the next aim."""
  shrink = tv.shrinkage(flows.largest(move[1]), problem.limit)
  c, move = _map(lambda v: shrink * v, (c, move))
  objective = flows.total(_cost(problem, move[0]))
  best = tv.lower(best, objective, (c, move))
  for legal in (_clipped(problem, flow), _scaled(problem, flow, best)):
    best = tv.higher(best, _lowest(problem, legal), legal)
  gap = _slack(problem, best) + _rounding(problem, best)
  best = best._replace(gap=jnp.where(problem.constant, 0, gap))
  price = problem.limit * flows.total(flows.magnitude(best.flow[1]))
  share = jnp.minimum(0.25 * best.objective / tv.positive(price), 1)
  aim = 1 - jnp.asarray(tolerance, share.dtype) * share
  return best, best.gap / tv.positive(best.objective), aim


def _clipped(problem, flow):
  """Returns flows that balance: `l` is clipped, and `n` corrected for it."""
  l, n = flow
  clipped = _map(lambda l, w: jnp.clip(l, -w, w), l, problem.weights)
  extra = problem.flux(n) + problem.inverse_gain * problem.flux(clipped)
  extra = problem.on.waves_difference(problem.inverse * extra)
  return clipped, _map(jnp.subtract, n, extra)


def _scaled(problem, flow, best):
  """Returns flows that balance: both are scaled until `l` is legal."""
  l, n = _map(jnp.subtract, flow, _carriers(problem, flow, best.objective))
  over = _map(lambda l, w: jnp.abs(l) / tv.positive(w), l, problem.weights)
  return _map(lambda v: v / jnp.maximum(flows.largest(over), 1), (l, n))


def _carriers(problem, flow, objective):
  """Returns the flows that carry a defect, each the waves it is best at.

  A part `D'm` of `D'l + k M D'n` can be taken from `l`, where it counts by the
  largest `m / w`, times the objective, or as `k M D'm` from `n`, where it
  counts by the limit times the sum of `|m|`: for the waves that `M` does not
  shrink.
  """
  on, gain = problem.on, problem.gain
  defect = problem.flux(flow[0]) + gain * problem.flux(flow[1])
  lightest = tv.positive(flows.least(problem.weights))
  count = flows.count(problem.weights)
  slow = gain * (objective / lightest) > problem.limit * count
  part = problem.inverse * defect
  return (
    on.waves_difference(jnp.where(slow, 0, part)),
    on.waves_difference(jnp.where(slow, problem.inverse_gain * part, 0)),
  )


def _lowest(problem, flow):
  """Returns the bound that flows give."""
  l, n = flow
  value = _map(
    lambda l, b, n: -l * b - problem.limit * jnp.abs(n), l, problem.b, n
  )
  return flows.total(value)


def _slack(problem, best):
  """Returns the gap, a sum over edges of terms that are not negative."""
  (move, score), (l, n) = best.displacement[1], best.flow
  value = lambda w, a, l, n, e: (
    (w * jnp.abs(a) + l * a) + (problem.limit * jnp.abs(n) + n * e)
  )
  a = _map(jnp.add, problem.b, move)
  return flows.total(_map(value, problem.weights, a, l, n, score))


def _rounding(problem, best):
  """Returns by how much rounding may have moved the bound."""
  m, k = _carriers(problem, best.flow, best.objective)
  lightest = tv.positive(flows.least(problem.weights))
  left = problem.limit * flows.total(flows.magnitude(k))
  return 2 * (left + best.objective * flows.largest(m) / lightest)


def _cost(problem, move):
  """Returns `w |D(g + d)|` of each edge, `Dd` the first split."""
  a = _map(jnp.add, problem.b, move)
  return _map(lambda w, a: w * jnp.abs(a), problem.weights, a)


def _score(g, gain, on):
  """Returns the coefficients of `g` without its means, and `D M g`."""
  waves = jnp.where(on.eigenvalues > 0, on.waves(g - on.means(g)), 0)
  return waves, on.waves_difference(gain * waves)


def _checked_spectrum(spectrum, g, on):
  """Returns the spectrum as an array, or raises what is wrong with it."""
  if jnp.shape(spectrum) != jnp.shape(g):
    raise ValueError(
      f'spectrum must have the shape {list(g.shape)} of g, '
      f'got {list(jnp.shape(spectrum))}.'
    )
  seen = on.eigenvalues > 0
  if not isinstance(spectrum, jax.core.Tracer):
    others = np.asarray(spectrum)[seen]
    if not np.all(others > 0):
      raise ValueError(
        f'spectrum must be positive, got {np.min(others)} off the mean.'
      )
  # A traced one cannot be refused, so it is made to show.
  spectrum = jnp.where(seen, jnp.asarray(spectrum, g.dtype), 1)
  return jnp.where(spectrum > 0, spectrum, jnp.nan)
