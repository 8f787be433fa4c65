"""The largest box on which a decision provably holds: beyond the papers.

    argmax_{0 <= w <= C} sum_i w_i   s.t.   low(w) > 0

with `low(w)` no more than the least margin over `[x - w, x + w]`: by linear
bounds of the network, or others of `box_bounds`. On the box that is returned no
input changes the decision, in exact arithmetic of the network whose parameters
are the numbers that they are: see `core.linear_bounds`. A network evaluated in
float32 differs from it by its rounding, for which `min_margin` leaves room.

Boxes grow by programs of one constraint, `low` linearised in `w`, whose
solution fills the flattest entries first; each is then scaled down until it
verifies. On a linear two-class model the first one is the optimum. Elsewhere
the bounds are loose, more so the deeper the network: what is not certified is
not refuted.

Bounds are computed in float64, for which JAX has no room in a loop that is
batched from outside: map over examples by `vmap`, see `core.wide`.

References:
  Hara, Ikeno, Soma and Maehara, Maximally invariant data perturbation as
  explanation, 2018. https://arxiv.org/abs/1806.07004
  Zhang, Weng, Chen, Hsieh and Daniel, Efficient neural network robustness
  certification with general activation functions, 2018.
  https://arxiv.org/abs/1811.00866
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import types
from saliency_jax.core import wide
from saliency_jax.optimization import box_bounds
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
  bound: box_bounds.Bound = box_bounds.interval,
  max_width: types.Scalar = 1.0,
  min_margin: types.Scalar = 0.0,
  num_rounds: int = 8,
  num_halvings: int = 20,
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
    bound: of the least margin over a box: `box_bounds.interval`; or
      `box_bounds.crown` and `box_bounds.alpha_crown`, whose boxes are wider and
      which take longer to compile.
    max_width: largest width `C`.
    min_margin: what every margin has to keep on the box, such as for the
      rounding of a network that is evaluated in float32.
    num_rounds: rounds of growth; none scales `start` only.
    num_halvings: of the interval that the scale of a box is sought in.
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
  checks.within('min_margin', min_margin, '[0, inf)')
  checks.count('num_rounds', num_rounds, 0)
  checks.count('num_halvings', num_halvings)
  shape = boxes.grid_shape(x, patch, per_channel)
  if start is None:
    start = jnp.full(shape, max_width, x.dtype)
  checks.same_shape('start', start, jnp.zeros(shape, x.dtype))
  spread = lambda widths: boxes.spread(widths, x.shape, patch)
  reader = bound(boxes.margins_of(fn), x)
  with wide.precision():
    start = jnp.minimum(*map(_wide, (start, max_width)))
    gather = lambda a: jax.linear_transpose(spread, start)(a)[0]
    found, sizes = _search(
      reader,
      start,
      spread,
      gather,
      max_width=_wide(max_width),
      min_margin=_wide(min_margin),
      num_rounds=num_rounds,
      num_halvings=num_halvings,
    )
    # Inside of the box that is verified, whatever is rounded.
    dtype = examples.accumulator(x.dtype)
    widths = _shrunk(found.widths, dtype)
    info = CertifiedInfo(
      box=boxes.Box(widths, widths),
      margin=_shrunk(found.margin, dtype),
      size=sizes.astype(dtype),
      saturated=jnp.mean((widths >= 0.999 * max_width).astype(dtype)),
    )
    scores = -spread(_shrunk(found.widths, x.dtype))
  return types.Attribution(scores, info)


class _Found(NamedTuple):
  """A verified box."""

  widths: Float[Array, '...']
  margin: Float[Array, '']
  known: Any  # Of the bound, for its prices.
  size: Float[Array, '']


def _search(
  reader,
  start,
  spread,
  gather,
  *,
  max_width,
  min_margin,
  num_rounds,
  num_halvings,
):
  """Returns the best box and the size after each round.

  Args:
    reader: `box_bounds.Reader`.
    start: shared widths.
    spread: from shared widths to all entries' own.
    gather: its transpose.
    max_width: see `certified_box`; so are the other settings.
    min_margin: see `certified_box`.
    num_rounds: see `certified_box`.
    num_halvings: see `certified_box`.
  """
  # How many entries have each width.
  counts = gather(jnp.ones_like(spread(start)))
  size = lambda widths: jnp.sum(counts * widths) / jnp.sum(counts)

  def verified(widths, learned):
    """Returns the largest multiple, at most one, that verifies."""

    def attempt(i, found):
      low, high, margin, known = found
      # At the example, at the whole, down until it verifies, then halfway.
      between = jnp.where(low > 0, (low + high) / 2, high / 4)
      scale = jnp.where(i > 1, between, jnp.where(i > 0, 1, 0))
      least, slope = reader.low(spread(scale * widths), learned)
      good = least > min_margin
      margin, known = jax.tree.map(
        lambda new, old: jnp.where(good | (i == 0), new, old),
        (least, slope),
        (margin, known),
      )
      ends = jnp.where(good, scale, low), jnp.where(good, high, scale)
      return *ends, margin, known

    zero = jnp.zeros_like(max_width)
    found = zero, zero + 1, *_blank(reader.low, spread(widths), learned)
    scale, _, margin, known = jax.lax.fori_loop(
      0, 2 + num_halvings, attempt, found
    )
    return _Found(scale * widths, margin, known, scale * size(widths))

  def proposed(best, learned):
    """Returns what is learned at the best box, and larger ones."""
    learned = reader.learn(spread(best.widths), learned)
    prices = reader.prices(spread(best.widths), best.known)

    def fill(price, growth):
      # A width of zero may grow, too, from a thousandth of the mean.
      base = jnp.maximum(best.widths, 1e-3 * best.size)
      caps = jnp.minimum(max_width, growth * base)
      budget = best.margin - min_margin + jnp.sum(price * best.widths)
      return _knapsack(counts, price, budget, caps)

    growths = jnp.asarray(_GROWTHS, start.dtype)
    fill_all = jax.vmap(jax.vmap(fill, (None, 0)), (0, None))
    boxes_of = fill_all(jax.vmap(gather)(prices), growths)
    return learned, boxes_of.reshape(-1, *start.shape)

  def grow(state, i):
    """One round; the first one has nothing to grow from but the start."""
    best, learned = state
    whole = lambda a: jnp.broadcast_to(start[None], a.shape)
    learned, tried = jax.lax.cond(
      i > 0,
      proposed,
      lambda best, learned: (learned, whole(blank)),
      best,
      learned,
    )

    def attempt(j, best):
      other = verified(tried[j], learned)
      # The candidates of a bound that is infinite are NaN.
      better = other.size > best.size
      return jax.tree.map(lambda a, b: jnp.where(better, a, b), other, best)

    num = jnp.where(i > 0, len(tried), 1)
    best = jax.lax.fori_loop(0, num, attempt, best)
    return (best, learned), best.size

  # One program each of the bound, of prices and of what is learned: they take
  # long to compile.
  learned = reader.start(spread(start))
  best = _blank(verified, start, learned)
  _, blank = _blank(proposed, best, learned)
  state = best._replace(size=best.size - 1), learned
  (best, _), sizes = jax.lax.scan(grow, state, jnp.arange(num_rounds + 1))
  return best, sizes


def _blank(fn, *args):
  """Returns zeros like what a function puts out."""
  shapes = jax.eval_shape(fn, *args)
  return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)


def _wide(a):
  return jnp.asarray(a).astype(jnp.float64)


def _shrunk(values, dtype):
  """Returns numbers of another dtype that are no larger, but for a sign."""
  eps = float(jnp.finfo(dtype).eps)
  return (values - 2 * eps * jnp.abs(values)).astype(dtype)


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
