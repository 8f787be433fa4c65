"""Percentiles over noise, for maps whose entries have no range.

    h_i(x) = inf {y: P(m_i(x + z) <= y) >= p},   z ~ N(0, sigma^2 I)

is the `p`-th percentile of entry `i` of a base map, `p = 1/2` its median. It is
there for signed maps and for sizes of any scale, and a few large draws do not
move it. `{m_i <= y}` is a set, whose chance changes within a radius rho by no
more than Theorem 2 of Levine et al. says (see `overlap.py`), so that with `r =
rho / sigma`

    h_i at Phi(Phi^-1(p) - r)  <=  h_i(x')  <=  h_i at Phi(Phi^-1(p) + r)

the outer two at `x`. These are bounded by order statistics of the `q` draws: of
`a`, the share that is looked for, the `k`-th smallest draw is below the
percentile while P(Bin(q, a) < k) is at most the level, and above it while
P(Bin(q, a) >= k) is. The level is `(1 - confidence) / (2 n)` for each side of
each of `n` entries, shared out over the radii, since each has percentiles of
its own. Where the draws are too few for a percentile so close to 0 or 1, the
bound is infinite.

Every draw is kept, `q n` numbers, in float32 at least: in half precision only
the network sees rounded neighbours.

References:
  Chiang, Curry, Abdelkader, Kumar, Dickerson and Goldstein, Detection as
  regression: certified object detection by median smoothing, NeurIPS 2020.
  https://arxiv.org/abs/2007.03730
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np
from scipy import special
from scipy import stats

from saliency_jax.certificates import overlap
from saliency_jax.certificates import shared_draws
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import selection
from saliency_jax.core import stopping
from saliency_jax.core import types


class PercentileInfo(NamedTuple):
  """The terms of a map of percentiles, and its draws.

  Attributes:
    values: of the base map, one a draw, in the order of the draws, `[q, *map]`.
    percentile: `p`, in (0, 1).
    sigma: deviation of the noise, in units of the example.
    num_nonfinite: draws with NaN or infinite entries. With one such draw the
      scores are NaN: nothing is certain then.
  """

  values: Float[Array, 'q ...']
  percentile: Float[Array, '']
  sigma: Float[Array, '']
  num_nonfinite: Int[Array, '']


def percentile_map(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  base: types.Method = shared_draws.magnitude,
  percentile: float | int = 0.5,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  batch_size: int | None = 8,
  start: types.Attribution | None = None,
) -> types.Attribution:
  """Takes a percentile over noise of each entry of a base map.

  Args:
    fn: score of one example.
    x: the example.
    key: consumed; required.
    base: makes the map of one array, whose scores count with their signs.
    percentile: `p`, in (0, 1); the median by default.
    sigma: standard deviation of the noise, in units of `x`.
    num_samples: draws `q` of the noise, all of which are kept.
    batch_size: draws whose gradients are in memory at once; `None` is all.
    start: an earlier map with the same key and settings, whose draws are the
      first of these. Certificates hold for a number of draws that was settled
      before any was looked at.

  Returns:
    The `ceil(p q)`-th smallest draw of each entry, with `PercentileInfo`.

  Raises:
    ValueError: without a key, for a percentile outside of (0, 1), `sigma <= 0`
      or no draw.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from saliency_jax import certificates
    >>> fn = lambda x: x @ jnp.arange(5.0)
    >>> found = certificates.percentile_map(
    ...   fn, jnp.ones(5), key=jax.random.key(0), num_samples=16
    ... )
    >>> print(np.asarray(found.scores).round(2))
    [0. 1. 2. 3. 4.]
  """
  checks.within('percentile', percentile, '(0, 1)')
  fn, wide = examples.widened(fn, examples.floats(x))

  def average(at, num, *, batch_size):
    earlier = None if start is None else _restored(start, percentile, sigma)
    # No tolerance: nothing is looked at on the way.
    return stopping.rows(
      at, num, lambda values, num: (), batch_size=batch_size, start=earlier
    )

  values, _ = sampling.over_neighbours(
    lambda neighbour, _: base(fn, neighbour, key=None).scores,
    wide,
    key=key,
    sigma=sigma,
    num_samples=num_samples,
    batch_size=batch_size,
    average=average,
  )
  fine = jnp.all(jnp.isfinite(values), axis=tuple(range(1, values.ndim)))
  bad = jnp.sum(~fine, dtype=jnp.int32)
  place = selection.count(percentile, len(values))
  found = selection.kth_of_each(jnp.where(jnp.isnan(values), 0, values), place)
  info = PercentileInfo(
    values=values,
    percentile=jnp.asarray(percentile, values.dtype),
    sigma=jnp.asarray(sigma, wide.dtype),
    num_nonfinite=bad,
  )
  return types.Attribution(jnp.where(bad > 0, jnp.nan, found), info)


def stated_percentiles(
  values: Any, *, sigma: float | int, percentile: float | int = 0.5
) -> types.Attribution:
  """Returns the map of percentiles of draws that were made elsewhere.

  Args:
    values: of the draws, `[q, *map]`, independent of each other.
    sigma: deviation of the Gaussian noise, in units of the example.
    percentile: `p`, in (0, 1).

  Raises:
    ValueError: for `sigma <= 0`, a percentile outside of (0, 1), or no draw.
  """
  checks.within('sigma', sigma, '(0, inf)')
  checks.within('percentile', percentile, '(0, 1)')
  values = np.asarray(values)
  checks.count('the number of draws', len(values))
  place = selection.count(percentile, len(values)) - 1
  fine = np.isfinite(values).reshape(len(values), -1).all(1)
  info = PercentileInfo(
    values=values,
    percentile=np.array(percentile, np.float64),
    sigma=np.array(sigma, np.float64),
    num_nonfinite=np.array(np.sum(~fine)),
  )
  found = np.partition(values, place, axis=0)[place]
  return types.Attribution(np.where(fine.all(), found, np.nan), info)


def percentile_bounds(
  smoothed: types.Attribution,
  *,
  rho: Any,
  confidence: float | int = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
  """Bounds the map at every point of balls, all entries and radii at once.

  Args:
    smoothed: map of `percentile_map`.
    rho: radius of the L2 ball, in units of the example, or several.
    confidence: with which all bounds hold at once.

  Returns:
    Lower and upper bounds of the population's map, `[num_rho, *map]`; infinite
    where the draws are too few.

  Raises:
    ValueError: for a map of another kind, `rho < 0`, or a map that is traced,
      of several examples, or of draws that are not finite.
  """
  checks.within('confidence', confidence, '(0, 1)')
  values, percentile, sigma = _read(smoothed)
  rhos = np.atleast_1d(np.asarray(rho, float))
  for radius in rhos:
    checks.within('rho', radius, '[0, inf)')
  q, n = len(values), values[0].size
  level = (1 - confidence) / (2 * n * rhos.size)
  # With what no draw is below, and none above.
  outer = np.full((1, *values.shape[1:]), np.inf)
  ordered = np.concatenate([-outer, np.sort(values, axis=0), outer])
  shift = rhos / sigma
  least = special.ndtr(special.ndtri(percentile) - shift)
  most = special.ndtr(special.ndtri(percentile) + shift)
  # The largest k with P(Bin(q, least) < k) <= level, 0 for none; and the least
  # k with P(Bin(q, most) >= k) <= level, q + 1 for none.
  low = stats.binom.ppf(level, q, least).astype(int)
  high = stats.binom.isf(level, q, most).astype(int) + 1
  return ordered[np.clip(low, 0, q)], ordered[np.clip(high, 1, q + 1)]


def percentile_overlap(
  smoothed: types.Attribution,
  k: Any,
  *,
  rho: Any,
  confidence: float | int = 0.95,
) -> overlap.Certificate:
  """Certifies the overlap of the top K, for all K and radii at once.

  Args:
    smoothed: map of `percentile_map`; its top are the largest scores.
    k: number of entries in the top, or several numbers.
    rho: radius of the L2 ball, in units of the example, or several.
    confidence: with which all of it holds at once.

  Raises:
    ValueError: as `percentile_bounds`, or for a `k` that is not among the
      entries.
  """
  lower, upper = percentile_bounds(smoothed, rho=rho, confidence=confidence)
  ks = overlap.check_k(k, lower[0].size)
  order = np.argsort(-np.ravel(smoothed.scores), kind='stable')
  stay = [
    overlap.staying(*overlap.ordered(order, low, high), ks)
    for low, high in zip(lower, upper, strict=True)
  ]
  return overlap.Certificate(
    overlap=np.stack(stay) / ks,
    k=ks,
    rho=np.atleast_1d(np.asarray(rho, float)),
    sigma=float(smoothed.info.sigma),
    num_samples=len(smoothed.info.values),
    num_new_samples=None,
    confidence=confidence,
    bound='order_statistics',
  )


def _restored(start, percentile, sigma):
  """Returns the draws of an earlier map, or raises if they are of others."""
  info = stopping.info_of(start, PercentileInfo)
  shared_draws.check_same(info, percentile=percentile, sigma=sigma)
  return stopping.Rows(info.values, stopping.drawn(len(info.values)))


def _read(smoothed):
  """Returns the draws and the terms of a map, on the host."""
  info = getattr(smoothed, 'info', None)
  if not isinstance(info, PercentileInfo):
    raise ValueError(
      'expected the map of certificates.percentile_map, got one with '
      f'{type(smoothed if info is None else info).__name__}: maps of means '
      'have top_k_overlap'
    )
  if any(isinstance(a, jax.core.Tracer) for a in info):
    raise ValueError(
      'got a traced map: certificates are computed on the host, outside of jit'
    )
  if np.ndim(info.sigma):
    raise ValueError(
      f'expected the map of one example, got {np.shape(info.sigma)} of them: '
      'pick one by jax.tree.map(lambda a: a[i], attribution)'
    )
  values = np.asarray(info.values)
  if int(info.num_nonfinite):
    raise ValueError(
      f'{int(info.num_nonfinite)} of {len(values)} draws of the map are not '
      'finite: nothing can be certified; is the model finite within sigma = '
      f'{float(info.sigma):g} of the example?'
    )
  return values, float(info.percentile), float(info.sigma)
