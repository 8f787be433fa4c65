"""How metrics read a map: one number a feature, by its sign or by its size.

A map of evidence is read by sign: what is below zero speaks against the class,
and is the last thing to call important. A map of slopes is read by size: the
sign of a gradient says which way to move a pixel, not how much it matters.

A map that is not finite says nothing: what a metric makes of it is NaN.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from saliency_jax import maskers
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import types


def per_player(
  scores: Any, masker: maskers.Masker, *, by_size: bool = False
) -> Float[Array, '*players']:
  """Returns one score a player, as `Masker.pool` makes it.

  Args:
    scores: a map of the example, or `[*players, 1]`, which is one already.
    masker: of the example.
    by_size: whether `|scores|` are read, or the scores with their signs.
  """
  read = jax.tree.map(lambda s: _read(s, by_size), scores)
  if getattr(read, 'shape', None) == (*masker.shape, 1):
    return read[..., 0]
  values = masker.pool(read)
  shapes = jax.tree.leaves(jax.eval_shape(masker.spread, values))
  if sum(s.size for s in shapes) == masker.num:
    return values
  # Players that were equal before rounding broke their tie are equal again.
  unit = 1e-5 * jnp.max(jnp.abs(values))
  unit = jnp.where(unit > 0, unit, 1)
  return jnp.round(values / unit) * unit


def totals(
  scores: Any, x: types.Example, masker: maskers.Masker
) -> Float[Array, '*players']:
  """Returns the sum of the scores of each player's entries.

  An entry that a player has in part, as of a masker that interpolates, counts
  by that part. What is shared, as by channels, counts for each.

  Args:
    scores: a map of the example, or `[*players, 1]`, which is summed already.
    x: the example.
    masker: of the example.

  Raises:
    ValueError: if the scores do not broadcast to the example.
  """
  wide = examples.wide(scores)
  if getattr(wide, 'shape', None) == (*masker.shape, 1):
    return wide[..., 0]
  wide = jax.tree.map(per_entry, wide, x)

  def promised(values):
    products = jax.tree.map(
      lambda s, part: jnp.sum(s * part.astype(s.dtype)),
      wide,
      masker.spread(values),
    )
    return sum(jax.tree.leaves(products))

  zeros = jnp.zeros(masker.shape, examples.result_dtype(wide))
  # It is linear: the derivative by a player is what the player has.
  return jax.grad(promised)(zeros)


def per_pixel(
  scores: Float[Array, '...'],
  x: Float[Array, 'H W C'],
  *,
  by_size: bool = False,
) -> Float[Array, 'H W']:
  """Returns one score a pixel: the sum over channels.

  Args:
    scores: broadcastable against `x`.
    x: the image.
    by_size: whether `|scores|` are summed, or the scores with their signs.

  Raises:
    ValueError: if `x` is not one image, or the scores do not broadcast to it.
  """
  checks.image(x)
  read = _read(matching(scores, x), by_size)
  return jnp.broadcast_to(jnp.sum(read, -1), x.shape[:2])


def per_entry(
  scores: Float[Array, '...'], x: Num[Array, '*x'], *, by_size: bool = False
) -> Float[Array, '*x']:
  """Returns one score an entry of the example, repeating what is shared."""
  return jnp.broadcast_to(_read(matching(scores, x), by_size), x.shape)


def matching(
  scores: Float[Array, '...'], x: Num[Array, '*x']
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


def if_finite(measured: Any, *read: Any) -> Any:
  """Returns what was measured, or NaN in its place where a map is not finite.

  Args:
    measured: a pytree of floats.
    read: the maps that it was made of, arrays or trees of them.
  """
  leaves = jax.tree.leaves(read)
  finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(m)) for m in leaves]))
  return jax.tree.map(lambda a: jnp.where(finite, a, jnp.nan), measured)


def relative(
  change: Float[Array, '...'], scale: Float[Array, '...']
) -> Float[Array, '...']:
  """Returns `change / scale` of sizes: 0 is no change, whatever the scale is.

  A change of what was zero is infinite.
  """
  return jnp.where(change == 0, 0, change / scale)


def _read(scores, by_size):
  return jnp.abs(scores) if by_size else scores
