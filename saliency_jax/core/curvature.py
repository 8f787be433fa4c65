"""Second derivatives as products, and what is found of products alone.

`hvp` is `H v` with `H` the Hessian of a score; `gauss_newton_vp` is `J' A J v`
with `J` the Jacobian of the logits and `A` the Hessian of a loss in the logits.
The two agree where the logits are piecewise linear in the input. From products
with a symmetric operator `A`, `lanczos` finds its largest eigenvalues,
`top_eigenvalue` bounds the largest, and `shifted_solve` solves
`(shift I - A) y = b`. All rest on `A Q = Q T + beta q e_k'`, `Q` orthonormal.

References:
  Pearlmutter, Fast exact multiplication by the Hessian, 1994.
  https://doi.org/10.1162/neco.1994.6.1.147
  Schraudolph, Fast curvature matrix-vector products for second-order gradient
  descent, 2002. https://doi.org/10.1162/08997660260028683
  Golub and Van Loan, Matrix Computations, 4th edition, 2013, section 10.1.
  van Dorsselaer, Hochstenbach and van der Vorst, Computing probabilistic bounds
  for extreme eigenvalues of symmetric matrices with the Lanczos method, 1999.
  https://ir.cwi.nl/pub/4505
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from saliency_jax.core import checks
from saliency_jax.core import host
from saliency_jax.core import jaxprs
from saliency_jax.core import lapack
from saliency_jax.core import sampling
from saliency_jax.core import types

_HIGHEST = jax.lax.Precision.HIGHEST

Product = Callable[[types.Example], types.Example]

_NO_PRODUCT = (
  'second derivatives are taken forwards, and a custom_vjp inside of the '
  'function has no forward derivative: write it with jax.custom_jvp, or take a '
  'method of first order such as cafo'
)


def hvp(fn: types.ScoreFn, x: types.Example, v: types.Example) -> types.Example:
  """Returns `H v`, `H` the Hessian of `fn` at `x`: forward over reverse."""
  checks.same_shape('v', v, x)
  return _jvp(jax.grad(fn), x, v)[1]


def hvp_fn(
  fn: types.ScoreFn, x: types.Example
) -> tuple[types.Example, Product]:
  """Returns the gradient at `x`, and `v -> H v` linearised there once.

  Many products at one point then cost one linearisation, and memory for what
  it keeps.
  """
  gradient, product = jax.linearize(jax.grad(fn), x)
  # Where there is no product JAX says so when it compiles one, too late for us.
  products = jaxprs.equations(jax.make_jaxpr(product)(x).jaxpr)
  if any(eqn.primitive.name == 'custom_lin' for eqn in products):
    raise ValueError(_NO_PRODUCT)
  return gradient, product


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
  logits, tangent = _jvp(logits_fn, x, v)
  curved = hvp(loss_fn, logits, tangent)
  return jax.vjp(logits_fn, x)[1](curved)[0]


def _jvp(fn, x, v):
  """Differentiates forwards, and says what stands in the way."""
  try:
    return jax.jvp(fn, (x,), (v,))
  except TypeError as e:
    if 'custom_vjp' not in str(e):
      raise
    raise ValueError(_NO_PRODUCT) from e


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
  checks.count('num_pairs', num_pairs)
  checks.count('num_steps', num_steps, num_pairs, flat.size)
  krylov = _krylov(product, start, num_steps)
  values, coefficients = _ritz(krylov)
  values, coefficients = values[:num_pairs], coefficients[:, :num_pairs]
  vectors = jnp.matmul(coefficients.T, krylov.basis, precision=_HIGHEST)
  info = LanczosInfo(
    residual=jnp.abs(coefficients[-1] * krylov.betas[-1]),
    num_products=_count(krylov),
  )
  return types.Solution(Eigenpairs(values, jax.vmap(unravel)(vectors)), info)


class TopEigenvalueInfo(NamedTuple):
  """What is known of the largest eigenvalue.

  Attributes:
    bound: no eigenvalue is larger, up to the probability of failure and the
      rounding of the products.
    residual: norm of `A v - lambda v`.
    least: the smallest eigenvalue seen, at or above the smallest there is.
    num_products: taken before the Krylov space was exhausted.
  """

  bound: Float[Array, '']
  residual: Float[Array, '']
  least: Float[Array, '']
  num_products: Float[Array, '']


def top_eigenvalue(
  product: Product,
  like: types.Example,
  *,
  key: Key[Array, ''] | None,
  num_steps: int = 20,
  failure: types.Scalar = 1e-3,
) -> types.Solution:
  """Finds the largest eigenvalue of a symmetric operator, and bounds it.

  The start is uniform on the sphere, so its part along the top eigenvector is
  at least `t = failure sqrt(pi / (2 (d - 1)))` but with probability `failure`.
  After `k` steps `prod_j (A - theta_j) q_1 = (prod_j beta_j) q_{k+1}`, with
  `theta` the eigenvalues of `T`: so `t prod_j (lambda - theta_j)` is at most
  `prod_j beta_j` for `lambda` the largest, and `bound` is where they are equal.
  A residual alone would not tell that an eigenvalue is the largest.

  Args:
    product: the operator, `v -> A v`.
    like: shaped and typed as its argument, of `d` entries.
    key: consumed; required.
    num_steps: products with the operator; no more than `d` are taken.
    failure: probability that `bound` does not hold, in (0, 1).

  Returns:
    One pair of `Eigenpairs`, and `TopEigenvalueInfo`.
  """
  checks.count('num_steps', num_steps)
  checks.within('failure', failure, '(0, 1]')
  start = sampling.normal(sampling.draw_key(key, 0), like)
  size = sum(leaf.size for leaf in jax.tree.leaves(like))
  krylov = _krylov(product, start, min(num_steps, size))
  values, coefficients = _ritz(krylov)
  failure = jnp.asarray(failure, values.dtype)
  part = failure * math.sqrt(math.pi / (2 * max(size - 1, 1)))
  vector = jnp.matmul(coefficients[:, 0], krylov.basis, precision=_HIGHEST)
  info = TopEigenvalueInfo(
    bound=_largest_root(krylov, values, part),
    residual=jnp.abs(coefficients[-1, 0] * krylov.betas[-1]),
    # What was never used stands at the end.
    least=values[jnp.sum(krylov.used) - 1],
    num_products=_count(krylov),
  )
  unravel = jax.flatten_util.ravel_pytree(like)[1]
  vectors = jax.vmap(unravel)(vector[None])
  return types.Solution(Eigenpairs(values[:1], vectors), info)


class ShiftedSolveInfo(NamedTuple):
  """How good a solution is.

  Attributes:
    residual: norm of `b - (shift I - A) y` over the norm of `b`, as the
      recurrence has it.
    num_products: taken before the Krylov space was exhausted.
  """

  residual: Float[Array, '']
  num_products: Float[Array, '']


def shifted_solve(
  product: Product,
  b: types.Example,
  shift: types.Scalar,
  *,
  num_steps: int = 20,
) -> types.Solution:
  """Solves `(shift I - A) y = b` for a shift above the spectrum of `A`.

  These are the iterates of conjugate gradients, from a basis that is kept
  orthogonal.

  Args:
    product: the operator, `v -> A v`.
    b: the right-hand side.
    shift: larger than every eigenvalue of `A`.
    num_steps: products with the operator; no more than `b` has entries.
  """
  checks.count('num_steps', num_steps)
  flat, unravel = jax.flatten_util.ravel_pytree(b)
  krylov = _krylov(product, b, min(num_steps, flat.size))
  norm = jnp.linalg.norm(flat)
  matrix = jnp.asarray(shift, flat.dtype) * jnp.eye(
    krylov.alphas.size, dtype=flat.dtype
  ) - _tridiagonal(krylov)
  first = jnp.zeros_like(krylov.alphas).at[0].set(1)
  y = lapack.solve(matrix, first)
  info = ShiftedSolveInfo(
    residual=jnp.abs(y[-1] * krylov.betas[-1]), num_products=_count(krylov)
  )
  solution = norm * jnp.matmul(y, krylov.basis, precision=_HIGHEST)
  return types.Solution(unravel(solution), info)


def low_rank_product(
  eigenpairs: Eigenpairs, v: Float[Array, 'd']
) -> Float[Array, 'd']:
  """Returns `sum_i l_i u_i u_i' v` for eigenvectors `u` that are vectors."""
  parts = jnp.matmul(eigenpairs.vectors, v, precision=_HIGHEST)
  return jnp.matmul(
    eigenpairs.values * parts, eigenpairs.vectors, precision=_HIGHEST
  )


def woodbury(
  eigenpairs: Eigenpairs, b: Float[Array, 'd'], shift: types.Scalar
) -> Float[Array, 'd']:
  """Solves `(shift I - sum_i l_i u_i u_i') y = b`, the `u` orthonormal.

  Args:
    eigenpairs: whose vectors are rows `[m, d]`.
    b: the right-hand side.
    shift: larger than every eigenvalue, and than 0.
  """
  shift = jnp.asarray(shift, b.dtype)
  values, vectors = eigenpairs
  scaled = eigenpairs._replace(values=values / (shift - values))
  return (b + low_rank_product(scaled, b)) / shift


class _Krylov(NamedTuple):
  """`A Q = Q T + beta q e_k'`; rows of `basis` past the end are zero."""

  basis: Float[Array, 'k d']
  alphas: Float[Array, 'k']
  betas: Float[Array, 'k']
  used: Bool[Array, 'k']


@host.own_errors()
def _krylov(product, start, num_steps):
  """Returns an orthonormal basis of the Krylov space of a start."""
  flat, unravel = jax.flatten_util.ravel_pytree(start)
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
  return _Krylov(basis, alphas, betas, used)


def _tridiagonal(krylov):
  matrix = jnp.diag(krylov.alphas)
  if krylov.alphas.size > 1:
    betas = krylov.betas[:-1]
    matrix += jnp.diag(betas, 1) + jnp.diag(betas, -1)
  return matrix


def _ritz(krylov):
  """Returns the eigenvalues of `T`, descending, and its eigenvectors."""
  # Steps past the end must not add zeros to the spectrum of a negative one.
  floor = -jnp.sum(jnp.abs(krylov.alphas) + 2 * krylov.betas) - 1
  unused = jnp.diag(jnp.where(krylov.used, 0, floor))
  values, vectors = lapack.eigh(_tridiagonal(krylov) + unused)
  return values[::-1], vectors[:, ::-1]


def _count(krylov):
  return jnp.sum(krylov.used.astype(krylov.alphas.dtype))


def _largest_root(krylov, values, part):
  """Returns where `part prod_j (v - values_j)` comes to `prod_j beta_j`."""
  tiny = jnp.finfo(values.dtype).tiny
  used = jnp.arange(values.size) < jnp.sum(krylov.used)
  below = jnp.where(used, values[0] - values, 1)
  logs = jnp.where(krylov.used, jnp.log(jnp.maximum(krylov.betas, tiny)), 0)
  target = jnp.sum(logs) - jnp.log(part)

  def halve(ends, _):
    low, high = ends
    middle = (low + high) / 2
    log_product = jnp.sum(jnp.where(used, jnp.log(middle + below), 0))
    over = log_product >= target
    return (jnp.where(over, low, middle), jnp.where(over, middle, high)), None

  # The factors are at least the distance to the largest of the values.
  limit = jnp.exp(target / jnp.maximum(jnp.sum(used), 1).astype(values.dtype))
  (_, root), _ = jax.lax.scan(
    halve, (jnp.zeros_like(limit), limit), None, length=50
  )
  # A space that is exhausted, from a start with a part in every direction,
  # holds the top eigenvector.
  ended = jnp.any(krylov.betas == 0)
  return values[0] + jnp.where(ended, 0, root)
