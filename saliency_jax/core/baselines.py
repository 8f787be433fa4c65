"""Baselines: what an example is when a feature of it is missing.

A baseline is a number, an array, or a function `(x, *, key=None)`, its
settings bound by `functools.partial`: every argument called `baseline` takes
any of the three. Integrated gradients start their path at one; occlusion, RISE,
masks and deletion curves fill removed pixels with one.

References:
  Sturmfels, Lundberg, Lee, Visualizing the impact of feature attribution
  baselines, 2020. https://distill.pub/2020/attribution-baselines
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Num, PyTree
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types

# A number, an array of the shape of `x` (an axis may be 1), a pytree of these,
# or a function `(x, *, key=None)` that returns one of these.
Baseline = Any


class Background(NamedTuple):
  """Rows of the data, each a baseline: a score is its mean over them.

  What is hidden is then drawn from the data, whatever is present
  (interventional). Maskers take it, for the methods of coalitions; others have
  one example to a mask, and take one baseline.

  Attributes:
    rows: `[n, *x]`, a pytree of them like the example: one row alone is
      `row[None]`.
    batch_size: rows held in memory at once, beside every coalition that is;
      `None` holds them all.
  """

  rows: PyTree[Num[Array | np.ndarray, 'n ...']]
  batch_size: int | None = None


def evaluate(
  baseline: Baseline, x: types.Example, key: Key[Array, ''] | None
) -> types.Example:
  """Returns a baseline as an example like `x`.

  Args:
    baseline: a number, an array shaped like `x` (an axis may be 1: a colour is
      `[1, 1, C]`), a pytree like `x`, or a function.
    x: the example, of JAX's arrays.
    key: where a function draws from: a place that no draw of a method uses.

  Raises:
    ValueError: for another shape or structure, or for a value that the dtype of
      `x` cannot hold, such as .5 among integers.
  """
  if isinstance(baseline, Background):
    raise ValueError(
      'a background set is several baselines, which methods of coalitions take '
      'through a masker: pass one row of it, or draw one by baselines.reference'
    )
  if callable(baseline):
    if key is not None:
      key = sampling.key_for(key, sampling.BASELINE)
    baseline = baseline(x, key=key)
  if jax.tree.structure(baseline) == jax.tree.structure(x):
    return jax.tree.map(_like, baseline, x)
  if jax.tree_util.all_leaves([baseline]):
    return jax.tree.map(lambda leaf: _like(baseline, leaf), x)
  raise ValueError(
    f'the baseline is a tree {jax.tree.structure(baseline)}, expected a number '
    f'or a tree like the example, {jax.tree.structure(x)}'
  )


def rows_of(background: Background, x: types.Example) -> types.Example:
  """Returns the rows of a background set in the dtypes of `x`.

  Args:
    background: of rows `[n, *x]`.
    x: the example, of JAX's arrays.

  Raises:
    ValueError: for rows of another structure or shape, for none of them, or for
      values that the dtype of `x` cannot hold.
  """
  rows = background.rows
  if jax.tree.structure(rows) != jax.tree.structure(x):
    raise ValueError(
      f'the rows of a background are a tree {jax.tree.structure(rows)}, '
      f'expected one like the example, {jax.tree.structure(x)}, with arrays '
      '[n, *x]: a list of rows is jnp.asarray(rows)'
    )
  given = jax.tree.map(_numbers, rows, x)
  shapes, wanted = jax.tree.map(jnp.shape, given), jax.tree.map(jnp.shape, x)
  pairs = zip(jax.tree.leaves(given), jax.tree.leaves(x), strict=True)
  if not all(a.ndim and a.shape[1:] == leaf.shape for a, leaf in pairs):
    raise ValueError(
      f'the rows of a background have shape {shapes}, expected [n, *x] of an '
      f'example {wanted}: one row alone is X[None], one number is baseline=0.5'
    )
  lengths = {len(a) for a in jax.tree.leaves(given)}
  if len(lengths) != 1 or 0 in lengths:
    raise ValueError(
      f'the rows of a background have shape {shapes}, expected at least one '
      'row, and as many in every array'
    )
  return jax.tree.map(_held, given, x)


def black(x: types.Example, *, key: Key[Array, ''] | None = None):
  """Returns zeros."""
  del key  # Nothing is drawn.
  return jax.tree.map(jnp.zeros_like, x)


def constant(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  value: types.Scalar = 0.5,
) -> types.Example:
  """Returns `value` everywhere: by default the grey between black and white."""
  del key  # Nothing is drawn.
  return jax.tree.map(lambda a: _like(value, a), x)


def mean(x: types.Image, *, key: Key[Array, ''] | None = None) -> types.Image:
  """Returns the mean colour of the image.

  Raises:
    ValueError: if `x` is not one image.
  """
  del key  # Nothing is drawn.
  checks.image(x)
  colour = jnp.mean(examples.wide(x), (0, 1), keepdims=True)
  return jnp.broadcast_to(examples.like(colour, x), x.shape)


def gaussian_blur(
  x: types.Image,
  *,
  key: Key[Array, ''] | None = None,
  kernel_size: int = 51,
  sigma: float | int = 50.0,
) -> types.Image:
  """Blurs the image, as `cv2.GaussianBlur` does.

  The border is mirrored about its own pixels (reflect-101). The defaults are
  the ones of I-GOS, for images of 224 x 224.

  Args:
    x: the image.
    key: not used.
    kernel_size: side of the square kernel in pixels, odd.
    sigma: standard deviation of the kernel in pixels, before its cut.

  Raises:
    ValueError: for an even kernel, `sigma <= 0`, or `x` that is not one image.

  Examples:
    >>> import jax.numpy as jnp
    >>> from saliency_jax.core import baselines
    >>> x = jnp.zeros((5, 5, 1)).at[2, 2].set(1.0)
    >>> blurred = baselines.gaussian_blur(x, kernel_size=3, sigma=1.0)
    >>> blurred.shape, bool(blurred[2, 2, 0] < 1)
    ((5, 5, 1), True)
  """
  del key  # Nothing is drawn.
  checks.image(x)
  checks.within('sigma', sigma, '(0, inf)')
  checks.count('kernel_size', kernel_size)
  if kernel_size % 2 == 0:
    raise ValueError(f'kernel_size must be odd, got {kernel_size}')
  pixels = examples.wide(x)
  rows, cols = (
    jnp.asarray(_blur_matrix(n, kernel_size, sigma), pixels.dtype)
    for n in x.shape[:2]
  )
  blurred = jnp.einsum(
    'hi,wj,ijc->hwc', rows, cols, pixels, precision=jax.lax.Precision.HIGHEST
  )
  return examples.like(blurred, x)


def uniform(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  low: types.Scalar = 0.0,
  high: types.Scalar = 1.0,
) -> types.Example:
  """Draws each entry uniformly from `[low, high)`; integers rounded down.

  Raises:
    ValueError: if there is no key, or `low` is not below `high`.
  """
  if not any(isinstance(v, jax.core.Tracer) for v in (low, high)):
    checks.within('high - low', high - low, '(0, inf)')
  leaves, treedef = jax.tree.flatten(x)
  draws = []
  for i, leaf in enumerate(leaves):
    dtype = examples.result_dtype(leaf)
    least, most = (jnp.asarray(v, dtype) for v in (low, high))
    leaf_key = sampling.draw_key(key, i)
    unit = sampling.uniform(leaf_key, jnp.zeros(leaf.shape, dtype))
    draw = least + (most - least) * unit
    whole = jnp.issubdtype(leaf.dtype, jnp.integer)
    draws.append((jnp.floor(draw) if whole else draw).astype(leaf.dtype))
  return jax.tree.unflatten(treedef, draws)


def reference(
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  references: PyTree[Num[Array | np.ndarray, 'n ...']],
) -> types.Example:
  """Draws one of `references`, `[n, *x]`, all equally likely.

  Raises:
    ValueError: if there is no key, or no reference.
  """
  del x
  num_references = jax.tree.leaves(references)[0].shape[0]
  checks.count('the number of references', num_references)
  row = jax.random.randint(sampling.draw_key(key, 0), (), 0, num_references)
  return jax.tree.map(lambda a: jnp.asarray(a)[row], references)


def _like(value, leaf):
  """Returns a value with the shape and the dtype of one array of `x`."""
  given = _numbers(value, leaf)
  fits = given.ndim == leaf.ndim and all(
    n in (1, size) for n, size in zip(given.shape, leaf.shape, strict=True)
  )
  if given.ndim and not fits:
    raise ValueError(
      f'the baseline has shape {given.shape}, expected a number or the shape '
      f'of the example, {leaf.shape}, where an axis may be 1'
    )
  return jnp.broadcast_to(_held(given, leaf), leaf.shape)


def _numbers(value, leaf):
  """Returns a value as an array, or raises where it holds no numbers."""
  given = value if isinstance(value, jax.Array) else np.asarray(value)
  both = given.dtype == leaf.dtype == bool
  number = given.dtype != object and jnp.issubdtype(given.dtype, jnp.number)
  if not (number or both):
    raise ValueError(f'the baseline {value!r} is no number, array or function')
  return given


def _held(given, leaf):
  """Returns numbers in the dtype of `x`, or raises where they become others."""
  whole = not jnp.issubdtype(leaf.dtype, jnp.floating)
  if whole and not isinstance(given, jax.core.Tracer):
    known = np.asarray(given)
    changed = known != known.astype(leaf.dtype)
    if changed.any():
      raise ValueError(
        f'the baseline {known[changed].flat[0]} is no value of {leaf.dtype}: '
        'pass one that is, such as baseline=127 for pixels of 0 to 255, or '
        'explain the example as floats, x.astype("float32")'
      )
  return jnp.asarray(given).astype(leaf.dtype)


def _blur_matrix(size, kernel_size, sigma):
  """Returns the `[size, size]` blur of one axis, borders included."""
  offsets = np.arange(kernel_size) - kernel_size // 2
  weights = np.exp(-0.5 * (offsets / sigma) ** 2)
  period = max(2 * (size - 1), 1)
  at = np.abs(np.arange(size)[:, None] + offsets) % period
  at = np.minimum(at, period - at)
  matrix = np.zeros((size, size))
  np.add.at(matrix, (np.arange(size)[:, None], at), weights / weights.sum())
  return matrix
