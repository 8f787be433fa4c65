"""The neighbourhoods in which an attack may move, by their norm."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import sampling
from saliency_jax.core import types


class Ball(NamedTuple):
  """A ball about zero.

  Attributes:
    norm: of a step.
    project: `(step, rho)` to the nearest step in the ball.
    draw: `(key, like, rho)` to a random step on its surface.
    steepest: from a gradient to the step of norm one along which it rises
      fastest; zeros stay.
  """

  norm: Callable[[Float[Array, '...']], Float[Array, '']]
  project: Callable[..., Float[Array, '...']]
  draw: Callable[..., Float[Array, '...']]
  steepest: Callable[[Float[Array, '...']], Float[Array, '...']]


def _l2_norm(step):
  return jnp.linalg.norm(step.ravel())


def _onto_sphere(step, rho):
  norm = _l2_norm(step)
  return step * (rho / jnp.where(norm > 0, norm, 1))


def _l2_project(step, rho):
  return jnp.where(_l2_norm(step) > rho, _onto_sphere(step, rho), step)


def _l2_draw(
  key: Key[Array, ''], like: Float[Array, '...'], rho: types.Scalar
) -> Float[Array, '...']:
  return _onto_sphere(sampling.normal(key, like), jnp.asarray(rho, like.dtype))


def _linf_draw(key, like, rho):
  return jnp.asarray(rho, like.dtype) * sampling.signs(key, like)


def _unit(grad):
  """Divides by the L2 norm; zeros stay, and have the derivative zero."""
  # The result does not depend on this scale, so neither does its derivative:
  # squares of small gradients would be lost.
  peak = jax.lax.stop_gradient(jnp.max(jnp.abs(grad)))
  grad = grad / jnp.where(peak > 0, peak, 1)
  squared = jnp.sum(grad**2)
  return grad / jnp.sqrt(jnp.where(squared > 0, squared, 1))


l2 = Ball(_l2_norm, _l2_project, _l2_draw, _unit)
linf = Ball(
  lambda step: jnp.max(jnp.abs(step)),
  lambda step, rho: jnp.clip(step, -rho, rho),
  _linf_draw,
  jnp.sign,
)
