"""Linear programs by the primal-dual hybrid gradient method, with restarts.

    min_x c'x   s.t.  A x <= b,  lower <= x <= upper

    x+ = clip(x - tau (c + A'y)),   y+ = max(0, y + sigma (A (2 x+ - x) - b)),

`tau sigma |A|^2 < 1`, restarted from the average of the points since the last
restart where that is the better one, and `sigma / tau` adapted at restarts.
Bounds are finite, so that any `y >= 0` proves a bound on the optimum,
`-b'y + sum_i min over the box of (c + A'y)_i x_i`: the gap is a certificate.

References:
  Applegate, Diaz, Hinder, Lu, Lubin, O'Donoghue, Schudy, Practical large-scale
  linear programming using primal-dual hybrid gradient, 2021.
  https://arxiv.org/abs/2106.04756
  Ruiz, A scaling algorithm to equilibrate both rows and columns norms in
  matrices, 2001.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import types

_HIGHEST = jax.lax.Precision.HIGHEST
# Steps between two looks at the gap, where restarts are decided.
_CHECK_EVERY = 40
# Products with `A'A` that its largest eigenvalue is found by, and what the
# steps keep off from it.
_POWER_STEPS = 50
_SAFETY = 0.9


class Operator(NamedTuple):
  """`A` without a matrix, or a sparse one: products with it and with `A'`."""

  forward: Callable[[Float[Array, 'n']], Float[Array, 'm']]
  adjoint: Callable[[Float[Array, 'm']], Float[Array, 'n']]


class LinearProgramInfo(NamedTuple):
  """How good the point is.

  Attributes:
    objective: `c'x`.
    bound: no feasible point has a smaller objective, as the multipliers prove.
    violation: the largest entry of `A x - b`, or zero.
    multipliers: `y`.
    restarts: how many there were.
    trace: `|c'x - bound|` of the best point at each look.
  """

  objective: Float[Array, '']
  bound: Float[Array, '']
  violation: Float[Array, '']
  multipliers: Float[Array, 'm']
  restarts: Int[Array, '']
  trace: Float[Array, 't']


class _Carry(NamedTuple):
  x: Float[Array, 'n']
  y: Float[Array, 'm']
  x_sum: Float[Array, 'n']  # Since the last restart, as `age`.
  y_sum: Float[Array, 'm']
  age: Float[Array, '']
  x_start: Float[Array, 'n']  # At the last restart, as `first`.
  y_start: Float[Array, 'm']
  first: Float[Array, '']  # Merit.
  last: Float[Array, '']  # Merit at the last look.
  weight: Float[Array, '']  # sqrt(sigma / tau).
  restarts: Int[Array, '']
  x_best: Float[Array, 'n']
  y_best: Float[Array, 'm']
  best: Float[Array, '']


def pdhg(
  c: Float[Array, 'n'],
  a: Float[Array, 'm n'] | Operator,
  b: Float[Array, 'm'],
  *,
  lower: Float[Array, 'n'],
  upper: Float[Array, 'n'],
  num_steps: int = 4000,
) -> types.Solution:
  """Solves a linear program with finite bounds.

  Args:
    c: costs.
    a: matrix of the constraints, which is equilibrated, or an operator, which
      is taken as it is.
    b: right-hand side.
    lower: least value of each entry, finite.
    upper: largest value.
    num_steps: products with `A` and with `A'`, rounded up to whole looks.

  Returns:
    `x`, within its bounds, and `LinearProgramInfo`: `x` need not meet `A x <=
    b` to the last digit.
  """
  checks.count('num_steps', num_steps)
  operator, rows, columns = _scaled(a, b, c)
  back = lambda x: columns * x
  problem = _Problem(
    columns * c, operator, rows * b, lower / columns, upper / columns
  )
  num_looks = -(-num_steps // _CHECK_EVERY)
  carry, trace = _run(problem, num_looks)
  # Off their bounds by the rounding of the scales.
  x = jnp.clip(back(carry.x_best), lower, upper)
  y = rows * carry.y_best
  plain = _Problem(c, _as_operator(a), b, lower, upper)
  excess = plain.a.forward(x) - b
  info = LinearProgramInfo(
    objective=_dot(c, x),
    bound=_bound(plain, y),
    violation=jnp.max(excess, initial=0),
    multipliers=y,
    restarts=carry.restarts,
    trace=trace,
  )
  return types.Solution(x, info)


class _Problem(NamedTuple):
  c: Float[Array, 'n']
  a: Operator
  b: Float[Array, 'm']
  lower: Float[Array, 'n']
  upper: Float[Array, 'n']


def _run(problem, num_looks):
  """Takes steps from the corner of least cost; returns the last carry."""
  c, a, b, lower, upper = problem
  length = _SAFETY / _largest_singular_value(a, c)
  ratio = jnp.linalg.norm(c) / jnp.linalg.norm(b)
  weight = jnp.where((ratio > 0) & jnp.isfinite(ratio), ratio, 1)

  def step(carry, _):
    x, y, x_sum, y_sum, weight = carry
    x_new = x - length / weight * (c + a.adjoint(y))
    x_new = jnp.clip(x_new, lower, upper)
    y_new = y + length * weight * (a.forward(2 * x_new - x) - b)
    y_new = jnp.maximum(y_new, 0)
    return (x_new, y_new, x_sum + x_new, y_sum + y_new, weight), None

  def look(carry, index):
    moved, _ = jax.lax.scan(
      step,
      (carry.x, carry.y, carry.x_sum, carry.y_sum, carry.weight),
      None,
      length=_CHECK_EVERY,
    )
    x, y, x_sum, y_sum, _ = moved
    age = carry.age + _CHECK_EVERY
    x_mean, y_mean = x_sum / age, y_sum / age
    now = _merit(problem, x, y)
    mean = _merit(problem, x_mean, y_mean)
    better = mean < now
    merit = jnp.where(better, mean, now)
    x_try, y_try = _pick(better, (x_mean, y_mean), (x, y))
    best = merit < carry.best
    x_best, y_best = _pick(best, (x_try, y_try), (carry.x_best, carry.y_best))
    ripe = _ripe(merit, carry, age, index)
    x, y = _pick(ripe, (x_try, y_try), (x, y))
    new = _Carry(
      x=x,
      y=y,
      x_sum=jnp.where(ripe, 0, x_sum),
      y_sum=jnp.where(ripe, 0, y_sum),
      age=jnp.where(ripe, 0, age),
      x_start=jnp.where(ripe, x, carry.x_start),
      y_start=jnp.where(ripe, y, carry.y_start),
      first=jnp.where(ripe, merit, carry.first),
      last=jnp.where(ripe, jnp.inf, merit),
      weight=jnp.where(ripe, _balanced(carry, x, y), carry.weight),
      restarts=carry.restarts + ripe.astype(jnp.int32),
      x_best=x_best,
      y_best=y_best,
      best=jnp.where(best, merit, carry.best),
    )
    return new, jnp.abs(_dot(c, x_best) - _bound(problem, y_best))

  x, y = jnp.where(c > 0, lower, upper), jnp.zeros_like(b)
  zero, far = jnp.zeros((), c.dtype), jnp.full((), jnp.inf, c.dtype)
  carry = _Carry(
    x=x,
    y=y,
    x_sum=jnp.zeros_like(x),
    y_sum=y,
    age=zero,
    x_start=x,
    y_start=y,
    first=far,
    last=far,
    weight=weight,
    restarts=jnp.zeros((), jnp.int32),
    x_best=x,
    y_best=y,
    best=far,
  )
  return jax.lax.scan(look, carry, jnp.arange(1, num_looks + 1))


def _ripe(
  merit: Float[Array, ''], carry: _Carry, age: Float[Array, ''], index: Array
) -> Bool[Array, '']:
  """Returns whether to restart: the three conditions of the paper."""
  enough = merit <= 0.2 * carry.first
  stalled = (merit <= 0.8 * carry.first) & (merit > carry.last)
  total = (index * _CHECK_EVERY).astype(age.dtype)
  return enough | stalled | (age >= 0.36 * total)


def _balanced(carry, x, y):
  """Returns the weight, halfway to the ratio of the moves in `y` and `x`."""
  x_move = jnp.linalg.norm(x - carry.x_start)
  y_move = jnp.linalg.norm(y - carry.y_start)
  known = (x_move > 0) & (y_move > 0)
  ratio = jnp.where(known, y_move, 1) / jnp.where(known, x_move, 1)
  return jnp.where(known, jnp.sqrt(ratio * carry.weight), carry.weight)


def _merit(problem, x, y):
  """Returns the relative errors of the conditions of optimality, as one."""
  excess = jnp.maximum(problem.a.forward(x) - problem.b, 0)
  infeasible = jnp.linalg.norm(excess) / (1 + jnp.linalg.norm(problem.b))
  value, bound = _dot(problem.c, x), _bound(problem, y)
  size = jnp.abs(value) + jnp.abs(bound)
  gap = jnp.abs(value - bound) / jnp.where(size > 0, size, 1)
  return jnp.hypot(infeasible, gap)


def _bound(problem, y):
  reduced = problem.c + problem.a.adjoint(y)
  least = jnp.where(reduced > 0, problem.lower, problem.upper)
  return _dot(reduced, least) - _dot(problem.b, y)


def _pick(which, yes, no):
  return jax.tree.map(lambda p, q: jnp.where(which, p, q), yes, no)


def _dot(a, b):
  return jnp.dot(a, b, precision=_HIGHEST)


def _as_operator(a):
  if isinstance(a, Operator):
    return a
  return Operator(
    lambda x: jnp.matmul(a, x, precision=_HIGHEST),
    lambda y: jnp.matmul(y, a, precision=_HIGHEST),
  )


def _scaled(a, b, c):
  """Returns the operator of `R A C`, and the diagonals of `R` and `C`."""
  rows, columns = jnp.ones_like(b), jnp.ones_like(c)
  if isinstance(a, Operator):
    return a, rows, columns

  def scale(diagonals, _):
    rows, columns = diagonals
    size = jnp.abs(rows[:, None] * a * columns[None])
    root = lambda n: jnp.sqrt(jnp.where(n > 0, n, 1))
    return (
      rows / root(jnp.max(size, 1)),
      columns / root(jnp.max(size, 0)),
    ), None

  (rows, columns), _ = jax.lax.scan(scale, (rows, columns), None, length=10)
  return _as_operator(rows[:, None] * a * columns[None]), rows, columns


def _largest_singular_value(a, like):
  """Returns an estimate from below; 1 for an operator that is zero."""

  def step(v, _):
    w = a.adjoint(a.forward(v))
    size = jnp.linalg.norm(w)
    return w / jnp.where(size > 0, size, 1), size

  start = sampling.normal(jax.random.key(0), like)
  _, sizes = jax.lax.scan(
    step, start / jnp.linalg.norm(start), None, length=_POWER_STEPS
  )
  return jnp.sqrt(jnp.where(sizes[-1] > 0, sizes[-1], 1))
