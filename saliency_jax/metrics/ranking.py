"""What to remove first: features in the order of their scores, ties at random.

Masking goes by rank and not by threshold, so that the fraction asked for is the
fraction masked whatever the ties: maps that are flat over large areas are
common.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import sampling


def ranks(
  values: Float[Array, '*f'],
  *,
  key: Key[Array, ''] | None = None,
  largest_first: bool = True,
) -> Int[Array, '*f']:
  """Returns the place of each value: 0 for the first one to go.

  Args:
    values: one a feature. NaN goes last.
    key: consumed; ties are broken at random by it, by place without it.
    largest_first: or smallest first.
  """
  flat = values.ravel()
  index = jnp.arange(flat.size, dtype=jnp.int32)
  tie = index
  if key is not None:
    tie = jax.random.permutation(sampling.draw_key(key, 0), index)
  order = jnp.lexsort((tie, -flat if largest_first else flat))
  return jnp.zeros_like(index).at[order].set(index).reshape(values.shape)


def per_pixel(
  scores: Float[Array, '...'], x: Float[Array, 'H W C']
) -> Float[Array, 'H W']:
  """Returns one score a pixel: the sum over channels.

  Raises:
    ValueError: if `x` is not one image, or the scores are not broadcastable
      against it.
  """
  checks.image(x)
  return jnp.broadcast_to(jnp.sum(matching(scores, x), -1), x.shape[:2])


def per_entry(
  scores: Float[Array, '...'], x: Float[Array, '*x']
) -> Float[Array, '*x']:
  """Returns one score an entry of the example, repeating what is shared."""
  return jnp.broadcast_to(matching(scores, x), x.shape)


def matching(
  scores: Float[Array, '...'], x: Float[Array, '*x']
) -> Float[Array, '...']:
  """Returns the scores as they are.

  Raises:
    ValueError: if they are not of the example's rank and broadcastable to it.
  """
  fits = scores.ndim == x.ndim and all(
    s in (1, n) for s, n in zip(scores.shape, x.shape, strict=True)
  )
  if not fits:
    raise ValueError(
      f'scores {scores.shape} do not broadcast against the example {x.shape}'
    )
  return scores


def counts(fractions: Float[Array, 'm'], num: int) -> Int[Array, 'm']:
  """Returns how many of `num` features are nearest to each fraction.

  Raises:
    ValueError: for a fraction that is known and not in [0, 1].
  """
  if fractions.ndim != 1:
    raise ValueError(f'expected fractions [m], got shape {fractions.shape}')
  if not isinstance(fractions, jax.core.Tracer):
    known = np.asarray(fractions)
    checks.within('the least fraction', known.min(), '[0, 1]')
    checks.within('the largest fraction', known.max(), '[0, 1]')
  return jnp.round(fractions * num).astype(jnp.int32)
