"""Batch normalisation in networks that are functions of one example.

    y = scale (x - mean) / sqrt(variance + epsilon) + bias

The mean and the variance are parameters that no gradient moves: a network
normalises by what its parameters hold, one example as well as a batch. Training
replaces them by the statistics of its batch, and lets those that are kept run
along: see `training.total` and `core.types.Statistics`.

References:
  Ioffe and Szegedy, Batch normalization: accelerating deep network training by
  reducing internal covariate shift, 2015. https://arxiv.org/abs/1502.03167
"""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.core import examples
from saliency_jax.core import types

# The axis of the examples of a batch, or of a device's part of one.
_EXAMPLES = 'examples'


class Statistic(nnx.Param):
  """A running statistic: among the parameters, so that files hold it."""


class BatchNorm(nnx.Module):
  """Normalises channels by their statistics, then scales and shifts."""

  def __init__(self, features: int, *, epsilon: float = 1e-5):
    self.scale = nnx.Param(jnp.ones(features))
    self.bias = nnx.Param(jnp.zeros(features))
    self.mean = Statistic(jnp.zeros(features))
    self.variance = Statistic(jnp.ones(features))
    self.epsilon = epsilon
    # `x -> (mean, variance)` of a batch, which then are kept.
    self.moments = None

  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n h w c']:
    """Normalises feature maps."""
    if self.moments is not None:
      self.mean[...], self.variance[...] = self.moments(x)
    mean, variance, scale, bias = (
      a[...].astype(x.dtype).reshape(1, 1, 1, -1)
      for a in (self.mean, self.variance, self.scale, self.bias)
    )
    # Parameters that were made random have variances below zero.
    deviation = jnp.sqrt(jnp.maximum(variance, 0) + self.epsilon)
    return (x - mean) * (scale / deviation) + bias


def statistics(module: nnx.Module) -> types.Statistics | None:
  """Returns how the statistics of a module are found, read and written.

  Args:
    module: maps batches to logits; `None` is returned of one that has no
      `BatchNorm`.
  """
  graph, params, rest = nnx.split(module, nnx.Param, ...)
  paths = [
    path
    for path, variable in nnx.to_flat_state(params)
    if isinstance(variable, Statistic)
  ]
  if not paths:
    return None

  def read(params):
    at = lambda path: functools.reduce(lambda node, k: node[k], path, params)
    return [at(path) for path in paths]

  def write(params, found):
    for path, value in zip(paths, found, strict=True):
      params = _put(params, path, value)
    return params

  def of_batch(params, xs, weight, axis_name=None):
    axes = (_EXAMPLES,) if axis_name is None else (_EXAMPLES, axis_name)

    # As `apply` computes it, so that a compiler finds what is the same in both.
    def one(x, weight):
      network = nnx.merge(graph, nnx.State(params), rest)
      for _, norm in nnx.iter_modules(network):
        if isinstance(norm, BatchNorm):
          norm.moments = functools.partial(_moments, weight=weight, axes=axes)
      network(x[None])
      return read(nnx.to_pure_dict(nnx.state(network, nnx.Param)))

    run = jax.vmap(one, axis_name=_EXAMPLES, out_axes=None)
    return run(xs, weight)

  return types.Statistics(of_batch, read, write)


def _moments(
  x: Float[Array, 'n h w c'],
  *,
  weight: Float[Array, ''],
  axes: Sequence[str],
) -> tuple[Float[Array, 'c'], Float[Array, 'c']]:
  """Returns mean and variance of each channel, over all named axes too."""
  x = examples.wide(x)
  weight = weight.astype(x.dtype)
  total = lambda a: jax.lax.psum(weight * jnp.sum(a, (0, 1, 2)), axes)
  count = jnp.maximum(total(jnp.ones_like(x)), 1)
  mean = total(x) / count
  variance = total((x - mean.reshape(1, 1, 1, -1)) ** 2) / count
  return mean, variance


def _put(tree: Mapping[Any, Any], path: Sequence[Any], value: Any) -> Any:
  """Returns nested dictionaries with another value at a path."""
  first, *others = path
  return {**tree, first: _put(tree[first], others, value) if others else value}
