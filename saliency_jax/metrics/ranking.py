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
    values: one a feature. NaN goes last: metrics of such a map are NaN.
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
