"""Second derivatives as products, and the top of their spectrum.

`hvp` is `H v` with `H` the Hessian of a score; `gauss_newton_vp` is `J' A J v`
with `J` the Jacobian of the logits and `A` the Hessian of a loss in the logits.
The two agree where the logits are piecewise linear in the input. `lanczos`
finds the largest eigenvalues of any symmetric operator from its products.

References:
  Pearlmutter, Fast exact multiplication by the Hessian, 1994.
  https://doi.org/10.1162/neco.1994.6.1.147
  Schraudolph, Fast curvature matrix-vector products for second-order gradient
  descent, 2002. https://doi.org/10.1162/08997660260028683
  Golub and Van Loan, Matrix Computations, 4th edition, 2013, section 10.1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.core import checks
from saliency_jax.core import types

_HIGHEST = jax.lax.Precision.HIGHEST

Product = Callable[[types.Example], types.Example]


def hvp(fn: types.ScoreFn, x: types.Example, v: types.Example) -> types.Example:
  """Returns `H v`, `H` the Hessian of `fn` at `x`: forward over reverse."""
  checks.same_shape('v', v, x)
  return jax.jvp(jax.grad(fn), (x,), (v,))[1]


def hvp_fn(
  fn: types.ScoreFn, x: types.Example
) -> tuple[types.Example, Product]:
  """Returns the gradient at `x`, and `v -> H v` linearised there once.

  Many products at one point then cost one linearisation, and memory for what
  it keeps.
  """
  return jax.linearize(jax.grad(fn), x)


def gauss_newton_vp(
  logits_fn: types.LogitsFn,
  loss_fn: Callable[[Float[Array, 'k']], Float[Array, '']],
  x: types.Example,
  v: types.Example,
) -> types.Example:
  """Returns `J' A J v`: jvp to the logits, `A` there, and vjp back.

  Args:
    logits_fn: one example in, logits `[k]` out.
    loss_fn: the loss as a function of the logits; `A` is its Hessian.
    x: the example.
    v: direction, like `x`.
  """
  checks.same_shape('v', v, x)
  logits, tangent = jax.jvp(logits_fn, (x,), (v,))
  curved = hvp(loss_fn, logits, tangent)
  return jax.vjp(logits_fn, x)[1](curved)[0]


class LanczosInfo(NamedTuple):
  """How good the eigenpairs are.

  Attributes:
    residual: `[m]` norm of `A v - lambda v` of each pair (`|v| = 1`). It bounds
      the distance to an eigenvalue, and does not prove that it is the top one.
    num_products: products with the operator taken before the Krylov space was
      exhausted.
  """

  residual: Float[Array, 'm']
  num_products: Float[Array, '']


class Eigenpairs(NamedTuple):
  """The largest eigenvalues, in descending order, and their vectors.

  Attributes:
    values: `[m]` eigenvalues.
    vectors: like the start with a leading axis `m`, of norm one.
  """

  values: Float[Array, 'm']
  vectors: Any


def lanczos(
  product: Product,
  start: types.Example,
  *,
  num_steps: int = 20,
  num_pairs: int = 1,
) -> types.Solution:
  """Finds the largest eigenvalues of a symmetric operator by Lanczos' method.

  Vectors are orthogonalised twice against all that came before. The Krylov
  space of `start` may be exhausted early (a Hessian of low rank): the pairs are
  then exact, and the steps that are left change nothing.

  Args:
    product: the operator, `v -> A v`.
    start: any vector that is not orthogonal to what is sought.
    num_steps: products with the operator, at least `num_pairs`.
    num_pairs: eigenpairs returned.

  Returns:
    `Eigenpairs`, with the residual of each in `info`.
  """
  flat, unravel = jax.flatten_util.ravel_pytree(start)
  checks.at_least('num_pairs', num_pairs, 1)
  checks.between('num_steps', num_steps, num_pairs, flat.size)
  eps = jnp.finfo(flat.dtype).eps

  def unit(v):
    norm = jnp.linalg.norm(v)
    return jnp.where(norm > 0, v / jnp.where(norm > 0, norm, 1), 0), norm

  def orthogonal(v, basis):
    for _ in range(2):
      coefficients = jnp.matmul(basis, v, precision=_HIGHEST)
      v = v - jnp.matmul(coefficients, basis, precision=_HIGHEST)
    return v

  def step(carry, i):
    basis, q, scale = carry
    basis = basis.at[i].set(q)
    image = jax.flatten_util.ravel_pytree(product(unravel(q)))[0]
    alpha = jnp.vdot(q, image, precision=_HIGHEST)
    scale = jnp.maximum(scale, jnp.linalg.norm(image))
    residual, beta = unit(orthogonal(image, basis))
    # What is left of an exhausted space is rounding: no direction to follow.
    alive = beta > 10 * eps * scale
    residual = jnp.where(alive, residual, 0)
    beta = jnp.where(alive, beta, 0)
    return (basis, residual, scale), (alpha, beta, jnp.any(q != 0))

  first, _ = unit(flat)
  zeros = jnp.zeros((num_steps, flat.size), flat.dtype)
  (basis, _, _), (alphas, betas, used) = jax.lax.scan(
    step, (zeros, first, jnp.zeros((), flat.dtype)), jnp.arange(num_steps)
  )
  tridiagonal = jnp.diag(alphas)
  if num_steps > 1:
    tridiagonal += jnp.diag(betas[:-1], 1) + jnp.diag(betas[:-1], -1)
  # Steps past the end must not add zeros to the spectrum of a negative one.
  floor = -jnp.sum(jnp.abs(alphas) + 2 * betas) - 1
  tridiagonal += jnp.diag(jnp.where(used, 0, floor))
  values, coefficients = jnp.linalg.eigh(tridiagonal)
  values = values[::-1][:num_pairs]
  coefficients = coefficients[:, ::-1][:, :num_pairs]
  vectors = jnp.matmul(coefficients.T, basis, precision=_HIGHEST)
  info = LanczosInfo(
    residual=jnp.abs(coefficients[-1] * betas[-1]),
    num_products=jnp.sum(used.astype(flat.dtype)),
  )
  return types.Solution(Eigenpairs(values, jax.vmap(unravel)(vectors)), info)
