"""Douglas-Rachford splitting on a subspace, anchored and restarted.

Solves `argmin_u f(A u)` from three operators: `A`, its pseudo-inverse, and the
proximal map of `f`. One step of ADMM with relaxation `t` is
`z <- z + t (A A^+ (2 a - z) - a)`, `a = prox(z)`. Here `t = 2` and each step is
averaged with the point of the last restart, `z <- (z0 + (k + 1) z) / (k + 2)`,
which alone makes the residual fall as `1 / k`; restarts once it has fallen
enough, where the penalty is reset to the ratio of the distances that primal and
dual have moved, make it linear on linear programs. On total variation problems
this takes half the steps of ADMM at relaxation 1.8 and its best fixed penalty.

Small penalty steps divide rounding errors by themselves, so the projection is
applied to the change since the last step: `u <- u + A^+ (2 a - z - A u)`.

References:
  Lions and Mercier, Splitting algorithms for the sum of two nonlinear
    operators, 1979. https://doi.org/10.1137/0716071
  Lieder, On the convergence rate of the Halpern-iteration, 2021.
    https://doi.org/10.1007/s11590-020-01617-9
  Chen, Sun, Yuan, Zhang, Zhao, HPR-LP: an implementation of an HPR method for
    solving linear programming, 2024. https://arxiv.org/abs/2408.12179
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Vector = PyTree[Float[Array, '...']]

# Steps between looks at the residual: a look costs about a step.
CHECK_EVERY = 8

# Restart once the residual fell to this share of its value at the restart,
# or to the second share and grows again, or after this share of all steps.
# Halving or doubling any of them moves the steps to a given gap by 5%.
_SUFFICIENT, _NECESSARY, _LONGEST = 0.2, 0.8, 0.2


class State(NamedTuple):
  """Where the iteration stands: enough to go on, or to start a near problem.

  Attributes:
    coordinates: `u`.
    multiplier: of `a = A u`; near a subgradient of `f` at `a`.
    step: inverse of ADMM's penalty, in units of `A u` over the multiplier's.
  """

  coordinates: Vector
  multiplier: Vector
  step: Float[Array, '']


class Problem(NamedTuple):
  """What is minimised.

  Attributes:
    prox: `(z, step) -> argmin_a f(a) + |a - z|^2 / (2 step)`.
    forward: `u -> A u`.
    pinv: `r -> A^+ r`.
  """

  prox: Callable[[Vector, Float[Array, '']], Vector]
  forward: Callable[[Vector], Vector]
  pinv: Callable[[Vector], Vector]


class _Carry(NamedTuple):
  z: Vector
  coordinates: Vector
  anchor: Vector
  start: State  # At the last restart.
  age: Float[Array, '']  # Steps since then.
  first: Float[Array, '']  # Residual at the first look after it.
  last: Float[Array, '']  # Residual at the last look.


_map = jax.tree.map
_minus = functools.partial(jax.tree.map, jnp.subtract)


def _norm(tree):
  return jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(tree)))


def _origin(point, multiplier, step):
  return _map(lambda v, y: v + step * y, point, multiplier)


def douglas_rachford(
  problem: Problem,
  state: State,
  *,
  look: Callable[[Any, Vector, Vector, Vector], tuple[Any, Any]],
  seen: Any,
  num_looks: int,
) -> tuple[State, Any, Any]:
  """Runs `num_looks * CHECK_EVERY` steps of the anchored iteration.

  Args:
    problem: what to minimise.
    state: start.
    look: `(seen, u, A u, flow) -> (seen, shown)`, called every `CHECK_EVERY`
      steps. `flow` is orthogonal to the range of `A`, and `-flow` near a
      subgradient: a dual candidate. `A u` need not be in the domain of `f`.
    seen: start of that fold, such as the best certificate so far.
    num_looks: how often to look, at least 1.

  Returns:
    The last state, the last `seen`, and what was `shown`, stacked.
  """

  initial_step = state.step

  def advance(carry, age):
    a = problem.prox(carry.z, carry.start.step)
    reflected = _map(lambda a, z: 2 * a - z, a, carry.z)
    change = _minus(reflected, problem.forward(carry.coordinates))
    u = _map(jnp.add, carry.coordinates, problem.pinv(change))
    point = problem.forward(u)
    share = 1 / (age + 2)
    z = _map(
      lambda z0, z, v, a: share * z0 + (1 - share) * (z + 2 * (v - a)),
      carry.anchor,
      carry.z,
      point,
      a,
    )
    return carry._replace(z=z, coordinates=u), (a, reflected, point)

  def restart(carry, a, z, point, index):
    """Makes the last step an anchor, if the iteration is ripe for it."""
    old = carry.start
    state = State(
      carry.coordinates, _map(lambda z, a: (z - a) / old.step, z, a), old.step
    )
    residual = _norm(_minus(point, a))
    fresh = carry.age == 0
    first = jnp.where(fresh, residual, carry.first)
    age = carry.age + CHECK_EVERY
    ripe = ~fresh & (
      (residual < _SUFFICIENT * first)
      | ((residual < _NECESSARY * first) & (residual > carry.last))
      | (age > _LONGEST * CHECK_EVERY * (index + 1))
    )
    moved = _norm(_minus(point, problem.forward(old.coordinates)))
    turned = _norm(_minus(state.multiplier, old.multiplier))
    # Halfway, on a logarithmic scale, to where both would move as far; not
    # from what is only rounding, which would drive the step to zero.
    noise = 100 * jnp.finfo(moved.dtype).eps
    known = (moved > noise * _norm(point)) & (
      turned > noise * _norm(state.multiplier)
    )
    ratio = jnp.where(known, moved / jnp.where(known, turned, 1), old.step)
    step = jnp.sqrt(ratio * old.step)
    # Where all of the solution is zero nothing else keeps it from vanishing.
    step = jnp.clip(step, initial_step * 1e-3, initial_step * 1e3)
    z0 = _origin(point, state.multiplier, step)
    pick = functools.partial(_map, functools.partial(jnp.where, ripe))
    carry = carry._replace(
      z=pick(z0, carry.z),
      anchor=pick(z0, carry.anchor),
      start=pick(state._replace(step=step), old),
      age=jnp.where(ripe, 0, age),
      first=first,
      last=residual,
    )
    return carry, state

  def block(outer, index):
    carry, seen, _ = outer
    ages = carry.age + jnp.arange(CHECK_EVERY, dtype=carry.age.dtype)
    carry, _ = jax.lax.scan(
      lambda c, age: (advance(c, age)[0], None), carry, ages[:-1]
    )
    z, step = carry.z, carry.start.step
    carry, (a, reflected, point) = advance(carry, ages[-1])
    flow = _map(lambda r, v: (r - v) / step, reflected, point)
    seen, shown = look(seen, carry.coordinates, point, flow)
    carry, state = restart(carry, a, z, point, index)
    return (carry, seen, state), shown

  dtype = state.step.dtype
  point = problem.forward(state.coordinates)
  z = _origin(point, state.multiplier, state.step)
  zero, far = jnp.zeros((), dtype), jnp.full((), jnp.inf, dtype)
  carry = _Carry(z, state.coordinates, z, state, zero, far, far)
  (_, seen, state), shown = jax.lax.scan(
    block, (carry, seen, state), jnp.arange(num_looks, dtype=dtype)
  )
  return state, seen, shown


def residuals(
  problem: Problem, state: State
) -> tuple[Float[Array, ''], Float[Array, '']]:
  """Returns by how much a state misses the two conditions of optimality.

  Returns:
    Root mean squares of `a - A A^+ a`, for `a` the proximal point at the
    state, and of `step * A A^+ y`, for `y` the subgradient at `a`.
  """
  point = problem.forward(state.coordinates)
  z = _origin(point, state.multiplier, state.step)
  a = problem.prox(z, state.step)
  change = _minus(a, point)
  curl = _minus(change, problem.forward(problem.pinv(change)))
  divergence = problem.forward(problem.pinv(_minus(z, a)))
  count = max(1, sum(x.size for x in jax.tree.leaves(a)))
  root = jnp.sqrt(jnp.asarray(count, state.step.dtype))
  return _norm(curl) / root, _norm(divergence) / root
