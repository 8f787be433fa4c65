"""Douglas-Rachford splitting on a subspace, anchored and restarted.

Solves `argmin_u f(A u)` from three operators: `A`, its pseudo-inverse, and the
proximal map of `f`. One step of ADMM with relaxation `t` is
`z <- z + t (A A^+ (2 a - z) - a)`, `a = prox(z)`. Here `t = 2` and each step is
averaged with the point of the last restart, `z <- (z0 + (k + 1) z) / (k + 2)`,
which alone makes the residual fall as `1 / k`; restarts once it has fallen
enough, where the penalty is reset to the ratio of the distances that primal and
dual have moved, make it linear on linear programs. On total variation problems
this takes half the steps of ADMM at relaxation 1.8 and its best fixed penalty.

`A u` may have several blocks, each with a penalty of its own: one ratio cannot
balance blocks whose units differ by the condition of `A`. `A^+` is then taken
in the norm `sum_b |r_b|^2 / step_b`. On steep spectra (`dantzig.py`) this takes
a tenth of the steps of one penalty.

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
from jaxtyping import Array, Float, Int, PyTree

from saliency_jax.core import types

Vector = PyTree[Float[Array, '...']]
# A number for each block of `A u`: a tree that ends where the blocks begin.
Steps = PyTree[Float[Array, '']]

# Steps between looks at the gap: a look costs two or three steps.
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
    step: inverse of ADMM's penalty on each block, in units of `A u` over the
      multiplier's.
    aim: what the proximal map is told besides, such as a box to aim at.
  """

  coordinates: Vector
  multiplier: Vector
  step: Steps
  aim: Any = ()


class Problem(NamedTuple):
  """What is minimised.

  Attributes:
    prox: `(z, step, aim) -> argmin_a f(a) + sum_b |a_b - z_b|^2 / (2 step_b)`.
    forward: `u -> A u`.
    pinv: `(r, step) -> argmin_u sum_b |(A u - r)_b|^2 / step_b`.
  """

  prox: Callable[[Vector, Steps, Any], Vector]
  forward: Callable[[Vector], Vector]
  pinv: Callable[[Vector, Steps], Vector]


class Run(NamedTuple):
  """How a run ended.

  Attributes:
    state: the last one.
    seen: what the looks have gathered.
    steps: taken.
    trace: the gap at each look; past the last look, what it was there.
  """

  state: State
  seen: Any
  steps: Int[Array, '']
  trace: Float[Array, 'looks']


class _Carry(NamedTuple):
  z: Vector
  coordinates: Vector
  point: Vector  # `A u`.
  anchor: Vector
  start: State  # At the last restart.
  start_point: Vector
  age: Float[Array, '']  # Steps since then.
  first: Float[Array, '']  # Residual at the first look after it.
  last: Float[Array, '']  # Residual at the last look.


_map = jax.tree.map
_minus = functools.partial(jax.tree.map, jnp.subtract)


def _norm(tree):
  return jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(tree)))


def _by_block(f, step, *vectors):
  """Applies `f` to the step and the arrays of each block."""
  each = lambda s, *blocks: _map(functools.partial(f, s), *blocks)
  return _map(each, step, *vectors)


def _origin(point, multiplier, step):
  return _by_block(lambda s, v, y: v + s * y, step, point, multiplier)


def solve(
  problem: Problem,
  state: State,
  *,
  look: Callable[[Any, Vector, Vector, Vector], tuple[Any, Any, Any]],
  seen: Any,
  num_looks: int,
  tolerance: types.Scalar = 0,
) -> Run:
  """Runs blocks of `CHECK_EVERY` steps until the gap is within its tolerance.

  Under `vmap` each problem stops on its own, and all take the time of the
  longest.

  Args:
    problem: what to minimise.
    state: start.
    look: `(seen, u, A u, flow) -> (seen, gap, aim)`, called every
      `CHECK_EVERY` steps; restarts adopt the aim. `flow` is orthogonal to the
      range of `A`, and `-flow` near a subgradient: a dual candidate. `A u`
      need not be in the domain of `f`.
    seen: start of that fold, such as the best certificate so far.
    num_looks: how often to look at most, at least 1.
    tolerance: of the gap; a NaN ends the run as well.
  """
  initial_step = state.step

  reflect = functools.partial(_map, lambda a, z: 2 * a - z)

  def advance(last, age):
    carry, _, _ = last
    step = carry.start.step
    a = problem.prox(carry.z, step, carry.start.aim)
    reflected = reflect(a, carry.z)
    change = problem.pinv(_minus(reflected, carry.point), step)
    u = _map(jnp.add, carry.coordinates, change)
    point = problem.forward(u)
    share = 1 / (age + 2)
    z = _map(
      lambda z0, z, v, a: share * z0 + (1 - share) * (z + 2 * (v - a)),
      carry.anchor,
      carry.z,
      point,
      a,
    )
    new = carry._replace(z=z, coordinates=u, point=point)
    return (new, a, carry.z), None

  def restart(carry, a, aim, index):
    """Makes the last step an anchor, if the iteration is ripe for it."""
    old, point = carry.start, carry.point
    # Of the averaged point, which the anchor is to be: from the last step's
    # own, steep spectra (`dantzig.py`) stall.
    turn = lambda s, z, a: (z - a) / s
    multiplier = _by_block(turn, old.step, carry.z, a)
    state = State(carry.coordinates, multiplier, old.step, old.aim)
    # In the norm in which the step is a projection.
    miss = lambda s, v, a: (v - a) / jnp.sqrt(s)
    residual = _norm(_by_block(miss, old.step, point, a))
    fresh = carry.age == 0
    first = jnp.where(fresh, residual, carry.first)
    age = carry.age + CHECK_EVERY
    ripe = ~fresh & (
      (residual < _SUFFICIENT * first)
      | ((residual < _NECESSARY * first) & (residual > carry.last))
      | (age > _LONGEST * CHECK_EVERY * (index + 1).astype(age.dtype))
    )
    step = _map(
      _balanced,
      old.step,
      initial_step,
      point,
      carry.start_point,
      state.multiplier,
      old.multiplier,
    )
    z0 = _origin(point, state.multiplier, step)
    pick = functools.partial(_map, functools.partial(jnp.where, ripe))
    return carry._replace(
      z=pick(z0, carry.z),
      anchor=pick(z0, carry.anchor),
      start=pick(state._replace(step=step, aim=aim), old),
      start_point=pick(point, carry.start_point),
      age=jnp.where(ripe, 0, age),
      first=first,
      last=residual,
    ), state

  def block(outer):
    index, carry, seen, _, trace = outer
    ages = carry.age + jnp.arange(CHECK_EVERY, dtype=carry.age.dtype)
    (carry, a, z), _ = jax.lax.scan(advance, (carry, carry.z, carry.z), ages)
    over = lambda s, r, v: (r - v) / s
    flow = _by_block(over, carry.start.step, reflect(a, z), carry.point)
    seen, gap, aim = look(seen, carry.coordinates, carry.point, flow)
    carry, state = restart(carry, a, aim, index)
    rest = jnp.arange(num_looks, dtype=index.dtype) >= index
    trace = jnp.where(rest, gap, trace)
    return index + 1, carry, seen, state, trace

  def unfinished(outer):
    index, _, _, _, trace = outer
    return (index < num_looks) & (trace[-1] > tolerance)

  dtype = jax.tree.leaves(state.step)[0].dtype
  point = problem.forward(state.coordinates)
  z = _origin(point, state.multiplier, state.step)
  zero, far = jnp.zeros((), dtype), jnp.full((), jnp.inf, dtype)
  carry = _Carry(z, state.coordinates, point, z, state, point, zero, far, far)
  index = jnp.zeros((), jnp.int32)
  trace = jnp.full(num_looks, jnp.inf, dtype)
  outer = index, carry, seen, state, trace
  # Under `vmap` JAX goes through the loop again for what only its steps make
  # depend on the example: all that it carries does so from the start.
  at_start = _norm(problem.prox(z, state.step, state.aim))
  outer = _map(lambda v: jnp.where(at_start > 0, v, v), outer)
  index, _, seen, state, trace = jax.lax.while_loop(unfinished, block, outer)
  return Run(state, seen, CHECK_EVERY * index, trace)


def _balanced(step, initial, point, old_point, multiplier, old_multiplier):
  """Returns the step at which a block's primal and dual move as far.

  Halfway there, on a logarithmic scale.
  """
  moved = _norm(_minus(point, old_point))
  turned = _norm(_minus(multiplier, old_multiplier))
  # Not from what is only rounding, which would drive the step to zero.
  noise = 100 * jnp.finfo(moved.dtype).eps
  known = (moved > noise * _norm(point)) & (turned > noise * _norm(multiplier))
  ratio = jnp.where(known, moved / jnp.where(known, turned, 1), step)
  # Where all of the solution is zero nothing else keeps it from vanishing.
  return jnp.clip(jnp.sqrt(ratio * step), initial * 1e-6, initial * 1e6)
