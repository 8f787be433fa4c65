"""Proximal gradient descent with momentum and backtracking (FISTA).

Solves `argmin_x f(x) + g(x)` from the gradient of a smooth convex `f` and the
proximal map of `g`, `prox(v, s) = argmin_x g(x) + |x - v|^2 / (2 s)`:

    x+ = prox(y - s grad f(y), s),   y+ = x+ + (t - 1) / t+ (x+ - x).

jaxopt, which is no longer maintained, is imported here alone, for its proximal
operators; its solvers are oracles in the tests of these.

References:
  Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm for
  linear inverse problems, 2009. https://doi.org/10.1137/080716542
  O'Donoghue and Candes, Adaptive restart for accelerated gradient schemes,
  2015. https://arxiv.org/abs/1204.3982
"""

from collections.abc import Callable
from typing import NamedTuple
import warnings

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from saliency_jax.core import checks
from saliency_jax.core import host
from saliency_jax.core import selection
from saliency_jax.core import types

_HIGHEST = jax.lax.Precision.HIGHEST

Vector = PyTree[Float[Array, '...']]

# Maps a point and a step to the proximal point.
Prox = Callable[[Vector, Float[Array, '']], Vector]


class FistaInfo(NamedTuple):
  """How good the solution is.

  Attributes:
    residual: `|x - prox(x - s grad f(x), s)| / s`, in the units of `grad f`;
      zero at a solution and nowhere else.
    gradient: of `f` at the solution, like it.
    step: last step `s`.
    steps: iterations in which the point moved; in the others the step was
      halved.
    trace: `|x+ - y| / s` of every iteration, the residual at `y`.
  """

  residual: Float[Array, '']
  gradient: Vector
  step: Float[Array, '']
  steps: Int[Array, '']
  trace: Float[Array, 'n']


def lasso(weight: types.Scalar) -> Prox:
  """Returns the proximal map of `weight |x|_1`: shrinks by `weight * step`."""

  def prox(v, step):
    return shrink(v, jnp.asarray(weight, step.dtype) * step)

  return prox


def sparsest(count: types.Scalar) -> Prox:
  """Returns the map that shrinks until `count` entries are zero.

  A point that it leaves alone is one that `lasso` leaves alone at the weight
  `least_threshold(v, count) / step`. No convex `g` stands behind it, so that
  only the residual tells that the iteration has ended.
  """
  return lambda v, step: shrink(v, least_threshold(v, count))


def shrink(v: Vector, threshold: Float[Array, '']) -> Vector:
  """Moves every entry towards zero by a threshold, and no further."""
  with warnings.catch_warnings():
    # Its import warns that it is no longer maintained.
    warnings.simplefilter('ignore', DeprecationWarning)
    from jaxopt import prox

  return prox.prox_lasso(v, threshold)


def least_threshold(v: Vector, count: types.Scalar) -> Float[Array, '']:
  """Returns the least threshold that shrinks `count` entries of `v` to zero.

  That is the `count`-th smallest `|v|`, and 0 for a count of 0.
  """
  size = jnp.abs(jax.flatten_util.ravel_pytree(v)[0])
  return selection.kth_smallest(size, count)


class _Carry(NamedTuple):
  x: Float[Array, 'd']
  y: Float[Array, 'd']
  x_grad: Float[Array, 'd']
  y_grad: Float[Array, 'd']
  momentum: Float[Array, '']  # t.
  step: Float[Array, '']
  # Largest gradient seen: what rounding is relative to.
  scale: Float[Array, '']
  steps: Int[Array, '']


@host.own_errors()
def fista(
  grad_fn: Callable[[Vector], Vector],
  prox: Prox,
  start: Vector,
  *,
  start_grad: Vector | None = None,
  step: types.Scalar = 1.0,
  num_steps: int = 100,
  decay: types.Scalar = 0.5,
  affine: bool = False,
) -> types.Solution:
  """Minimises `f + g` from the gradient of `f` and the proximal map of `g`.

  An iteration takes a step or makes it smaller: their number is fixed, and so
  is the number of gradients. A step `s` is taken if `<grad f(x+) - grad f(y),
  x+ - y> <= |x+ - y|^2 / s`; for convex `f` that is enough, for quadratic `f`
  it is Beck and Teboulle's test, and it does not subtract two values of `f`.
  Momentum restarts where it points uphill.

  Args:
    grad_fn: gradient of `f`.
    prox: proximal map of `g`; see `lasso`.
    start: the first point.
    start_grad: gradient of `f` there, where it is known; `None` calls for it.
    step: the first step; `1 / L` for a gradient with Lipschitz constant `L` is
      never refused.
    num_steps: iterations.
    decay: ratio of a step to the one refused before it, in (0, 1).
    affine: whether the gradient is affine in `x`. Then it is known at `y` from
      those at the last two points, and is called once an iteration, not twice.

  Returns:
    The last point taken, and `FistaInfo`. A NaN in a gradient makes both NaN.
  """
  checks.count('num_steps', num_steps)
  checks.within('step', step, '(0, inf)')
  checks.within('decay', decay, '(0, 1)')
  flat, unravel = jax.flatten_util.ravel_pytree(start)
  dtype = flat.dtype
  decay = jnp.asarray(decay, dtype)
  noise = 100 * jnp.finfo(dtype).eps
  dot = lambda a, b: jnp.vdot(a, b, precision=_HIGHEST)
  ravel = lambda tree: jax.flatten_util.ravel_pytree(tree)[0]

  def gradient(x):
    return ravel(grad_fn(unravel(x)))

  def forward(y, grad, step):
    return ravel(prox(unravel(y - step * grad), step))

  def iterate(c, _):
    x = forward(c.y, c.y_grad, c.step)
    x_grad = gradient(x)
    moved, turned = x - c.y, x_grad - c.y_grad
    length = jnp.linalg.norm(moved)
    scale = jnp.maximum(c.scale, jnp.linalg.norm(x_grad))
    # Near the solution `turned` is the rounding of two gradients.
    taken = dot(turned, moved) <= length * (
      (1 + noise) * length / c.step + noise * scale
    )
    uphill = dot(moved, x - c.x) < 0
    t = jnp.where(uphill, 1, c.momentum)
    momentum = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
    inertia = jnp.where(uphill, 0, (t - 1) / momentum)
    y = x + inertia * (x - c.x)
    y_grad = x_grad + inertia * (x_grad - c.x_grad) if affine else gradient(y)
    new = _Carry(x, y, x_grad, y_grad, momentum, c.step, scale, c.steps + 1)
    old = c._replace(step=decay * c.step)
    carry = jax.tree.map(lambda a, b: jnp.where(taken, a, b), new, old)
    return carry, length / c.step

  grad = gradient(flat) if start_grad is None else ravel(start_grad)
  carry = _Carry(
    x=flat,
    y=flat,
    x_grad=grad,
    y_grad=grad,
    momentum=jnp.ones((), dtype),
    step=jnp.asarray(step, dtype),
    scale=jnp.linalg.norm(grad),
    steps=jnp.zeros((), jnp.int32),
  )
  last, trace = jax.lax.scan(iterate, carry, None, length=num_steps)
  ahead = forward(last.x, last.x_grad, last.step)
  residual = jnp.linalg.norm(ahead - last.x) / last.step
  # No step is ever taken from NaN, and the start would pass for a solution.
  bad = jnp.isnan(residual) | jnp.any(jnp.isnan(trace))
  info = FistaInfo(
    residual=jnp.where(bad, jnp.nan, residual),
    gradient=unravel(last.x_grad),
    step=last.step,
    steps=last.steps,
    trace=trace,
  )
  return types.Solution(unravel(jnp.where(bad, jnp.nan, last.x)), info)
