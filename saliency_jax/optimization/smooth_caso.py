"""CAFO and CASO of a loss averaged over Gaussian neighbours.

The gradient and the Hessian of `caso.py` become `E[grad f(x + z)]` and
`E[Hess f(x + z)]`, `z ~ N(0, sigma^2 I)` (equation 8). They are the gradient
and the Hessian of the blurred loss, which is smooth where the loss has kinks.

References:
  Singla, Wallace, Feng and Feizi, Understanding impacts of high-order loss
  approximations and features in deep learning interpretation, ICML 2019.
  https://arxiv.org/abs/1902.00407
"""

import functools
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Key

from saliency_jax.core import curvature
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.optimization import caso
from saliency_jax.optimization import sparsity_weight


class SmoothInfo(NamedTuple):
  """A map of averages over neighbours.

  Attributes:
    solution: `CafoInfo` or `CasoInfo` of the averaged model.
    stderr: standard error of each entry of the gradient.
    mean_loss: mean of the loss over the neighbours.
  """

  solution: Any
  stderr: types.Example
  mean_loss: Float[Array, '']


def smooth_cafo(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  sigma: types.Sigma = 0.15,
  num_samples: int = 16,
  batch_size: int | None = 8,
  lam1: sparsity_weight.Lam1 = None,
  sparsity: types.Scalar = 0.75,
  lam2: types.Scalar | None = None,
  kappa: types.Scalar = 10.0,
) -> types.Attribution:
  """Finds the CAFO map of the loss averaged over Gaussian neighbours.

  Args:
    fn: the loss.
    x: the example.
    key: consumed; required.
    sigma: standard deviation of the noise in units of `x`, or a function of
      `x` that returns it (`smoothgrad.of_range`).
    num_samples: draws of the noise.
    batch_size: draws held in memory at once; `None` holds them all.
    lam1: see `cafo`.
    sparsity: see `cafo`.
    lam2: see `cafo`.
    kappa: see `cafo`.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> maps, info = saliency_jax.smooth_cafo(
    ...   lambda x: (x**4).sum(), jnp.arange(8.0), key=jax.random.key(0)
    ... )
    >>> maps.shape, float((maps == 0).mean())
    ((8,), 0.75)
  """
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  smooth = _smooth(fn, wide, key, sigma, num_samples, batch_size)
  out = caso.first_order(
    smooth.fn,
    wide,
    smooth.gradient,
    lam1=lam1,
    sparsity=sparsity,
    lam2=lam2,
    kappa=kappa,
  )
  info = SmoothInfo(out.info, smooth.stderr, smooth.mean_loss)
  return examples.attribution(x, out.scores, info)


def smooth_caso(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  sigma: types.Sigma = 0.15,
  num_samples: int = 16,
  batch_size: int | None = 8,
  lam1: sparsity_weight.Lam1 = None,
  sparsity: types.Scalar = 0.75,
  lam2: types.Scalar | None = None,
  kappa: types.Scalar = 10.0,
  num_steps: int = 12,
  eigen_steps: int = 12,
) -> types.Attribution:
  """Finds the CASO map of the loss averaged over Gaussian neighbours.

  Every step takes a Hessian product a draw, made anew so that memory does not
  grow with their number: `num_samples (num_steps + eigen_steps + 1)` of them.

  Args:
    fn: the loss.
    x: the example.
    key: consumed; required.
    sigma: standard deviation of the noise: see `smooth_cafo`.
    num_samples: draws of the noise, the same in every product.
    batch_size: draws held in memory at once; `None` holds them all.
    lam1: see `caso`.
    sparsity: see `caso`.
    lam2: see `caso`.
    kappa: see `caso`.
    num_steps: see `caso`.
    eigen_steps: see `caso`.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> maps, info = saliency_jax.smooth_caso(
    ...   lambda x: (x**4).sum(), jnp.arange(8.0), key=jax.random.key(0)
    ... )
    >>> maps.shape, float((maps == 0).mean())
    ((8,), 0.75)
  """
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  smooth = _smooth(fn, wide, key, sigma, num_samples, batch_size)
  curve = caso.curve_of_product(
    smooth.product,
    wide,
    key=sampling.key_for(key, sampling.EIGENVECTORS, num_samples),
    num_steps=num_steps,
    eigen_steps=eigen_steps,
  )
  out = caso.second_order(
    smooth.fn,
    wide,
    smooth.gradient,
    curve,
    lam1=lam1,
    sparsity=sparsity,
    lam2=lam2,
    kappa=kappa,
    num_steps=num_steps,
  )
  info = SmoothInfo(out.info, smooth.stderr, smooth.mean_loss)
  return examples.attribution(x, out.scores, info)


class _Smooth(NamedTuple):
  """Means over the neighbours."""

  fn: types.ScoreFn
  gradient: types.Example
  product: curvature.Product
  stderr: types.Example
  mean_loss: Float[Array, '']


def _smooth(fn, x, key, sigma, num_samples, batch_size):
  over = functools.partial(
    sampling.over_neighbours,
    key=key,
    # The level at the example holds for the averaged loss wherever it is taken.
    sigma=sigma(x) if callable(sigma) else sigma,
    num_samples=num_samples,
    batch_size=batch_size,
  )
  (mean_loss, gradient), (_, variance) = over(
    lambda neighbour, _: jax.value_and_grad(fn)(neighbour), x
  )
  return _Smooth(
    fn=lambda x: over(lambda neighbour, _: fn(neighbour), x)[0],
    gradient=gradient,
    product=lambda v: over(
      lambda neighbour, _: curvature.hvp(fn, neighbour, v), x
    )[0],
    stderr=sampling.standard_error(variance, num_samples),
    mean_loss=mean_loss,
  )
