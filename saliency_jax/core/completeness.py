"""How far the scores of a map are from summing to what they explain."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def total(scores: Any) -> Float[Array, '']:
  """Returns the sum of all entries of a pytree."""
  return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(scores))


def errors(
  total: Float[Array, ''],
  score: Float[Array, ''],
  baseline_score: Float[Array, ''],
) -> tuple[Float[Array, ''], Float[Array, '']]:
  """Returns the absolute and the relative completeness error.

  Args:
    total: the sum of the scores.
    score: `f(x)`.
    baseline_score: `f(b)`.

  Returns:
    `|total - (f(x) - f(b))|`, and the same over `|f(x) - f(b)|`.
  """
  gap = score - baseline_score
  error = jnp.abs(total.astype(gap.dtype) - gap)
  return error, ratio(error, jnp.abs(gap))


def ratio(above: Float[Array, ''], below: Float[Array, '']) -> Float[Array, '']:
  """Returns the quotient; nothing of nothing is nothing."""
  return jnp.where(above == 0, 0, above / below)
