"""Differences on a grid, and all their inverses, by cosine transforms.

A grid has any number of axes: a chain `[n]`, a plane `[h, w]`, a volume `[d, h,
w]`. `D` takes the differences along its edges, the pairs of cells side by side.
The waves `V` of `operators.py` are the DCT-II basis, one cosine basis an axis,
and `Theta^2` the eigenvalues of the Laplacian with reflecting borders: the sum
of `2 - 2 cos(pi i / n)` over the axes, for frequency `i` on an axis of `n`
cells. So `(D'D)^+`, `D^+`, `D^{+T}` and every matrix that is diagonal in `V`
cost two small matrix products an axis, which suit an accelerator better than a
fast transform does, and no `p x p` matrix is ever formed.

References:
  Strang, The discrete cosine transform, SIAM Review 41(1), 1999.
  https://doi.org/10.1137/S0036144598336745
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.solvers import flows
from saliency_jax.solvers import operators

# Accelerators would multiply in bfloat16, which certifies no gap below 1e-2.
_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


def operator(*cells: int) -> operators.Operator:
  """Returns the differences on a grid of these sizes, and its waves."""
  return operators.Operator(
    shape=cells,
    difference=difference,
    adjoint=adjoint,
    waves=dct,
    from_waves=idct,
    waves_difference=waves_difference,
    eigenvalues=exact_eigenvalues(*cells),
    means=lambda u: jnp.full_like(u, jnp.mean(u)),
    pinv_norm=lambda: pinv_norm(*cells),
  )


def difference(u: Float[Array, '*cells']) -> flows.Flow:
  """Applies `D`: the next cell minus this one, an array an axis.

  On `[h, w]`: down `[h - 1, w]`, right `[h, w - 1]`.
  """

  def along(axis):
    part = functools.partial(jax.lax.slice_in_dim, u, axis=axis)
    return part(1, None) - part(0, -1)

  return tuple(along(axis) for axis in range(u.ndim))


def adjoint(a: flows.Flow) -> Float[Array, '*cells']:
  """Applies `D'`: what flows into each cell minus what flows out."""

  def along(axis, flow):
    closed = [(int(k == axis),) * 2 for k in range(flow.ndim)]
    part = functools.partial(
      jax.lax.slice_in_dim, jnp.pad(flow, closed), axis=axis
    )
    return part(0, -1) - part(1, None)

  return functools.reduce(jnp.add, [along(k, flow) for k, flow in enumerate(a)])


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


def exact_eigenvalues(*cells: int) -> Float[np.ndarray, '*cells']:
  """Returns `Theta^2` in float64 on the host, known while tracing.

  They are laid out by frequencies. All are positive but the first, of the mean,
  which is exactly zero.
  """
  axes = [4 * np.sin(np.pi * np.arange(n) / (2 * n)) ** 2 for n in cells]
  return functools.reduce(np.add.outer, axes)


def _along(axis, matrix, u):
  """Multiplies each line of `u` along the axis by the matrix."""
  if axis == u.ndim - 1:
    return _matmul(u, matrix.T)
  before, after = u.shape[:axis], u.shape[axis + 1 :]
  lines = u.reshape(*before, u.shape[axis], math.prod(after))
  return _matmul(matrix, lines).reshape(*before, matrix.shape[0], *after)


def dct(u: Float[Array, '*cells']) -> Float[Array, '*cells']:
  """Applies `V'`: the coefficients of `u` in the DCT-II basis."""
  for axis, n in enumerate(u.shape):
    u = _along(axis, cosine_basis(n, u.dtype), u)
  return u


def idct(c: Float[Array, '*cells']) -> Float[Array, '*cells']:
  """Applies `V`: the grid whose DCT-II coefficients are `c`."""
  for axis, n in enumerate(c.shape):
    c = _along(axis, cosine_basis(n, c.dtype).T, c)
  return c


def waves_difference(c: Float[Array, '*cells']) -> flows.Flow:
  """Applies `D V`: the differences of the grid of coefficients `c`.

  Where the grid's own rounding, of the size of its slowest waves, would drown
  the differences of these; it takes the products of `idct` once an axis.
  """
  waves = [cosine_basis(n, c.dtype) for n in c.shape]
  # Differences of waves, taken before they are rounded.
  steps = [
    jnp.asarray(np.diff(exact_cosine_basis(n)), c.dtype) for n in c.shape
  ]

  def along(axis):
    out = c
    for k in reversed(range(c.ndim)):
      out = _along(k, (steps if k == axis else waves)[k].T, out)
    return out

  return tuple(along(axis) for axis in range(c.ndim))


@functools.cache
def pinv_norm(*cells: int) -> float:
  """Returns `|D^+|_1`, the largest sum of absolute values of a column."""
  laplacian = exact_eigenvalues(*cells)
  inverse = 1 / np.where(laplacian > 0, laplacian, np.inf)
  first, *rest = (exact_cosine_basis(n) for n in cells)
  # The coefficients of the cells of one slice, but for the first axis.
  waves = functools.reduce(np.kron, [basis.T for basis in rest], np.eye(1))
  waves = waves.reshape(-1, 1, *cells[1:])
  lead = (-1,) + (1,) * len(rest)
  largest, above = 0.0, None
  for i in range(cells[0]):
    # `(D'D)^+` at the cells of one slice, `[*cells[1:], *cells]`; a column of
    # `D^+` is the difference between two neighbours.
    part = inverse * (first[:, i].reshape(lead) * waves)
    for axis, basis in enumerate((first, *rest), start=1):
      part = np.moveaxis(np.tensordot(part, basis, (axis, 0)), -1, axis)
    part = part.reshape(*cells[1:], *cells)
    steps = [np.diff(part, axis=axis) for axis in range(len(rest))]
    steps += [] if above is None else [part - above]
    inner = tuple(range(len(rest), part.ndim))
    for step in steps:
      sums = np.sum(np.abs(step), axis=inner)
      largest = max(largest, float(np.max(sums, initial=0)))
    above = part
  return largest
