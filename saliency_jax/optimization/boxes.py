"""Boxes about an example, and whether a decision holds on them.

    R(u, v) = prod_i [x_i - v_i, x_i + u_i]

A decision is a function of one example. Its outputs, the margins, are all
positive while the decision holds: `scores.margins` and `scores.prob_margins`
return one margin for each other class.

Random draws from a box of high dimension hardly ever come near its corners. So
the share of draws that violate the decision is a statistic and no guarantee;
`inspect` also tries a corner, and gradient ascent, which find violations that
draws miss.

References:
  Ikeno and Hara, Maximizing invariant data perturbation with stochastic
  optimization, 2018. https://arxiv.org/abs/1807.05077
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import checks
from saliency_jax.core import host
from saliency_jax.core import sampling
from saliency_jax.core import types

# The 97.5% quantile of the normal distribution.
_Z = 1.959964


class Box(NamedTuple):
  """How far each entry may move down and up: widths, at least zero."""

  down: Float[Array, '...']
  up: Float[Array, '...']


class Inspection(NamedTuple):
  """Whether the decision holds at an example and on a box about it.

  Attributes:
    margin: the least margin at the example; unless it is positive, the decision
      does not hold there and the box means nothing.
    violation: share of uniform draws from the box that violate the decision.
    violation_low: lower end of the share's 95% interval (Wilson's).
    violation_high: upper end.
    shortfall: mean over the draws of `sum_j max(0, -g_j)`, for the box and then
      for each rival.
    corner_margin: the least margin at one corner: the corner towards which that
      margin falls, by the signs of its gradient at the example. Negative: this
      corner changes the decision.
    attack_margin: the least margin that projected ascent found in the box; the
      corner above is one of its starts.
  """

  margin: Float[Array, '']
  violation: Float[Array, '']
  violation_low: Float[Array, '']
  violation_high: Float[Array, '']
  shortfall: Float[Array, 'b']
  corner_margin: Float[Array, '']
  attack_margin: Float[Array, '']


def margins_of(fn: types.MarginsFn) -> types.MarginsFn:
  """Returns `fn`, whose outputs are seen to be margins when they are traced.

  Raises:
    ValueError: for a score of one number: a probability, never negative, would
      hold everywhere. (Several numbers that are no margins, such as all
      probabilities, cannot be told apart before they are computed.)
  """

  def margins(x):
    margins = fn(x)
    if margins.ndim != 1 or not margins.size:
      raise ValueError(
        f'expected margins [m] of a decision, got outputs {margins.shape}: '
        'pass scores.margins or scores.prob_margins, or a margin of your own, '
        'negative where the decision changes, as lambda x: margin(x)[None]'
      )
    return margins

  return margins


def grid_shape(
  x: Float[Array, '...'], patch: int, per_channel: bool
) -> tuple[int, ...]:
  """Returns the shape of widths that entries of `x` share.

  Args:
    x: the example; an image unless every entry has a width of its own.
    patch: side of the squares that share a width.
    per_channel: whether each channel has its own.
  """
  checks.count('patch', patch)
  if patch == 1 and per_channel:
    return x.shape
  checks.image(x)
  h, w, c = x.shape
  return -(-h // patch), -(-w // patch), c if per_channel else 1


def spread(
  widths: Float[Array, '...'], shape: tuple[int, ...], patch: int
) -> Float[Array, '...']:
  """Returns the width of each entry from those that entries share."""
  if patch > 1:
    h, w, _ = shape
    widths = jnp.repeat(jnp.repeat(widths, patch, 0)[:h], patch, 1)[:, :w]
  return jnp.broadcast_to(widths, shape)


def place(
  x: Float[Array, '...'], box: Box, t: Float[Array, '...']
) -> Float[Array, '...']:
  """Returns the point of the box at `t`, in [-1, 1] from its low to its end."""
  return x + (box.up - box.down) / 2 + t * ((box.up + box.down) / 2)


def holds(margins: Float[Array, '*m']) -> Array:
  """Returns whether all margins are positive; NaN is not."""
  return jnp.all(margins > 0)


@host.own_errors()
def inspect(
  fn: types.MarginsFn,
  x: Float[Array, '...'],
  box: Box,
  *,
  rivals: Sequence[Box] = (),
  key: Key[Array, ''] | None,
  num_draws: int,
  num_checks: int,
  num_ascent: int,
  batch_size: int | None,
) -> Inspection:
  """Looks for points of a box, the size of `x`, where the decision changes.

  Args:
    fn: margins of the decision.
    x: the example.
    box: how far it may move.
    rivals: boxes to compare the shortfall of the draws with.
    key: of the draws.
    num_draws: draws that the search took of the same key.
    num_checks: draws that the box is judged by.
    num_ascent: steps of the ascent, each a quarter of the box's half width.
    batch_size: draws held in memory at once.
  """
  checks.count('num_checks', num_checks)
  checks.count('num_ascent', num_ascent)
  least = lambda x: jnp.min(fn(x))

  num_boxes = 1 + len(rivals)
  all_boxes = jax.tree.map(
    lambda *a: jnp.stack(a).astype(x.dtype), box, *rivals
  )

  def judge(i):
    """Judges a draw of a box, as a row of a table of which the others are 0."""
    of, i = i // num_checks, i % num_checks
    own = sampling.key_for(key, sampling.INSPECTION + i, num_draws)
    t = sampling.uniform(own, x, low=-1)
    margins = fn(place(x, jax.tree.map(lambda a: a[of], all_boxes), t))
    violated = (~holds(margins)).astype(x.dtype)
    row = jnp.stack([violated, jnp.sum(jax.nn.relu(-margins))])
    return jnp.where(jnp.arange(num_boxes)[:, None] == of, row[None], 0)

  # All boxes in one loop: `fn` is traced once.
  means = num_boxes * sampling.batched_mean(
    judge, jnp.arange(num_boxes * num_checks), batch_size=batch_size
  )
  rate, shortfall = means[0, 0], means[:, 1]
  margin, slope = jax.value_and_grad(least)(x)
  corner = -jnp.sign(slope)
  at = lambda t: least(place(x, jax.tree.map(lambda a: a[0], all_boxes), t))

  def descend(t, _):
    value, slope = jax.value_and_grad(at)(t)
    return jnp.clip(t - 0.25 * jnp.sign(slope), -1, 1), value

  last, trace = jax.lax.scan(
    descend, jnp.zeros_like(x), None, length=num_ascent
  )
  corner_margin = at(corner)
  margins = jnp.stack([margin, corner_margin, at(last), jnp.min(trace)])
  low, high = _wilson(rate, num_checks)
  return Inspection(
    margin=margin,
    violation=rate,
    violation_low=low,
    violation_high=high,
    shortfall=shortfall,
    corner_margin=corner_margin,
    attack_margin=jnp.min(margins),
  )


def _wilson(rate, n):
  """Returns the ends of the interval of a share of `n` draws."""
  shrunk = 1 + _Z**2 / n
  middle = (rate + _Z**2 / (2 * n)) / shrunk
  half = _Z / shrunk * jnp.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2))
  return jnp.maximum(middle - half, 0), jnp.minimum(middle + half, 1)
