"""Backtracking line search with a fixed number of trials.

The largest step `a` of the ladder `upper, upper decay, ..., lower` with

    F(P(w - a d)) - F(w) <= -a slope |d|^2,

`P` a projection onto the feasible set. All the trials are evaluated, in
batches: a loop that stops at the first success would run, under `vmap`, until
the last example succeeds.

References:
  Armijo, Minimization of functions having Lipschitz continuous first partial
  derivatives, 1966. https://projecteuclid.org/euclid.pjm/1102995080
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import types


class LineSearchInfo(NamedTuple):
  """How a step was chosen."""

  objective: Float[Array, '']  # F at the new point.
  step_size: Float[Array, '']  # Zero where no step was taken.
  accepted: Bool[Array, '']  # Whether a trial passed; false if forced.


def ladder(
  upper: float | int, lower: float | int, decay: float | int
) -> np.ndarray:
  """Returns the trial steps from `upper` down to exactly `lower`.

  Raises:
    ValueError: unless `0 < lower <= upper` and `0 < decay < 1`.
  """
  checks.within('lower', lower, '(0, inf)')
  checks.within('upper', upper, f'[{lower}, inf)')
  checks.within('decay', decay, '(0, 1)')
  # The small number keeps a lower bound that is on the ladder from standing
  # twice on it.
  last = math.ceil(math.log(upper / lower) / math.log(1 / decay) - 1e-9)
  return np.maximum(upper * decay ** np.arange(last + 1.0), lower)


def backtracking(
  objective: Callable[[Any], Float[Array, '']],
  params: Any,
  direction: Any,
  *,
  value: Float[Array, ''] | None = None,
  project: Callable[[Any], Any] = lambda params: params,
  upper: float | int = 1.0,
  lower: float | int = 1e-5,
  decay: float | int = 0.5,
  scale: types.Scalar = 1.0,
  slope: types.Scalar = 1e-4,
  forced: bool = False,
  batch_size: int | None = None,
) -> types.Solution:
  """Steps from `params` against `direction`, as far as the test allows.

  Args:
    objective: maps parameters to the number `F` to decrease.
    params: pytree of arrays, the starting point `w`.
    direction: shaped as `params`; `d` points uphill.
    value: `F(params)` where it is known; `None` evaluates it.
    project: maps parameters to the nearest feasible ones.
    upper: largest step.
    lower: smallest step, the last trial.
    decay: ratio of a step to the one before, in (0, 1).
    scale: of every step of the ladder; it may be traced.
    slope: part of the decrease `a |d|^2` that is demanded.
    forced: whether the smallest step is taken when no trial passes. By default
      none is taken, so that the objective never increases.
    batch_size: trials held in memory at once; `None` holds all.

  Returns:
    The new parameters, and `LineSearchInfo`. A trial whose objective is NaN
    does not pass.
  """
  leaves = jax.tree.leaves(params)
  dtype = jnp.result_type(*leaves)
  checks.within('scale', scale, '(0, inf)')
  checks.within('slope', slope, '[0, 1)')
  steps = jnp.asarray(ladder(upper, lower, decay), dtype)
  steps = jnp.asarray(scale, dtype) * steps
  value = objective(params) if value is None else value
  squared = sum(jnp.sum(d**2) for d in jax.tree.leaves(direction))

  def move(step):
    return project(jax.tree.map(lambda w, d: w - step * d, params, direction))

  trials = sampling.batched_map(
    lambda step: objective(move(step)), steps, batch_size=batch_size
  )
  passed = trials - value <= -steps * (slope * squared)
  accepted = jnp.any(passed)
  index = jnp.where(accepted, jnp.argmax(passed), steps.size - 1)
  moves = accepted | forced
  moved = move(steps[index])
  params = jax.tree.map(lambda n, w: jnp.where(moves, n, w), moved, params)
  info = LineSearchInfo(
    objective=jnp.where(moves, trials[index], value),
    step_size=jnp.where(moves, steps[index], jnp.zeros((), dtype)),
    accepted=accepted,
  )
  return types.Solution(params, info)
