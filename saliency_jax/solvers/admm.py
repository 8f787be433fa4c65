"""The alternating direction method of multipliers, as in the textbook.

Solves `argmin_u f(A u)`, split as `argmin_{u, a} f(a)  s.t.  A u = a`. With the
scaled multiplier `y` and the inverse penalty `step`,

    a <- prox(A u + y, step)
    h <- relaxation a + (1 - relaxation) A u
    u <- A^+ (h - y)
    y <- y + A u - h

where `prox(z, s) = argmin_a f(a) + |a - z|^2 / (2 s)`, and `A^+ r` is the `u`
for which `A u` is nearest to `r`. A sum `f_1(A_1 u) + f_2(A_2 u)` is one `f` of
the tree `(A_1 u, A_2 u)`.

LEG-TV is solved by the same iteration seen from the dual: `z = A u + y` makes
the steps of `douglas_rachford.py`, `z <- z + relaxation (A A^+ (2 a - z) - a)`.
There the steps are anchored, restarted where the residual has fallen enough,
and each block of `A u` balances a penalty of its own, which takes half as many
steps as this at its best; here nothing restarts, and the penalty stays.

References:
  Boyd, Parikh, Chu, Peleato, Eckstein, Distributed optimization and statistical
  learning via the alternating direction method of multipliers, 2011.
  https://doi.org/10.1561/2200000016
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from saliency_jax.core import checks
from saliency_jax.core import types

Vector = PyTree[Float[Array, '...']]

_map = jax.tree.map


class AdmmInfo(NamedTuple):
  """How near the last step is to a solution.

  Attributes:
    split: `a`, in the domain of `f`; at a solution it is `A u`.
    multiplier: `y / step`, a subgradient of `f` at `a` up to the dual residual.
    primal_residual: `|A u - a|`.
    dual_residual: `|A (u - u of the step before)| / step`.
    steps: taken.
    converged: whether both residuals met the tolerance.
  """

  split: Vector
  multiplier: Vector
  primal_residual: Float[Array, '']
  dual_residual: Float[Array, '']
  steps: Int[Array, '']
  converged: Bool[Array, '']


class _Carry(NamedTuple):
  u: Vector
  point: Vector  # `A u`.
  split: Vector
  scaled: Vector  # `y`.
  primal: Float[Array, '']
  dual: Float[Array, '']
  steps: Int[Array, '']
  converged: Bool[Array, '']


def admm(
  prox: Callable[[Vector, Float[Array, '']], Vector],
  forward: Callable[[Vector], Vector],
  pinv: Callable[[Vector], Vector],
  start: Vector,
  *,
  step: types.Scalar = 1.0,
  relaxation: types.Scalar = 1.0,
  num_steps: int = 1000,
  tolerance: types.Scalar = 1e-6,
) -> types.Solution:
  """Minimises `f(A u)` from the proximal map of `f`.

  Args:
    prox: `(z, step)` to the proximal point of `f`.
    forward: `u` to `A u`, linear.
    pinv: `r` to the `u` for which `A u` is nearest to `r`.
    start: `u` of the first step.
    step: inverse of the penalty, above 0, in units of `A u` over units of the
      multiplier.
    relaxation: in (0, 2); 1 is none, 1.5 to 1.8 is often faster.
    num_steps: steps at most.
    tolerance: of both residuals, relative to the size of `A u`, the dual one
      also to the size of `y`; 0 takes all steps.

  Returns:
    `u`, and `AdmmInfo`.

  Raises:
    ValueError: for a number out of its range.
  """
  checks.within('step', step, '(0, inf)')
  checks.within('relaxation', relaxation, '(0, 2)')
  checks.count('num_steps', num_steps)
  checks.within('tolerance', tolerance, '[0, inf)')
  dtype = jax.tree.leaves(start)[0].dtype
  step, relaxation, tolerance = (
    jnp.asarray(number, dtype) for number in (step, relaxation, tolerance)
  )

  def advance(carry):
    split = prox(_map(jnp.add, carry.point, carry.scaled), step)
    mixed = _map(
      lambda a, v: relaxation * a + (1 - relaxation) * v, split, carry.point
    )
    u = pinv(_map(jnp.subtract, mixed, carry.scaled))
    point = forward(u)
    scaled = _map(lambda y, v, h: y + v - h, carry.scaled, point, mixed)
    primal = _norm(_map(jnp.subtract, point, split))
    dual = _norm(_map(jnp.subtract, point, carry.point))
    size = jnp.maximum(_norm(point), _norm(split))
    near = (primal <= tolerance * size) & (
      dual <= tolerance * jnp.maximum(size, _norm(scaled))
    )
    steps = carry.steps + 1
    return _Carry(u, point, split, scaled, primal, dual / step, steps, near)

  point = forward(start)
  far = jnp.full((), jnp.inf, dtype)
  last = jax.lax.while_loop(
    lambda carry: (carry.steps < num_steps) & ~carry.converged,
    advance,
    _Carry(
      start,
      point,
      point,
      _map(jnp.zeros_like, point),
      far,
      far,
      jnp.zeros((), jnp.int32),
      jnp.zeros((), bool),
    ),
  )
  info = AdmmInfo(
    split=last.split,
    multiplier=_map(lambda y: y / step, last.scaled),
    primal_residual=last.primal,
    dual_residual=last.dual,
    steps=last.steps,
    converged=last.converged,
  )
  return types.Solution(last.u, info)


def _norm(tree):
  return jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(tree)))
