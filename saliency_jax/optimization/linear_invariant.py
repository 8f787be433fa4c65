"""The largest box on which a linearised decision holds: LP and LP(Smooth).

    argmax_{0 <= u, v <= delta} sum_k (u_k + v_k) - 2 d lambda xi,   xi >= 0,
    s.t.  sum_k max(0, -h_k) u_k + max(0, h_k) v_k - xi <= g - <h, n>

for every margin `g = f_c - f_j` of logits (`scores.margins`) and its
gradient `h`, both at `x + n`: at `n = 0` alone (LP), and at noisy copies, too
(LP(Smooth)). The left side is the worst of `-<h, r>` over the box, and the
right side follows from `f(x + r) ~ f(x + n) + <h, r - n>`. The authors' code
adds `<h, n>` instead, so that noise moves the box of a linear model; here all
constraints of a linear model are one. The scores are `-(u + v) / 2`.

References:
  Hara, Ikeno, Soma and Maehara, Maximally invariant data perturbation as
  explanation, 2018. https://arxiv.org/abs/1806.07004
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.optimization import boxes
from saliency_jax.solvers import primal_dual


class LinearInvariantInfo(NamedTuple):
  """The box, how well the program is solved, and how well it stands for `fn`.

  Attributes:
    box: widths, shared by entries as asked.
    saturated: share of the widths within a thousandth of `most`: they tie.
    slack: `xi`, by how much the worst linearised margin falls below zero.
    solver: of the program over `2 d`: its objective is minus the mean width
      plus `lambda xi`.
    inspection: of the box, by `fn` itself.
  """

  box: boxes.Box
  saturated: Float[Array, '']
  slack: Float[Array, '']
  solver: primal_dual.LinearProgramInfo
  inspection: boxes.Inspection


def linear_invariant(
  fn: types.MarginsFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  slack: types.Scalar | None = 0.5,
  max_width: types.Scalar = 0.1,
  num_noisy: int = 0,
  sigma: types.Scalar = 0.05,
  patch: int = 8,
  per_channel: bool = True,
  num_steps: int = 4000,
  num_checks: int = 256,
  num_ascent: int = 20,
  batch_size: int | None = None,
) -> types.Attribution:
  """Finds the largest box on which the linearised decision holds.

  Args:
    fn: margins of the decision, `scores.margins` in the paper; each has
      its gradient taken, at each noisy copy.
    x: the example.
    key: consumed; required.
    slack: `lambda`, .5 in the paper and 1e-4 in the authors' code; `None`
      allows no slack.
    max_width: largest width `delta`.
    num_noisy: noisy copies of `x`; 10 for LP(Smooth).
    sigma: deviation of their noise.
    patch: side of the squares that share a width.
    per_channel: whether each channel has its own.
    num_steps: of the solver.
    num_checks: fresh draws that the box is judged by.
    num_ascent: steps of the ascent that it is judged by.
    batch_size: model calls held in memory at once; `None` holds all.

  Returns:
    Scores, minus the mean of both widths, and `LinearInvariantInfo`.

  Raises:
    ValueError: for a score of one number, which may be no margin.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> margins = lambda x: jnp.array([x[0], 1 + x[0] + x[1]])  # Of two others.
    >>> maps, info = saliency_jax.linear_invariant(
    ...   margins, jnp.ones(3), key=jax.random.key(0), patch=1, num_steps=200
    ... )
    >>> maps.shape, bool((maps <= 0).all())
    ((3,), True)
  """
  x = examples.floats(x)
  checks.within('max_width', max_width, '(0, inf)')
  checks.count('num_noisy', num_noisy, 0)
  checks.within('sigma', sigma, '[0, inf)')
  if slack is not None:
    checks.within('slack', slack, '[0, inf)')
  shape = boxes.grid_shape(x, patch, per_channel)
  spread = lambda cells: boxes.spread(cells, x.shape, patch)
  cells = jnp.zeros(shape, x.dtype)
  fn = boxes.margins_of(fn)
  gather = lambda h: jax.linear_transpose(spread, cells)(h)[0].ravel()

  matrix, limits = _constraints(
    fn, x, gather, key, num_noisy, sigma, batch_size
  )
  costs = gather(jnp.full_like(x, -1 / (2 * x.size)))
  costs = jnp.concatenate([costs, costs])
  upper = jnp.full_like(costs, max_width)
  if slack is not None:
    # More slack than the largest box needs is never of use.
    enough = jnp.max(jnp.sum(matrix, 1) * upper[0] - limits, initial=0)
    matrix = jnp.pad(matrix, ((0, 0), (0, 1)), constant_values=-1)
    costs = jnp.append(costs, jnp.asarray(slack, x.dtype))
    upper = jnp.append(upper, enough)
  solved, info = primal_dual.pdhg(
    costs,
    matrix,
    limits,
    lower=jnp.zeros_like(costs),
    upper=upper,
    num_steps=num_steps,
  )
  up, down = (w.reshape(shape) for w in jnp.split(solved[: 2 * cells.size], 2))
  widths = boxes.Box(down=down, up=up)
  box = boxes.Box(down=spread(down), up=spread(up))
  inspection = boxes.inspect(
    fn,
    x,
    box,
    key=key,
    num_draws=num_noisy + 1,
    num_checks=num_checks,
    num_ascent=num_ascent,
    batch_size=batch_size,
  )
  saturated = solved[: 2 * cells.size] >= 0.999 * upper[0]
  info = LinearInvariantInfo(
    box=widths,
    saturated=jnp.mean(saturated.astype(x.dtype)),
    slack=jnp.zeros((), x.dtype) if slack is None else solved[-1],
    solver=info,
    inspection=inspection,
  )
  return types.Attribution(-(box.down + box.up) / 2, info)


def _constraints(fn, x, gather, key, num_noisy, sigma, batch_size):
  """Returns the matrix, of `u` and then of `v`, and the right-hand side."""
  (num_margins,) = jax.eval_shape(fn, x).shape

  def row(index):
    copy, j = index // num_margins, index % num_margins
    noise = jnp.zeros_like(x)
    if num_noisy:
      scale = jnp.where(copy > 0, jnp.asarray(sigma, x.dtype), 0)
      noise = scale * sampling.normal(sampling.draw_key(key, copy), x)
    value, h = jax.value_and_grad(lambda x: fn(x)[j])(x + noise)
    row = [gather(jnp.maximum(-h, 0)), gather(jnp.maximum(h, 0))]
    offset = jnp.vdot(h, noise, precision=jax.lax.Precision.HIGHEST)
    return jnp.concatenate(row), value - offset

  indices = jnp.arange((num_noisy + 1) * num_margins)
  return sampling.batched_map(row, indices, batch_size=batch_size)
