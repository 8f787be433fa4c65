"""How `lam1`, the weight that makes a CAFO or CASO map sparse, is chosen.

A rule maps a `Problem` to `lam1`. Above `|g|_inf` the map is zero; below it,
`search` looks for a share of zeros as the paper does.

References:
  Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019,
  section 4.1. https://arxiv.org/abs/1902.00407
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import selection
from saliency_jax.core import types
from saliency_jax.solvers import proximal

_HIGHEST = jax.lax.Precision.HIGHEST


class Problem(NamedTuple):
  """What a rule for `lam1` may look at; vectors are flat.

  Attributes:
    fn: the loss as a function of `D`.
    gradient: `g`.
    product: `v -> H v`; zero for CAFO.
    solve: `lam1 -> D`.
  """

  fn: Callable[[Float[Array, 'd']], Float[Array, '']]
  gradient: Float[Array, 'd']
  product: Callable[[Float[Array, 'd']], Float[Array, 'd']]
  solve: Callable[[Float[Array, '']], Float[Array, 'd']]


# A number; a rule that finds one; or `None`, the least that gives a sparsity.
Lam1 = types.Scalar | Callable[[Problem], Float[Array, '']] | None


def second_order_gain(
  problem: Problem, d: Float[Array, 'd']
) -> Float[Array, '']:
  """Returns `g'D + D'HD / 2`, by which the paper chooses `lam1`."""
  return _dot(problem.gradient + problem.product(d) / 2, d)


def true_gain(problem: Problem, d: Float[Array, 'd']) -> Float[Array, '']:
  """Returns by how much `D` raises the loss itself."""
  return problem.fn(d) - problem.fn(jnp.zeros_like(d))


def search(
  problem: Problem,
  *,
  merit: Callable[..., Float[Array, '']] = second_order_gain,
  least: types.Scalar = 0.75,
  first: float = 1e-6,
  num_decades: int = 4,
  num_halvings: int = 6,
  batch_size: int | None = 1,
) -> Float[Array, '']:
  """Chooses `lam1` as section 4.1 of the paper does, its trials in batches.

  From `first`, `lam1` grows tenfold until the map is zero, which happens at the
  first that reaches `|g|_inf`: that one needs no solving for. Of the decades
  below it, the one of most merit counts whose sparsity is in `[least, 1)`; if
  there is none, the first such of its halves, quarters and so on; if there is
  none again, the least that gives CAFO that sparsity.

  Args:
    problem: the loss and its solver.
    merit: `second_order_gain` or `true_gain`. The objective itself would choose
      the smallest `lam1` always.
    least: smallest sparsity accepted, in (0, 1).
    first: where `lam1` starts; any power of ten below it is the same.
    num_decades: tried below the first that zeroes the map.
    num_halvings: tried from it.
    batch_size: solves held in memory at once.
  """
  checks.within('least', least, '(0, 1)')
  checks.within('first', first, '(0, inf)')
  checks.count('num_decades', num_decades)
  checks.count('num_halvings', num_halvings)
  peak = jnp.max(jnp.abs(problem.gradient))
  dtype = peak.dtype
  decades = jnp.ceil(jnp.log10(peak / jnp.asarray(first, dtype)))
  zeroing = jnp.asarray(first, dtype) * 10 ** jnp.maximum(decades, 0)
  factors = [10.0**-i for i in range(1, num_decades + 1)]
  factors += [2.0**-i for i in range(1, num_halvings + 1)]
  lam1s = zeroing * jnp.asarray(factors, dtype)

  def trial(lam1):
    d = problem.solve(lam1)
    return share_of_zeros(d), merit(problem, d)

  sparsity, merits = sampling.batched_map(trial, lam1s, batch_size=batch_size)
  fits = (sparsity >= least) & (sparsity < 1)
  ten, two = fits[:num_decades], fits[num_decades:]
  best = jnp.argmax(jnp.where(ten, merits[:num_decades], -jnp.inf))
  halved = lam1s[num_decades:][jnp.argmax(two)]
  exact = proximal.least_threshold(
    problem.gradient, selection.count(least, problem.gradient.size)
  )
  return jnp.where(
    jnp.any(ten), lam1s[best], jnp.where(jnp.any(two), halved, exact)
  )


def share_of_zeros(d: Float[Array, 'd']) -> Float[Array, '']:
  """Returns the share of the entries that are zero."""
  return jnp.mean((d == 0).astype(d.dtype))


def _dot(a, b):
  return jnp.vdot(a, b, precision=_HIGHEST)
