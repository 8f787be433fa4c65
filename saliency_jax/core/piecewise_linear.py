"""The input Hessian of a piecewise linear classifier, exactly.

Where the logits are linear in the input, with gradients `W [d, k]`, the Hessian
of the cross-entropy is `H = W A W'`, `A = diag(p) - p p'` (Proposition 1),
whatever the label. `A = L L'` with `L = diag(sqrt p) - p sqrt(p)'`, so
`H = B B'` for `B = W L`, and the eigenpairs of `H` come from the `[k, k]`
matrix `B' B` (Appendix C). The columns of `B` are vector-Jacobian products with
`sqrt(p_i) (e_i - p)`: `W` is never formed.

References:
  Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019.
  https://arxiv.org/abs/1902.00407
"""

from typing import NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import classes
from saliency_jax.core import curvature
from saliency_jax.core import examples
from saliency_jax.core import lapack
from saliency_jax.core import sampling
from saliency_jax.core import types

_HIGHEST = jax.lax.Precision.HIGHEST


class SpectrumInfo(NamedTuple):
  """The whole spectrum, and whether it is the spectrum of the Hessian.

  Attributes:
    values: `[k]` every eigenvalue that need not be zero, in descending order.
    rank: of the Hessian: eigenvalues above the rounding of the largest.
    probs: `[k]` the class probabilities `p`.
    departure: `|H - B B'|_F / |B B'|_F`, estimated; see `departure`.
    is_piecewise_linear: whether that is rounding, so that the pairs are those
      of the Hessian and not only of its Gauss-Newton part.
  """

  values: Float[Array, 'k']
  rank: Int[Array, '']
  probs: Float[Array, 'k']
  departure: Float[Array, '']
  is_piecewise_linear: Bool[Array, '']


def factor(
  logits_fn: types.LogitsFn, x: types.Example, *, batch_size: int | None = 8
) -> Float[Array, 'k d']:
  """Returns `B'`, with `B B'` the Hessian of the cross-entropy at `x`.

  Args:
    logits_fn: one example in, logits `[k]` out.
    x: the example, of `d` entries.
    batch_size: rows made at once. They take the memory of as many gradients,
      and the result the memory of `k` examples.
  """
  logits_fn, x = examples.widened(logits_fn, examples.floats(x))
  logits, pullback = jax.vjp(logits_fn, x)
  _check_logits(logits)

  def row(i):
    cotangent = jnp.sqrt(_probs(logits)[i]) * _centred(logits, i)
    return jax.flatten_util.ravel_pytree(pullback(cotangent)[0])[0]

  return sampling.batched_map(
    row, jnp.arange(logits.size), batch_size=batch_size
  )


def eigenpairs(
  logits_fn: types.LogitsFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None,
  num_pairs: int = 10,
  label: int | Int[Array, ''] | np.integer | None = None,
  num_probes: int = 2,
  batch_size: int | None = 8,
) -> types.Solution:
  """Decomposes the Hessian of the cross-entropy of a piecewise linear network.

  Args:
    logits_fn: one example in, logits `[k]` out.
    x: the example.
    key: consumed by the probes of `departure`; required.
    num_pairs: eigenvectors returned, from 1 to `k`; with all `k` they are the
      Hessian: `H = sum_i values_i v_i v_i'`.
    label: class whose cross-entropy is probed; `None` takes the prediction.
    num_probes: directions in which the Hessian is compared.
    batch_size: vector-Jacobian products held in memory at once.

  Returns:
    `curvature.Eigenpairs`, and `SpectrumInfo`.
  """
  logits_fn, x = examples.widened(logits_fn, examples.floats(x))
  rows = factor(logits_fn, x, batch_size=batch_size)
  checks.count('num_pairs', num_pairs, 1, rows.shape[0])
  gram = jnp.matmul(rows, rows.T, precision=_HIGHEST)
  values, coefficients = lapack.eigh(gram)
  values, coefficients = values[::-1], coefficients[:, ::-1]
  # Rounding; the Hessian has no negative eigenvalue (Theorem 2).
  values = jnp.maximum(values, 0)
  noise = rows.shape[0] * jnp.finfo(rows.dtype).eps * values[0]
  vectors = jnp.matmul(coefficients[:, :num_pairs].T, rows, precision=_HIGHEST)
  norms = jnp.sqrt(jnp.maximum(values[:num_pairs], noise))
  # Of the pairs that are rounding only the product `values_i v_i v_i'` counts.
  vectors = vectors / jnp.where(norms > 0, norms, 1)[:, None]
  off = departure(logits_fn, x, key=key, label=label, num_probes=num_probes)
  info = SpectrumInfo(
    values=values,
    rank=jnp.sum(values > noise).astype(jnp.int32),
    probs=_probs(logits_fn(x)),
    departure=off,
    is_piecewise_linear=off < np.sqrt(jnp.finfo(off.dtype).eps),
  )
  unravel = jax.flatten_util.ravel_pytree(x)[1]
  pairs = curvature.Eigenpairs(values[:num_pairs], jax.vmap(unravel)(vectors))
  return types.Solution(pairs, info)


def departure(
  logits_fn: types.LogitsFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None,
  label: int | Int[Array, ''] | np.integer | None = None,
  num_probes: int = 2,
) -> Float[Array, '']:
  """Returns how far the Hessian is from its Gauss-Newton part, `W A W'`.

  It is `|H - W A W'|_F / |W A W'|_F`, both estimated from the same Gaussian
  directions; rounding, where the logits are linear around `x`. It says nothing
  of how far away the next kink is. Zero where both are zero.

  Args:
    logits_fn: one example in, logits `[k]` out.
    x: the example.
    key: consumed; required.
    label: class whose cross-entropy is meant; `None` takes the prediction.
    num_probes: directions.
  """
  checks.count('num_probes', num_probes)
  if label is None:
    label = jnp.argmax(logits_fn(x))
  loss_fn = lambda logits: -classes.at(jax.nn.log_softmax(logits), label)
  flat = lambda v: jax.flatten_util.ravel_pytree(v)[0]

  def probe(i):
    v = sampling.normal(sampling.draw_key(key, i), x)
    h = flat(curvature.hvp(lambda x: loss_fn(logits_fn(x)), x, v))
    gauss_newton = flat(curvature.gauss_newton_vp(logits_fn, loss_fn, x, v))
    return jnp.sum((h - gauss_newton) ** 2), jnp.sum(gauss_newton**2)

  off, whole = sampling.batched_mean(
    probe, jnp.arange(num_probes), batch_size=1
  )
  return jnp.sqrt(off / jnp.where(whole > 0, whole, 1))


def _check_logits(logits):
  if logits.ndim != 1:
    raise ValueError(f'expected logits [k] of one example, got {logits.shape}')


def _probs(logits):
  return jax.nn.softmax(logits)


def _centred(logits, i):
  """Returns `e_i - p`; near `p_i = 1` a difference would be rounding."""
  probs = _probs(logits)
  own = jnp.arange(logits.size) == i
  rest = jnp.sum(jnp.where(own, 0, probs))
  return jnp.where(own, rest, -probs)
