"""The neighbourhoods in which an attack may move, by their norm."""

from collections.abc import Callable
from typing import NamedTuple

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
  """

  norm: Callable[[Float[Array, '...']], Float[Array, '']]
  project: Callable[..., Float[Array, '...']]
  draw: Callable[..., Float[Array, '...']]


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


l2 = Ball(_l2_norm, _l2_project, _l2_draw)
linf = Ball(
  lambda step: jnp.max(jnp.abs(step)),
  lambda step, rho: jnp.clip(step, -rho, rho),
  _linf_draw,
)
