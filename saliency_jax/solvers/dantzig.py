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

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
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
  inverse = on.inverse_eigenvalues(g.dtype)
  gain = _checked_spectrum(spectrum, g, on) * inverse
  waves, score = _score(g, gain, on)
  b = on.waves_difference(waves)
  constant = radius >= flows.largest(score)

  # Units in which |Dg|, the weights and |k D M g| have mean one.
  scale, weight_scale = tv.mean_size(b), tv.mean_size(weights)
  unit = 1 / tv.mean_size(score)
  b = _map(lambda b: b / scale, b)
  weights = _map(lambda w: w / weight_scale, weights)
  waves = waves / scale
  score = _map(lambda e: e * unit, score)
  gain, limit = gain * (scale * unit), radius * unit
  inverse_gain = jnp.where(gain > 0, 1 / jnp.where(gain > 0, gain, 1), 0)

  def prox(z, step, aim):
    a = _map(lambda z, b, w: tv.soft(z + b, step[0] * w) - b, z[0], b, weights)
    return a, _map(lambda z: jnp.clip(z, -aim * limit, aim * limit), z[1])

  def forward(c):
    return on.waves_difference(c), on.waves_difference(gain * c)

  flux = lambda l: on.waves(on.adjoint(l))

  def pinv(r, step):
    normal = inverse / (1 / step[0] + gain**2 / step[1])
    return normal * (flux(r[0]) / step[0] + gain * flux(r[1]) / step[1])

  def lowest(flow):
    l, n = flow
    value = _map(lambda l, b, n: -l * b - limit * jnp.abs(n), l, b, n)
    return flows.total(value)

  def slack(move, flow):
    """Returns the gap as a sum over edges of terms that are not negative."""
    value = lambda w, a, l, n, e: (
      (w * jnp.abs(a) + l * a) + (limit * jnp.abs(n) + n * e)
    )
    a = _map(jnp.add, b, move[0])
    return flows.total(_map(value, weights, a, flow[0], flow[1], move[1]))

  count = flows.count(weights)
  lightest = tv.positive(flows.least(weights))

  def split(defect, objective):
    """Returns the flows that carry a defect, each the waves it is best at.

    A part `D'm` of it can be taken from `l`, where it counts by the largest
    `m / w`, times the objective, or as `k M D'm` from `n`, where it counts by
    the limit times the sum of `|m|`: for the waves that `M` does not shrink.
    """
    slow = gain * (objective / lightest) > limit * count
    part = inverse * defect
    return (
      on.waves_difference(jnp.where(slow, 0, part)),
      on.waves_difference(jnp.where(slow, inverse_gain * part, 0)),
    )

  def look(best, c, move, flow):
    shrink = tv.shrinkage(flows.largest(move[1]), limit)
    c, move = _map(lambda v: shrink * v, (c, move))
    objective = flows.total(_cost(weights, _map(jnp.add, b, move[0])))
    best = tv.lower(best, objective, (c, move))

    l, n = flow
    sources = flux(n)
    clipped = _map(lambda l, w: jnp.clip(l, -w, w), l, weights)
    extra = inverse * (sources + inverse_gain * flux(clipped))
    legal = clipped, _map(jnp.subtract, n, on.waves_difference(extra))
    best = tv.higher(best, lowest(legal), legal)

    defect = flux(l) + gain * sources
    l, n = _map(jnp.subtract, flow, split(defect, best.objective))
    over = _map(lambda l, w: jnp.abs(l) / tv.positive(w), l, weights)
    legal = _map(lambda v: v / jnp.maximum(flows.largest(over), 1), (l, n))
    best = tv.higher(best, lowest(legal), legal)

    # What rounding left moves the bound by its product with two grids.
    l, n = best.flow
    m, k = split(flux(l) + gain * flux(n), best.objective)
    left = limit * flows.total(flows.magnitude(k))
    left = 2 * (left + best.objective * flows.largest(m) / lightest)
    gap = slack(best.displacement[1], best.flow) + left
    best = best._replace(gap=jnp.where(constant, 0, gap))
    price = limit * flows.total(flows.magnitude(n))
    share = jnp.minimum(0.25 * best.objective / tv.positive(price), 1)
    aim = 1 - jnp.asarray(tolerance, g.dtype) * share
    return best, best.gap / tv.positive(best.objective), aim

  # The first guess of the penalties: the cube root of the condition of `M` was
  # within 20% of the best one for white noise and for the paper's covariance.
  others = gain[on.eigenvalues > 0]
  condition = jnp.cbrt(
    jnp.max(others, initial=0) / tv.positive(jnp.min(others, initial=jnp.inf))
  )
  condition = jnp.where(jnp.isfinite(condition), condition, 1)
  all_of_it = waves, (b, score)
  none = _map(jnp.zeros_like, all_of_it)
  start = tv.Best(
    jnp.where(constant, 0, flows.total(_cost(weights, b))),
    _map(lambda v, none: jnp.where(constant, -v, none), all_of_it, none),
    jnp.zeros((), g.dtype),
    none[1],
    jnp.full((), jnp.inf, g.dtype),
  )
  run = douglas_rachford.solve(
    douglas_rachford.Problem(prox, forward, pinv),
    douglas_rachford.State(
      *none, (0.1 * condition, 0.1 / condition), jnp.ones((), g.dtype)
    ),
    look=look,
    seen=start,
    num_looks=-(-num_steps // douglas_rachford.CHECK_EVERY),
    tolerance=tolerance,
  )
  c, move = run.seen.displacement
  unit_objective = scale * weight_scale
  info = tv.summary(
    run,
    objective=jnp.where(constant, 0, run.seen.objective) * unit_objective,
    gap=run.seen.gap * unit_objective,
    violation=jnp.maximum(flows.largest(move[1]) - limit, 0) / unit,
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


def _score(g, gain, on):
  """Returns the coefficients of `g` without its means, and `D M g`."""
  waves = jnp.where(on.eigenvalues > 0, on.waves(g - on.means(g)), 0)
  return waves, on.waves_difference(gain * waves)


def _cost(weights, a):
  return _map(lambda w, a: w * jnp.abs(a), weights, a)


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
