"""The largest box on which a decision provably holds: beyond the papers.

    argmax_{0 <= w <= C} sum_i w_i   s.t.   low(w) > 0

with `low(w)` the least margin over `[x - w, x + w]` by `core.intervals`, which
rounds outward: on the box that is returned no input changes the decision. Boxes
grow by programs of one constraint, `low` linearised in `w`, whose solution
fills the flattest entries first; each is then scaled down until it verifies. On
a linear two-class model the first one is the optimum. Elsewhere the bounds are
loose, more so the deeper the network: what is not certified is not refuted.

References:
  Hara, Ikeno, Soma and Maehara, Maximally invariant data perturbation as
  explanation, 2018. https://arxiv.org/abs/1806.07004
  Gowal et al., On the effectiveness of interval bound propagation for training
  verifiably robust models, 2018. https://arxiv.org/abs/1810.12715
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import intervals
from saliency_jax.core import types
from saliency_jax.optimization import boxes

# By how much a width may grow at once; the best of them is taken.
_GROWTHS = (1e30, 4.0, 1.5)


class CertifiedInfo(NamedTuple):
  """The box, and what is proven of it.

  Attributes:
    box: widths, shared by entries as asked; both ends alike.
    margin: no point of the box has a smaller one. Positive: the decision holds
      on all of it. Otherwise the box is empty and nothing is proven.
    size: the mean width of the verified box, at first and after each round.
    saturated: share of the widths that are `most`, and so tie.
  """

  box: boxes.Box
  margin: Float[Array, '']
  size: Float[Array, 'n+1']
  saturated: Float[Array, '']


def certified_box(
  fn: types.MarginsFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  start: Float[Array, '...'] | None = None,
  max_width: types.Scalar = 1.0,
  num_rounds: int = 8,
  num_halvings: int = 30,
  patch: int = 1,
  per_channel: bool = True,
) -> types.Attribution:
  """Finds a large box about `x` on which a decision provably holds.

  Args:
    fn: margins of the decision, `scores.margins`; margins of probabilities
      have looser bounds.
    x: the example.
    key: not used.
    start: widths to start from, as shared: the largest verified multiple of
      them is the first box. `None` starts from a cube.
    max_width: largest width `C`.
    num_rounds: rounds of growth; none scales `start` only.
    num_halvings: of the interval that the scale is sought in.
    patch: side of the squares that share a width.
    per_channel: whether each channel has its own.

  Returns:
    Scores, minus the widths, and `CertifiedInfo`.

  Raises:
    ValueError: for a score of one number, which may be no margin, or a
      primitive that the bounds do not know, by its name.

  Examples:
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> margins = lambda x: jnp.array([x[0], 1 + x[0] + x[1]])  # Of two others.
    >>> maps, info = saliency_jax.certified_box(margins, jnp.ones(3))
    >>> maps.shape, bool((maps < 0).all())
    ((3,), True)
  """
  del key
  x = examples.floats(x)
  checks.within('max_width', max_width, '(0, inf)')
  checks.count('num_rounds', num_rounds, 0)
  checks.count('num_halvings', num_halvings)
  max_width = jnp.asarray(max_width, x.dtype)
  shape = boxes.grid_shape(x, patch, per_channel)
  if start is None:
    start = jnp.full(shape, max_width)
  checks.same_shape('start', start, jnp.zeros(shape, x.dtype))
  spread = lambda widths: boxes.spread(widths, x.shape, patch)
  # How many entries have each width.
  counts = jax.linear_transpose(spread, start)(jnp.ones_like(x))[0]

  fn = boxes.margins_of(fn)

  def lower(widths):
    return jnp.min(
      intervals.bounds(fn, intervals.around(x, spread(widths))).low
    )

  def verified(widths):
    """Returns the largest multiple, at most one, that verifies."""

    def halve(ends, _):
      low, high = ends
      middle = (low + high) / 2
      good = lower(middle * widths) > 0
      return (
        jnp.where(good, middle, low),
        jnp.where(good, high, middle),
      ), None

    one = jnp.ones((), x.dtype)
    ends = (jnp.where(lower(widths) > 0, one, 0), one)
    (scale, _), _ = jax.lax.scan(halve, ends, None, length=num_halvings)
    # Another program may round the bound another way.
    return scale * (1 - 16 * float(jnp.finfo(x.dtype).eps)) * widths

  def size(widths):
    return jnp.sum(counts * widths) / x.size

  def grow(widths, _):
    low, slope = jax.value_and_grad(lower)(widths)
    price = jnp.maximum(-slope, 0)

    def candidate(growth):
      # A width of zero may grow, too, from a thousandth of the mean.
      base = jnp.maximum(widths, 1e-3 * size(widths))
      return verified(
        _knapsack(
          counts,
          price,
          low + jnp.sum(price * widths),
          jnp.minimum(max_width, growth * base),
        )
      )

    growths = jnp.asarray(_GROWTHS, x.dtype)
    tried = jax.lax.map(candidate, growths)
    tried = jnp.concatenate([widths[None], tried])
    sizes = jax.vmap(size)(tried)
    # A bound that is infinite has no slope, and its candidates are NaN.
    best = jnp.argmax(jnp.nan_to_num(sizes, nan=-1.0))
    return tried[best], sizes[best]

  first = verified(jnp.minimum(start, max_width))
  widths, sizes = jax.lax.scan(grow, first, None, length=num_rounds)
  info = CertifiedInfo(
    box=boxes.Box(widths, widths),
    margin=lower(widths),
    size=jnp.concatenate([size(first)[None], sizes]),
    saturated=jnp.mean((widths >= 0.999 * max_width).astype(x.dtype)),
  )
  return types.Attribution(-spread(widths), info)


def _knapsack(
  values: Float[Array, '...'],
  prices: Float[Array, '...'],
  budget: Float[Array, ''],
  caps: Float[Array, '...'],
) -> Float[Array, '...']:
  """Returns `argmax_{0 <= w <= caps} values.w  s.t.  prices.w <= budget`."""
  value, price, cap = (a.ravel() for a in (values, prices, caps))
  order = jnp.argsort(price / value)
  price, cap = price[order], cap[order]
  spent = jnp.cumsum(price * cap) - price * cap
  room = (budget - spent) / jnp.where(price > 0, price, 1)
  filled = jnp.where(price > 0, jnp.clip(room, 0, cap), cap)
  return jnp.zeros_like(filled).at[order].set(filled).reshape(values.shape)
