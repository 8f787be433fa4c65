"""Numbers on the edges of a graph: sums, sizes, extremes."""

import functools
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# One number on each edge, in arrays as the graph lays them out: one an axis of
# a grid, all in one array of any other graph.
Flow: TypeAlias = tuple[Float[Array, '...'], ...]


def magnitude(a: Flow) -> Flow:
  """Returns the absolute value on each edge."""
  return jax.tree.map(jnp.abs, a)


def total(a: Flow) -> Float[Array, '']:
  """Returns the sum over all edges."""
  return functools.reduce(jnp.add, [jnp.sum(flow) for flow in a])


def largest(a: Flow) -> Float[Array, '']:
  """Returns the largest absolute value, 0 on a graph without edges."""
  return functools.reduce(
    jnp.maximum, [jnp.max(jnp.abs(flow), initial=0) for flow in a]
  )


def least(a: Flow) -> Float[Array, '']:
  """Returns the smallest value, infinity on a graph without edges."""
  return functools.reduce(
    jnp.minimum, [jnp.min(flow, initial=jnp.inf) for flow in a]
  )


def count(a: Flow) -> int:
  """Returns the number of edges."""
  return sum(flow.size for flow in a)
