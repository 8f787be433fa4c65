"""Maskers: the parts of an example that may be absent, its players.

A masker says how many players there are, and what the example is when some of
them are hidden. It is a function `(x, *, key=None) -> Masker`, its settings
bound by `functools.partial`, and goes to a method or a metric as `masker=`:

    partial(maskers.grid, cells=14)                 # of an image [H, W, C]
    partial(maskers.grid, cells=14, axes=(1, 2))    # of an image [C, H, W]
    partial(maskers.grid, cells=4, axes=(0, 1, 2))  # of a volume
    partial(maskers.segments, labels=superpixels)   # regions of any shape
    maskers.entries                                 # columns of a table
    partial(maskers.groups, labels=[0, 0, 1, 2])    # columns of one category
    partial(maskers.steps, width=10)                # windows of a series
    partial(maskers.tokens, mask_id=103, special=(101, 102))
    partial(maskers.tokens, mask_id=103, words=[-1, 0, 1, 1, -1])
    maskers.leaves                                  # one input of several

A part that is hidden shows a baseline: see `core/baselines.py`. Methods of
coalitions take a whole set of them, `baseline=baselines.Background(rows)`.

References:
  Covert, Lundberg and Lee, Explaining by removing: a unified framework for
  model explanation, 2021. https://arxiv.org/abs/2011.14878
"""

from collections.abc import Callable, Sequence
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np
from typing_extensions import TypeAliasType

from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import fillings
from saliency_jax.core import stretching
from saliency_jax.core import types

# One number a player: 1 where the player is present, 0 where it is hidden.
Keep = Float[Array, '*players']


class Masker(NamedTuple):
  """The players of one example.

  Attributes:
    shape: players along each axis. Neighbours on this grid are what total
      variation calls neighbours; the columns of a table are a chain.
    hide: a number a player, 1 present and 0 hidden, to an example like `x`.
      Between the two, floats are mixed, and a token is present above .5.
    spread: a number a player to a number an entry of `x`: an array that
      broadcasts against `x`, or a tree of them.
    pool: a map of `x` to a number a player, the inverse of `spread` that is
      least in squares. Axes along which a player is whole (colours) are summed,
      over its other entries is averaged.
    blend: a number an entry, as `spread` makes it, to the example that `hide`
      makes, in the dtype that methods compute in (float32 at least).
    average: `(fn, mask)` to the mean of `fn` over the examples that the mask
      leaves: one that `blend` makes, or one for every row of a background set,
      of which `blend` and `hide` know nothing.
    num_rows: calls that `average` makes: 1, or the rows of a background set.
    ordered: whether being neighbours means something, as of cells, times and
      tokens; not of columns, regions and inputs.
  """

  shape: tuple[int, ...]
  hide: Callable[[Keep], types.Example]
  spread: Callable[[Keep], types.Example]
  pool: Callable[[types.Example], Keep]
  blend: Callable[[types.Example], types.Example]
  average: Callable[[types.ScoreFn, types.Example], Any]
  num_rows: int
  ordered: bool = True

  @property
  def num(self) -> int:
    """The number of players."""
    return math.prod(self.shape)

  def __call__(self, *args: Any, **kwargs: Any) -> 'Masker':
    """Raises `TypeError`: a method calls the constructor, with its example."""
    raise TypeError(
      f'got a masker of {self.num} players that was called already: pass the '
      'constructor, such as functools.partial(maskers.grid, cells=7), and not '
      'maskers.grid(x, cells=7)'
    )


# `(x, *, key=None) -> Masker`, its settings bound.
Constructor = TypeAliasType('Constructor', Callable[..., Masker])


def grid(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  cells: int | Sequence[int] = 7,
  axes: int | Sequence[int] | None = None,
  stretch: stretching.Stretch = stretching.nearest,
  baseline: baselines.Baseline = baselines.black,
) -> Masker:
  """Cuts axes of an array into cells: rows and columns of an image.

  Args:
    x: the array.
    key: for a baseline that draws.
    cells: along each of the axes, or one number for all.
    axes: that are cut; along the other axes (channels) a cell is whole. `None`
      cuts the first two of an image `[H, W, C]`, and takes nothing else.
    stretch: from cells to entries: `stretching.nearest`, or `bilinear` or
      `aligned`, whose cells overlap.
    baseline: what a hidden cell shows: a number, an array or a function.

  Raises:
    ValueError: for more cells than entries, axes that `x` has not, or a
      baseline unlike `x`.
  """
  x = examples.one_array('maskers.grid', x)
  if axes is None:
    checks.image(x)
    axes = (0, 1)
  axes = checks.axes((axes,) if np.ndim(axes) == 0 else axes, x)
  sizes = [x.shape[axis] for axis in axes]
  shape = stretching.per_axis(cells, len(axes))
  for num, size in zip(shape, sizes, strict=True):
    checks.count('cells', num, 1, size)
  matrices = [stretch(*pair) for pair in zip(shape, sizes, strict=True)]
  # Cells that are entries need no product.
  plain = all(np.array_equal(m, np.eye(len(m))) for m in matrices)
  order = np.argsort(axes)
  wide = [x.shape[k] if k in axes else 1 for k in range(x.ndim)]

  def spread(values):
    full = values if plain else stretching.apply(values, matrices)
    return jnp.transpose(full, order).reshape(wide)

  def pool(scores):
    full = jnp.transpose(
      stretching.summed(scores, x, wide), _back(axes, x.ndim)
    )
    full = full.reshape(sizes)
    if plain:
      return full
    return stretching.apply(full, [np.linalg.pinv(m) for m in matrices])

  return _masker(x, key, baseline, shape, spread, pool)


def segments(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  labels: Int[Array | np.ndarray, '...'] | Sequence[int],
  num: int | None = None,
  baseline: baselines.Baseline = baselines.black,
) -> Masker:
  """Takes regions of any shape for players, such as superpixels.

  Args:
    x: the array.
    key: for a baseline that draws.
    labels: the player of each entry, from 0. They have the shape of the first
      axes of `x`, as `[H, W]` of an image `[H, W, C]`, or broadcast against
      `x`, as `[1, H, W]` of an image `[C, H, W]`.
    num: players, where the labels are known only when the program runs, as
      those of every image of a batch; they must be below it, which is not
      checked. A player without an entry is never seen.
    baseline: what a hidden region shows: a number, an array or a function.

  Raises:
    ValueError: for labels that are not of the numbers 0 to the largest, each at
      least once, or that do not fit `x`, or a baseline unlike `x`; for labels
      of a running program without `num`.
  """
  x = examples.one_array('maskers.segments', x)
  labels = checks.players_of(labels, num)
  shape = labels.shape
  if labels.ndim < x.ndim and shape == x.shape[: labels.ndim]:
    labels = labels.reshape(shape + (1,) * (x.ndim - labels.ndim))
  fits = labels.ndim == x.ndim and all(
    n in (1, size) for n, size in zip(labels.shape, x.shape, strict=True)
  )
  if not fits:
    raise ValueError(
      f'labels {shape} fit neither the first axes nor all axes of an example '
      f'{x.shape}'
    )
  num = int(labels.max()) + 1 if num is None else num

  def spread(values):
    return values[labels]

  def pool(scores):
    summed = stretching.summed(scores, x, labels.shape)
    totals = jnp.zeros(num, summed.dtype).at[labels].add(summed)
    counts = jnp.zeros(num, jnp.int32).at[labels].add(1)
    return totals / jnp.maximum(counts, 1).astype(summed.dtype)

  masker = _masker(x, key, baseline, (num,), spread, pool)
  return masker._replace(ordered=False)


def entries(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  baseline: baselines.Baseline = baselines.black,
) -> Masker:
  """Takes every entry of an array for a player, as the columns of a table.

  Args:
    x: the array.
    key: for a baseline that draws.
    baseline: what a hidden entry shows: a number, an array or a function.

  Examples:
    >>> import jax.numpy as jnp
    >>> from saliency_jax import maskers
    >>> masker = maskers.entries(jnp.arange(3.0), baseline=-1.0)
    >>> masker.num
    3
    >>> print(masker.hide(jnp.array([1.0, 0.0, 1.0])))
    [ 0. -1.  2.]
  """
  x = examples.one_array('maskers.entries', x)
  axes = [*range(x.ndim)]
  masker = grid(x, key=key, cells=x.shape, axes=axes, baseline=baseline)
  return masker._replace(ordered=False)


def groups(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  labels: Int[Array | np.ndarray, 'n'] | Sequence[int],
  axis: int = -1,
  baseline: baselines.Baseline = baselines.black,
) -> Masker:
  """Takes groups along one axis for players, as columns of one category.

  Args:
    x: the array.
    key: for a baseline that draws.
    labels: the player of each index of the axis, from 0.
    axis: along which the groups are; along the others a group is whole.
    baseline: what a hidden group shows: a number, an array or a function.

  Raises:
    ValueError: as `segments`.
  """
  x = examples.one_array('maskers.groups', x)
  (axis,) = checks.axes((axis,), x)
  labels = checks.players(labels)
  if labels.shape != (x.shape[axis],):
    raise ValueError(
      f'expected {x.shape[axis]} labels, one an index of axis {axis} of '
      f'{x.shape}, got {labels.shape}'
    )
  labels = labels.reshape([-1 if k == axis else 1 for k in range(x.ndim)])
  return segments(x, key=key, labels=labels, baseline=baseline)


def steps(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  width: int = 1,
  axis: int = 0,
  baseline: baselines.Baseline = baselines.black,
) -> Masker:
  """Cuts one axis into windows: the times of a series `[T, C]`.

  Args:
    x: the array.
    key: for a baseline that draws.
    width: indices in a window; the last window may have fewer.
    axis: that is cut; along the others a window is whole.
    baseline: what a hidden window shows: a number, an array or a function.

  Raises:
    ValueError: for a width larger than the axis, or a baseline unlike `x`.
  """
  x = examples.one_array('maskers.steps', x)
  (axis,) = checks.axes((axis,), x)
  checks.count('width', width, 1, x.shape[axis])
  labels = np.arange(x.shape[axis]) // width
  masker = groups(x, key=key, labels=labels, axis=axis, baseline=baseline)
  return masker._replace(ordered=True)


def tokens(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  mask_id: int = 0,
  special: Sequence[int] = (),
  words: Int[Array | np.ndarray, 'n'] | Sequence[int] | None = None,
) -> Masker:
  """Takes every token of a sequence of whole numbers, or word, for a player.

  Nothing can be differentiated by a token: methods that do so take the
  embeddings, with `steps`.

  Args:
    x: the tokens, integers.
    key: not used.
    mask_id: token in the place of a hidden one.
    special: tokens that are never hidden, such as start, end and padding. They
      stay players, of value 0; `words` with -1 leaves them out, which takes
      fewer calls.
    words: the word of each token, from 0, for words as players; -1 of a token
      that is never hidden. `None` takes tokens for players.

  Raises:
    ValueError: for tokens that are not integers, or words that do not fit them.
  """
  x = examples.one_array('maskers.tokens', x)
  if not jnp.issubdtype(x.dtype, jnp.integer):
    raise ValueError(
      f'expected tokens, which are integers, got {x.dtype}: embeddings take '
      'maskers.steps'
    )
  known = jnp.asarray(tuple(special), x.dtype)
  free = ~jnp.any(x[None] == known.reshape((-1,) + (1,) * x.ndim), 0)
  shape, owners = x.shape, None
  if words is not None:
    owners = checks.players(words, least=-1)
    if owners.shape != x.shape:
      raise ValueError(
        f'expected {x.shape} words, one a token, got {owners.shape}'
      )
    shape, free = (int(owners.max()) + 1,), free & (owners >= 0)

  def spread(values):
    values = values if owners is None else values[owners]
    return jnp.where(free, values, 0)

  def blend(mask):
    kept = (mask > 0.5) | ~free
    return examples.wide(jnp.where(kept, x, jnp.asarray(mask_id, x.dtype)))

  def pool(scores):
    full = jnp.where(free, stretching.summed(scores, x, x.shape), 0)
    if owners is None:
      return full
    total = lambda a: jnp.zeros(shape, full.dtype).at[owners].add(a)
    return total(full) / jnp.maximum(total(free.astype(full.dtype)), 1)

  return _finished(x, shape, spread, pool, fillings.one(blend))


def leaves(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  baseline: baselines.Baseline = baselines.black,
) -> Masker:
  """Takes every array of a tree for a player: one input of several.

  Args:
    x: a tree of arrays.
    key: for a baseline that draws.
    baseline: what a hidden array shows: a number, a tree or a function.
  """
  x = examples.arrays(x)
  arrays, treedef = jax.tree.flatten(x)

  def spread(values):
    return treedef.unflatten(
      [values[i].reshape((1,) * a.ndim) for i, a in enumerate(arrays)]
    )

  def pool(scores):
    parts = zip(treedef.flatten_up_to(scores), arrays, strict=True)
    return jnp.stack(
      [jnp.sum(stretching.summed(s, a, (1,) * a.ndim)) for s, a in parts]
    )

  masker = _masker(x, key, baseline, (len(arrays),), spread, pool)
  return masker._replace(ordered=False)


def _masker(x, key, baseline, shape, spread, pool):
  """Returns a masker that mixes floats with a baseline, or with several."""
  return _finished(x, shape, spread, pool, fillings.of(x, key, baseline))


def _finished(x, shape, spread, pool, filling):
  hide = lambda keep: examples.like(filling.blend(spread(keep)), x)
  return Masker(tuple(shape), hide, spread, pool, *filling)


def _back(axes, ndim):
  return [*axes, *(k for k in range(ndim) if k not in axes)]
