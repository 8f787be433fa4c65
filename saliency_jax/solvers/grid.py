"""Differences on a grid, and all their inverses, by cosine transforms.

`D` maps an `h x w` grid to its `m = 2hw - h - w` edge differences. Its singular
value decomposition is `D = U Theta V'`, where `V` is the two-dimensional DCT-II
basis and `Theta^2` the eigenvalues of the Laplacian with reflecting borders:
`theta_ij^2 = (2 - 2 cos(pi i / h)) + (2 - 2 cos(pi j / w))`. So `(D'D)^+`,
`D^+`, `D^{+T}` and every matrix that is diagonal in `V` cost four small matrix
products, which suit an accelerator better than a fast transform does, and no
`p x p` matrix is ever formed. Channels and batches are `jax.vmap`.

References:
  Strang, The discrete cosine transform, SIAM Review 41(1), 1999.
  https://doi.org/10.1137/S0036144598336745
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float
import numpy as np

# Accelerators would multiply in bfloat16, which certifies no gap below 1e-2.
_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Edges(NamedTuple):
  """One number on each edge of an `h x w` grid.

  Attributes:
    down: from each cell to the one below, `[h - 1, w]`.
    right: from each cell to the one on its right, `[h, w - 1]`.
  """

  down: Float[Array, 'h-1 w']
  right: Float[Array, 'h w-1']


def difference(u: Float[Array, 'h w']) -> Edges:
  """Applies `D`: the next cell minus this one, along both axes."""
  return Edges(down=u[1:] - u[:-1], right=u[:, 1:] - u[:, :-1])


def adjoint(a: Edges) -> Float[Array, 'h w']:
  """Applies `D'`: what flows into each cell minus what flows out."""
  down = jnp.pad(a.down, ((1, 1), (0, 0)))
  right = jnp.pad(a.right, ((0, 0), (1, 1)))
  return (down[:-1] - down[1:]) + (right[:, :-1] - right[:, 1:])


def magnitude(a: Edges) -> Edges:
  """Returns the absolute value on each edge."""
  return jax.tree.map(jnp.abs, a)


def total(a: Edges) -> Float[Array, '']:
  """Returns the sum over all edges."""
  return jnp.sum(a.down) + jnp.sum(a.right)


def largest(a: Edges) -> Float[Array, '']:
  """Returns the largest absolute value, 0 on a grid of one cell."""
  return jnp.maximum(
    jnp.max(jnp.abs(a.down), initial=0), jnp.max(jnp.abs(a.right), initial=0)
  )


def total_variation(
  u: Float[Array, 'h w'], weights: Edges | None = None
) -> Float[Array, '']:
  """Returns `sum_e w_e |(Du)_e|`, anisotropic; `None` weighs all edges 1."""
  size = magnitude(difference(u))
  if weights is not None:
    size = jax.tree.map(jnp.multiply, weights, size)
  return total(size)


def cosine_basis(n: int, dtype: DTypeLike = jnp.float32) -> Float[Array, 'n n']:
  """Returns the orthonormal DCT-II basis, one frequency a row."""
  return jnp.asarray(exact_cosine_basis(n), dtype)


def exact_cosine_basis(n: int) -> Float[np.ndarray, 'n n']:
  """Returns `cosine_basis` in float64 on the host, known while tracing."""
  k = np.arange(n)
  # Reducing the angle exactly, in integers, keeps the last rows accurate.
  angle = (k[:, None] * (2 * k[None, :] + 1)) % (4 * n)
  basis = np.cos(np.pi * angle / (2 * n)) * np.sqrt(2 / n)
  basis[0] = np.sqrt(1 / n)
  return basis


def eigenvalues(
  h: int, w: int, dtype: DTypeLike = jnp.float32
) -> Float[Array, 'h w']:
  """Returns `Theta^2`, the eigenvalues of `D'D`, by vertical frequency first.

  All are positive but that of the mean, `[0, 0]`, which is exactly zero.
  """
  return jnp.asarray(exact_eigenvalues(h, w), dtype)


def exact_eigenvalues(h: int, w: int) -> Float[np.ndarray, 'h w']:
  """Returns `Theta^2` in float64 on the host, known while tracing."""
  rows = 4 * np.sin(np.pi * np.arange(h) / (2 * h)) ** 2
  columns = 4 * np.sin(np.pi * np.arange(w) / (2 * w)) ** 2
  return rows[:, None] + columns[None, :]


def dct(u: Float[Array, 'h w']) -> Float[Array, 'h w']:
  """Applies `V'`: the coefficients of `u` in the DCT-II basis."""
  rows, columns = (cosine_basis(n, u.dtype) for n in u.shape)
  return _matmul(_matmul(rows, u), columns.T)


def idct(c: Float[Array, 'h w']) -> Float[Array, 'h w']:
  """Applies `V`: the grid whose DCT-II coefficients are `c`."""
  rows, columns = (cosine_basis(n, c.dtype) for n in c.shape)
  return _matmul(_matmul(rows.T, c), columns)


def waves_difference(c: Float[Array, 'h w']) -> Edges:
  """Applies `D V`: the differences of the grid of coefficients `c`.

  Where the grid's own rounding, of the size of its slowest waves, would drown
  the differences of these; twice the products of `difference(idct(c))`.
  """
  h, w = c.shape
  rows, columns = (cosine_basis(n, c.dtype) for n in (h, w))
  # Differences of waves, taken before they are rounded.
  down, right = (
    jnp.asarray(np.diff(exact_cosine_basis(n)), c.dtype) for n in (h, w)
  )
  return Edges(
    down=_matmul(down.T, _matmul(c, columns)),
    right=_matmul(rows.T, _matmul(c, right)),
  )


def filtered(
  u: Float[Array, 'h w'], spectrum: Float[Array, 'h w']
) -> Float[Array, 'h w']:
  """Applies `V diag(spectrum) V'`, a matrix diagonal in the DCT-II basis."""
  return idct(spectrum * dct(u))


def inverse_eigenvalues(
  h: int, w: int, dtype: DTypeLike = jnp.float32
) -> Float[Array, 'h w']:
  """Returns the eigenvalues of `(D'D)^+`, zero for the mean."""
  lam = eigenvalues(h, w, dtype)
  return jnp.where(lam > 0, 1 / jnp.where(lam > 0, lam, 1), 0)


def poisson(f: Float[Array, 'h w']) -> Float[Array, 'h w']:
  """Applies `(D'D)^+`: solves the Poisson problem with reflecting borders.

  Args:
    f: right-hand side; its mean, for which there is no solution, is dropped.

  Returns:
    The solution whose mean is zero.
  """
  return filtered(f, inverse_eigenvalues(*f.shape, f.dtype))


def pinv(a: Edges) -> Float[Array, 'h w']:
  """Applies `D^+`: the zero-mean grid whose differences are nearest `a`."""
  return poisson(adjoint(a))


def pinv_adjoint(y: Float[Array, 'h w']) -> Edges:
  """Applies `D^{+T}`: the smallest flow whose divergence is `y - mean(y)`."""
  return difference(poisson(y))


@functools.cache
def pinv_norm(h: int, w: int) -> float:
  """Returns `|D^+|_1`, the largest sum of absolute values of a column."""
  laplacian = exact_eigenvalues(h, w)
  inverse = 1 / np.where(laplacian > 0, laplacian, np.inf)
  rows, cols = (exact_cosine_basis(n) for n in (h, w))
  largest, above = 0.0, None
  for i in range(h):
    # `(D'D)^+` at the cells of one row, [w, h, w]; a column of `D^+` is the
    # difference of two neighbours'.
    waves = inverse * (rows[:, i, None] * cols.T[:, None, :])
    row = rows.T @ waves @ cols
    steps = [row[1:] - row[:-1]] + ([] if above is None else [row - above])
    for step in steps:
      sums = np.sum(np.abs(step), axis=(1, 2))
      largest = max(largest, float(np.max(sums, initial=0)))
    above = row
  return largest
