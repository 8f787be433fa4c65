"""Maxima of several values, such as max-pools, however they are written.

A pool is one windowed reduction, a reduction of an axis, or a chain of maxima
of pairs. Behind a ReLU whole windows are zero, and where entries tie JAX's
gradient shares or does not by how the pool is written. Here the first has all,
as in torch: of a window in the order of its entries, of a chain in its own.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from saliency_jax.core import primitives
from saliency_jax.core import tapes

_PAIRS = {'max': jnp.greater_equal, 'min': jnp.less_equal}
_AXES = {'reduce_max': jnp.argmax, 'reduce_min': jnp.argmin}


def first(
  equation: primitives.Equation,
  inputs: list[Any],
  outputs: list[Any],
  relevance: list[Any],
) -> list[Any]:
  """Gives all to the entry that was picked, of several the first."""
  name = equation.eqn.primitive.name
  if name in _PAIRS and all(equation.moving):
    picks = lambda a, b: jnp.where(_PAIRS[name](*inputs), a, b)
  elif name in _AXES:
    axes = equation.eqn.params['axes']
    picks = lambda a: _along(axes, a, _AXES[name](_rows(axes, *inputs), -1))
  else:
    return tapes.vjp(equation, inputs, outputs, relevance)
  _, pullback = jax.vjp(picks, *inputs)
  return list(pullback(relevance[0]))


def _rows(axes, a):
  """Returns an array whose last axis holds what is reduced, in order."""
  kept = [i for i in range(a.ndim) if i not in axes]
  shape = (*(a.shape[i] for i in kept), math.prod(a.shape[i] for i in axes))
  return a.transpose(*kept, *sorted(axes)).reshape(shape)


def _along(axes, a, index):
  return jnp.take_along_axis(_rows(axes, a), index[..., None], -1)[..., 0]
