"""The least total variation that the score of a Gaussian design allows.

`argmin_u sum_e w_e |(Du)_e|  s.t.  |D^{+T} S (u - g)|_inf <= radius,
mean(u) = mean(g)`, for any covariance `S` diagonal in the DCT-II basis: LEG-TV
with independent noise (`S = sigma^2 I`) or any other spectrum. With the paper's
covariance `total_variation.py` is the same problem and five times faster.

`D^{+T} S = D M`, `M = S (D'D)^+`, is diagonal in the basis too, so ADMM with a
second split, `(a, e) = (Dd, k D M d)` of the displacement `d = u - g`, projects
by cosine transforms as well. Flows `(l, n)` with `D'l + k M D'n = 0` and
`|l| <= w` bound the optimum by `-<l, Dg> - k radius |n|_1`; any pair is made
one of these by clipping `l` and correcting `n` by a transform. `M` is as ill
conditioned as the spectrum is far from the Laplacian's, and so is the solve.

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
from saliency_jax.solvers import grid
from saliency_jax.solvers import splitting
from saliency_jax.solvers import total_variation as tv


def tv_covariance_box(
  g: Float[Array, 'h w'],
  radius: types.Scalar,
  spectrum: Float[Array, 'h w'],
  *,
  weights: grid.Edges | None = None,
  num_steps: int = 2000,
  tolerance: types.Scalar = 1e-3,
) -> types.Solution:
  """Minimises total variation within `radius` of the score equations of `g`.

  Args:
    g: the grid to simplify.
    radius: at least 0, in the units of `g` times those of the spectrum.
    spectrum: positive eigenvalues of `S`, laid out as `grid.dct` does; that of
      the mean, `[0, 0]`, has no effect.
    weights: at least 0, of each edge; `None` weighs them 1.
    num_steps: rounded up to a multiple of `splitting.CHECK_EVERY`.
    tolerance: relative gap that `info.steps_to_tolerance` refers to.

  Returns:
    The grid and `TvInfo`, as `tv_box` does; the violation is in the units of
    the radius.

  Raises:
    ValueError: as `tv_box`, and on a spectrum of wrong shape or not positive.
  """
  radius, weights = tv.checked(g, radius, weights, num_steps)
  inverse = grid.inverse_eigenvalues(*g.shape, g.dtype)
  gain = _checked_spectrum(spectrum, g) * inverse
  centred = g - jnp.mean(g)
  b = grid.difference(centred)
  score = grid.difference(grid.filtered(centred, gain))
  constant = radius >= grid.largest(score)

  # Units in which |Dg|, the weights and |D M g| have mean one. The second
  # split is then made heavier the worse M is conditioned: the cube root was
  # within 20% of the best factor for white noise and for the paper's.
  scale, heft = tv.mean_size(b), tv.mean_size(weights)
  b = jax.tree.map(lambda b: b / scale, b)
  weights = jax.tree.map(lambda w: w / heft, weights)
  centred = centred / scale
  others = gain.reshape(-1)[1:]
  condition = jnp.cbrt(
    jnp.max(others, initial=0) / tv.positive(jnp.min(others, initial=jnp.inf))
  )
  condition = jnp.where(jnp.isfinite(condition), condition, 1)
  unit = condition * scale / tv.mean_size(score)
  gain = unit * gain
  limit = radius * unit / scale
  inverse_gain = jnp.where(gain > 0, 1 / jnp.where(gain > 0, gain, 1), 0)
  normal = inverse / (1 + gain**2)

  def prox(z, step):
    a = jax.tree.map(
      lambda z, b, w: tv.soft(z + b, step * w) - b, z[0], b, weights
    )
    return a, jax.tree.map(lambda z: jnp.clip(z, -limit, limit), z[1])

  # The coordinates are d and k M d, so that no step transforms their sum.
  def forward(u):
    return grid.difference(u[0]), grid.difference(u[1])

  def pinv(r):
    c = grid.dct(grid.adjoint(r[0])) + gain * grid.dct(grid.adjoint(r[1]))
    return grid.idct(normal * c), grid.idct(gain * normal * c)

  def defect(flow):
    """Returns what must be taken from `n` for `(l, n)` to bound anything."""
    l, n = flow
    c = grid.dct(grid.adjoint(n)) + inverse_gain * grid.dct(grid.adjoint(l))
    return grid.difference(grid.idct(inverse * c))

  def legal(flow):
    l = jax.tree.map(lambda l, w: jnp.clip(l, -w, w), flow[0], weights)
    n = jax.tree.map(jnp.subtract, flow[1], defect((l, flow[1])))
    return l, n

  def cost(a):
    return jax.tree.map(lambda w, a: w * jnp.abs(a), weights, a)

  def lowest(flow):
    l, n = flow
    return grid.total(
      jax.tree.map(lambda l, b, n: -l * b - limit * jnp.abs(n), l, b, n)
    )

  def slack(d, e, flow):
    """Returns the gap as a sum over edges of terms that are not negative."""
    l, n = flow
    a = jax.tree.map(jnp.add, b, grid.difference(d))
    return grid.total(
      jax.tree.map(
        lambda w, a, l, n, e: (
          (w * jnp.abs(a) + l * a) + (limit * jnp.abs(n) + n * e)
        ),
        weights,
        a,
        l,
        n,
        e,
      )
    )

  problem = splitting.Problem(prox, forward, pinv)

  def look(best, u, point, flow):
    shrink = tv.shrinkage(grid.largest(point[1]), limit)
    u = jax.tree.map(lambda u: shrink * u, u)
    a = jax.tree.map(lambda b, v: b + shrink * v, b, point[0])
    flow = legal(flow)
    best = tv.better(best, grid.total(cost(a)), u, lowest(flow), flow)
    d, e = best.displacement
    gap = slack(d, grid.difference(e), best.flow)
    return best, jnp.where(constant, 0, gap / tv.positive(best.objective))

  zeros = jnp.zeros_like(g)
  none = forward((zeros, zeros))
  start = tv.Best(
    jnp.where(constant, 0, grid.total(cost(b))),
    (
      jnp.where(constant, -centred, 0),
      jnp.where(constant, -grid.filtered(centred, gain), 0),
    ),
    jnp.zeros((), g.dtype),
    none,
  )
  last, best, trace = splitting.douglas_rachford(
    problem,
    splitting.State((zeros, zeros), none, 0.1 * condition),
    look=look,
    seen=start,
    num_looks=-(-num_steps // splitting.CHECK_EVERY),
  )

  # The second coordinate has gathered the rounding of all steps.
  d = best.displacement[0]
  e = grid.difference(grid.filtered(d, gain))
  shrink = tv.shrinkage(grid.largest(e), limit)
  d = shrink * d
  e = jax.tree.map(lambda e: shrink * e, e)
  flow = legal(best.flow)
  left = 2 * limit * grid.total(grid.magnitude(defect(flow)))
  gap = slack(d, e, flow) + left
  objective = grid.total(cost(jax.tree.map(jnp.add, b, grid.difference(d))))
  info = tv.summary(
    objective=jnp.where(constant, 0, objective * scale * heft),
    gap=jnp.where(constant, 0, gap * scale * heft),
    violation=jnp.maximum(grid.largest(e) - limit, 0) * scale / unit,
    residuals=splitting.residuals(problem, last),
    scale=scale,
    trace=trace,
    tolerance=tolerance,
  )
  u = jnp.where(constant, jnp.mean(g), g + scale * d)
  u = jnp.where(jnp.isnan(info.gap), jnp.nan, u)
  return types.Solution(value=u, info=info)


def _checked_spectrum(spectrum, g):
  """Returns the spectrum as an array, or raises what is wrong with it."""
  if jnp.shape(spectrum) != jnp.shape(g):
    raise ValueError(
      f'spectrum must have the shape {list(g.shape)} of g, '
      f'got {list(jnp.shape(spectrum))}.'
    )
  if not isinstance(spectrum, jax.core.Tracer):
    others = np.asarray(spectrum).reshape(-1)[1:]
    if not np.all(others > 0):
      raise ValueError(
        f'spectrum must be positive, got {np.min(others)} off the mean.'
      )
  # A traced one cannot be refused, so it is made to show.
  spectrum = jnp.asarray(spectrum, g.dtype).at[0, 0].set(1)
  return jnp.where(spectrum > 0, spectrum, jnp.nan)
