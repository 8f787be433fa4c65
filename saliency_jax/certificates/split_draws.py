"""A smoothed map whose draws have two parts: one selects the top, one tests it.

    h(x) = E[v(x + z)],  z ~ N(0, sigma^2 I),  v in [0, 1]^n

The first part says which K entries are called the top. Since these are then
fixed, the second part is asked about them alone, and `exchange_overlap` needs
no bound on every entry. It also uses how the values of entries vary together,
`E[v v']`: a matrix, so that maps have a few thousand entries at most.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np

from saliency_jax.certificates import draws
from saliency_jax.certificates import noises
from saliency_jax.certificates import shared_draws
from saliency_jax.certificates import terms
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import selection
from saliency_jax.core import types

# Entries whose products are kept: 256 MiB in single precision.
_MOST = 5792


class SplitInfo(NamedTuple):
  """The terms of a smoothed map, and what its two parts say.

  Attributes:
    smoothed: the terms of the map of all draws.
    means: of the values of the first part and of the second, `[2, *map]`.
    products: mean products of the values of two entries, by part.
    counts: draws of the parts.
  """

  smoothed: terms.SmoothedInfo
  means: Float[Array, '2 ...']
  products: Float[Array, '2 n n']
  counts: Int[Array, '2']


def split_map(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  kind: draws.Kind | None = None,
  base: types.Method = shared_draws.magnitude,
  sigma: types.Scalar = 0.2,
  num_samples: int = 1024,
  selecting: float | int = 0.375,
  batch_size: int | None = 32,
) -> types.Attribution:
  """Averages the values of a kind, and keeps what its two parts say.

  Args:
    fn: score of one example, in the paper the largest logit.
    x: the example.
    key: consumed; required.
    kind: of values in [0, 1], see `draws`; `None` is `draws.sparsified()`.
    base: makes the map whose values are averaged.
    sigma: standard deviation of the noise, in units of `x`.
    num_samples: draws of both parts.
    selecting: share of the draws that select, in (0, 1).
    batch_size: draws held in memory at once; `None` holds them all.

  Raises:
    ValueError: without a key, for `sigma <= 0`, fewer than two draws, a share
      that leaves a part without draws, or too many entries for their products.
  """
  kind = draws.sparsified() if kind is None else kind
  checks.within('selecting', selecting, '(0, 1)')
  checks.count('num_samples', num_samples, 2)
  first = min(selection.count(selecting, num_samples), num_samples - 1)
  fn, wide = examples.widened(fn, examples.floats(x))
  shape = jax.eval_shape(lambda: base(fn, wide, key=None).scores).shape
  n = math.prod(shape)
  if n > _MOST:
    raise ValueError(
      f'the products of {n} entries are too many, expected at most {_MOST}: '
      'pass a base map of fewer, such as of sums over cells of pixels'
    )
  values_at = shared_draws.values_at(fn, base, {'map': kind}, wide.dtype)

  def average(at, num, *, batch_size):
    return _sums(at, (first, num - first), shape, batch_size)

  sums, squares, products, told = sampling.over_neighbours(
    lambda neighbour, _: values_at(neighbour),
    wide,
    key=key,
    sigma=sigma,
    num_samples=num_samples,
    batch_size=batch_size,
    average=average,
  )
  counts = np.array([first, num_samples - first])
  whole = jnp.asarray(num_samples, sums.dtype)
  per = jnp.asarray(counts, sums.dtype)
  mean = jnp.sum(sums, 0) / whole
  variance = jnp.maximum(jnp.sum(squares, 0) / whole - mean**2, 0)
  info = terms.SmoothedInfo(
    variance=variance,
    stderr=sampling.standard_error(variance, num_samples),
    base_zeros=told['zeros'] / whole,
    sigma=jnp.asarray(sigma, wide.dtype),
    num_samples=jnp.asarray(num_samples, jnp.int32),
    mass=jnp.asarray(selection.count(kind.share, n), jnp.int32),
    binary=jnp.asarray(kind.binary),
    num_nonfinite=jnp.round(told['bad']).astype(jnp.int32),
    noise=jnp.asarray(noises.ALL.index(noises.GAUSSIAN), jnp.int32),
  )
  scores, info = kind.finish(mean, info, (), shape)
  info = SplitInfo(
    smoothed=info,
    means=sums / per.reshape(2, *(1,) * len(shape)),
    products=products / per[:, None, None],
    counts=jnp.asarray(counts, jnp.int32),
  )
  return types.Attribution(scores, info)


def stated_split(
  values: Any,
  *,
  sigma: float | int,
  selecting: float | int = 0.375,
  binary: bool = False,
) -> types.Attribution:
  """Returns a smoothed map in two parts, of draws that were made elsewhere.

  Args:
    values: of the draws, `[q, *map]`, in [0, 1], independent of each other; the
      first of them select.
    sigma: deviation of the Gaussian noise, in units of the example.
    selecting: share of the draws that select, in (0, 1).
    binary: whether each value is 0 or 1.

  Raises:
    ValueError: as `split_map` and `stated_map`.
  """
  checks.within('selecting', selecting, '(0, 1)')
  values = np.asarray(values)
  checks.count('the number of draws', len(values), 2)
  first = min(selection.count(selecting, len(values)), len(values) - 1)
  parts = values[:first], values[first:]
  stated = terms.stated_map(
    values.mean(0, dtype=np.float64),
    sigma=sigma,
    num_samples=len(values),
    binary=binary,
    variance=values.var(0, dtype=np.float64),
  )
  flat = [part.reshape(len(part), -1).astype(np.float64) for part in parts]
  info = SplitInfo(
    smoothed=stated.info,
    means=np.stack([part.mean(0, dtype=np.float64) for part in parts]),
    products=np.stack([part.T @ part / len(part) for part in flat]),
    counts=np.array([len(part) for part in parts]),
  )
  return stated._replace(info=info)


def _sums(at, counts, shape, batch_size):
  """Returns sums over the draws of two parts, each in batches of its own."""
  most = max(counts)
  size = most if batch_size is None else min(batch_size, most)
  checks.count('batch_size', size)
  starts, ends, parts = [], [], []
  for part, (begin, count) in enumerate(
    zip((0, counts[0]), counts, strict=True)
  ):
    for start in range(begin, begin + count, size):
      starts.append(start)
      ends.append(begin + count)
      parts.append(part)
  n = math.prod(shape)
  told = jax.eval_shape(at, jnp.asarray(0, jnp.int32))[2]
  dtype = told['bad'].dtype
  zeros = (
    jnp.zeros((2, *shape), dtype),
    jnp.zeros((2, *shape), dtype),
    jnp.zeros((2, n, n), dtype),
    jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), told),
  )

  def step(carry, batch):
    start, end, part = batch
    sums, squares, products, told = carry
    rows = start + jnp.arange(size, dtype=jnp.int32)
    # Behind the last draw of a part it stands again, and is not counted.
    values, _, new = jax.vmap(at)(jnp.minimum(rows, end - 1))
    weight = (rows < end).astype(dtype)
    flat = values['map'].reshape(size, n).astype(dtype)
    highest = jax.lax.Precision.HIGHEST
    dot = lambda a, b: jnp.matmul(a, b, precision=highest)
    sums = sums.at[part].add(dot(weight, flat).reshape(shape))
    squares = squares.at[part].add(dot(weight, flat**2).reshape(shape))
    products = products.at[part].add(dot((weight[:, None] * flat).T, flat))
    told = jax.tree.map(lambda t, a: t + dot(weight, a), told, new)
    return (sums, squares, products, told), None

  batches = tuple(jnp.asarray(a, jnp.int32) for a in (starts, ends, parts))
  carry, _ = jax.lax.scan(step, zeros, batches)
  return carry
