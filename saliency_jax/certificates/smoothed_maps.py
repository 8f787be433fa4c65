"""Smoothed maps with entries in [0, 1], whose change can be bounded.

    h_i(x) = E[v_i(x + z)],  z ~ N(0, sigma^2 I),  v(x) in [0, 1]^n

The map `v` is made from a base map `m`, by default `|grad f|`:

  scaled      `v = m / max m`,
  quadratic   `v = (m / max m)^2`,
  sparsified  `v = 1` on the `tau n` largest entries of `m`, 0 elsewhere,
  relaxed     `v = 0` below the `tau n`-th largest, 1 above the `gamma n`-th,
              and `m` over the `gamma n`-th in between,

A share of the `n` entries is rounded up to a whole number. Each map carries
what its certificate needs, in `terms.SmoothedInfo`.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key
import numpy as np

from saliency_jax import transforms
from saliency_jax.certificates import terms
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import selection
from saliency_jax.core import types
from saliency_jax.gradients import gradient

# The paper's base map: each entry of the example is certified on its own. Its
# sum over the channels has fewer entries, and tighter bounds.
magnitude = transforms.absolute(gradient.gradient)
channel_magnitude = transforms.sum_channels(magnitude)


class MedianRankInfo(NamedTuple):
  """The histogram from which the ranks are read.

  Attributes:
    below: for each entry and bin, the share of the draws in which the entry
      ranks in that bin or in a better one, `[n, num_bins]`.
    low: lower end of a 95% interval of the score: the rank reached by half of
      the draws plus two standard errors.
    high: upper end: the rank reached by half of the draws less two standard
      errors.
    num_nonfinite: draws with NaN or infinite entries, which have no ranks. With
      one such draw the scores are NaN.
  """

  below: Float[Array, 'n b']
  low: terms.Map
  high: terms.Map
  num_nonfinite: Int[Array, '']


def scaled_map(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  base: types.Method = magnitude,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  batch_size: int | None = 8,
) -> types.Attribution:
  """Averages base maps divided by their maximum.

  Args:
    fn: score of one example, in the paper the largest logit.
    x: the example.
    key: consumed; required.
    base: makes the map that is smoothed; its scores' absolute values count.
    sigma: standard deviation of the noise, in units of `x`.
    num_samples: draws `q` of the noise; certificates want thousands.
    batch_size: draws held in memory at once; `None` holds them all.

  Raises:
    ValueError: without a key, for `sigma <= 0` or fewer than one draw.
  """
  draws = (key, sigma, num_samples, batch_size)
  return _smoothed(lambda m: m / _peak(m), fn, x, base, draws)


def quadratic_map(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  base: types.Method = magnitude,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  batch_size: int | None = 8,
) -> types.Attribution:
  """Averages the squares of what `scaled_map` averages; its arguments."""
  draws = (key, sigma, num_samples, batch_size)
  return _smoothed(lambda m: (m / _peak(m)) ** 2, fn, x, base, draws)


def sparsified_map(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  base: types.Method = magnitude,
  tau: float | int = 0.2,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  batch_size: int | None = 8,
) -> types.Attribution:
  """Counts how often each entry is among the `tau n` largest of a base map.

  Scores are exact multiples of `1 / num_samples`. Entries that tie for the last
  of the places do not count, nor do zeros: never more than `ceil(tau n)` do.

  Args:
    fn: score of one example, in the paper the largest logit.
    x: the example.
    key: consumed; required.
    base: makes the map that is smoothed; its scores' absolute values count.
    tau: share of the entries that count, in (0, 1].
    sigma: standard deviation of the noise, in units of `x`.
    num_samples: draws `q` of the noise; certificates want thousands.
    batch_size: draws held in memory at once; `None` holds them all.

  Raises:
    ValueError: without a key, for a bad share, `sigma <= 0` or no draw.
  """
  checks.within('tau', tau, '(0, 1]')

  def top(m):
    return _above(m, tau).astype(m.dtype)

  draws = (key, sigma, num_samples, batch_size)
  mean, info = _smoothed(top, fn, x, base, draws, share=tau, binary=True)
  # The mean of zeros and ones is a count; batches were merged with rounding.
  return types.Attribution(jnp.round(mean * num_samples) / num_samples, info)


def relaxed_map(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  base: types.Method = magnitude,
  tau: float | int = 0.2,
  gamma: float | int = 0.01,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  batch_size: int | None = 8,
) -> types.Attribution:
  """Averages base maps that keep their sizes among the `tau n` largest.

  Args:
    fn: score of one example, in the paper the largest logit.
    x: the example.
    key: consumed; required.
    base: makes the map that is smoothed; its scores' absolute values count.
    tau: share of the entries that are not zero, in (0, 1].
    gamma: share of the entries that are one, in [0, tau]; at 0 it is the
      largest alone.
    sigma: standard deviation of the noise, in units of `x`.
    num_samples: draws `q` of the noise; certificates want thousands.
    batch_size: draws held in memory at once; `None` holds them all.

  Raises:
    ValueError: without a key, for bad shares, `sigma <= 0` or no draw.
  """
  checks.within('tau', tau, '(0, 1]')
  checks.within('gamma', gamma, f'[0, {tau}]')

  def ramp(m):
    one = _largest(m, max(1, selection.count(gamma, m.size)))
    kept = jnp.where(_above(m, tau), m, 0)
    return jnp.minimum(kept / jnp.where(one > 0, one, 1), 1)

  draws = (key, sigma, num_samples, batch_size)
  return _smoothed(ramp, fn, x, base, draws, share=tau)


def median_rank(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  base: types.Method = magnitude,
  num_bins: int = 64,
  sigma: types.Scalar = 0.2,
  num_samples: int = 256,
  batch_size: int | None = 1,
) -> types.Attribution:
  """Bounds the median over noise of the rank of each entry, 1 for the largest.

  Ranks are counted in bins of equal width: memory is `batch_size num_bins` of
  the map's, whatever the number of draws. Each draw sorts the entries, which
  for large examples costs as much as their gradient; `sparsified_map` tells
  without a sort whether the median rank is at most `tau n`.

  Args:
    fn: score of one example.
    x: the example.
    key: consumed; required.
    base: makes the map whose entries are ranked, by absolute value.
    num_bins: bins of the histogram; the bound is at most `n / num_bins` high.
    sigma: standard deviation of the noise, in units of `x`.
    num_samples: draws of the noise.
    batch_size: draws held in memory at once; `None` holds them all.

  Returns:
    Scores `-rank / n`, in [-1, 0), of the upper ends of the bins.
  """
  x = examples.floats(x)
  checks.count('num_bins', num_bins)

  def binned(m):
    flat = m.ravel()
    ends = flat.size * np.arange(1, num_bins) // num_bins
    # Of a rank up to `end`: above the entry of the next. Entries that tie all
    # have the last of their places.
    limits = jnp.sort(flat, descending=True)[ends]
    within = flat[:, None] > limits[None]
    within = jnp.pad(within, ((0, 0), (0, 1)), constant_values=True)
    return within.astype(m.dtype)

  shape = jax.eval_shape(lambda: base(fn, x, key=None).scores).shape
  draws = (key, sigma, num_samples, batch_size)
  share, draws_info = _smoothed(binned, fn, x, base, draws)
  counts = jnp.round(num_samples * share)

  def score(wanted):
    """Returns the first bin by whose end that many draws have come."""
    place = 1 + jnp.sum(counts[:, :-1] < wanted, -1)
    rank = place.astype(share.dtype) / num_bins
    return -jnp.where(jnp.isnan(share[:, 0]), jnp.nan, rank).reshape(shape)

  half, error = num_samples / 2, num_samples**0.5 / 2
  info = MedianRankInfo(
    below=share,
    low=score(half + 2 * error),
    high=score(half - 2 * error),
    num_nonfinite=draws_info.num_nonfinite,
  )
  return types.Attribution(score(half), info)


def _smoothed(values, fn, x, base, draws, *, share=1, binary=False):
  """Averages `values(|base map|)` over Gaussian neighbours of `x`."""
  x = examples.floats(x)
  key, sigma, num_samples, batch_size = draws

  def at(neighbour, _):
    m = jnp.abs(base(fn, neighbour, key=None).scores)
    # NaN compares as false: it would pass for the smallest, or spoil the count.
    fine = jnp.all(jnp.isfinite(m))
    v = jnp.where(fine, values(jnp.where(fine, m, 0)), jnp.nan)
    told = [jnp.mean((m == 0).astype(x.dtype)), (~fine).astype(x.dtype)]
    return v, told

  (mean, (zeros, bad)), (variance, _) = sampling.over_neighbours(
    at,
    x,
    key=key,
    sigma=sigma,
    num_samples=num_samples,
    batch_size=batch_size,
  )
  info = terms.SmoothedInfo(
    variance=variance,
    stderr=sampling.standard_error(variance, num_samples),
    base_zeros=zeros,
    sigma=jnp.asarray(sigma, x.dtype),
    num_samples=jnp.asarray(num_samples, jnp.int32),
    mass=jnp.asarray(selection.count(share, mean.size), jnp.int32),
    binary=jnp.asarray(binary),
    num_nonfinite=jnp.round(bad * num_samples).astype(jnp.int32),
  )
  return types.Attribution(mean, info)


def _peak(m):
  peak = jnp.max(m)
  return jnp.where(peak > 0, peak, 1)


def _above(m: terms.Map, share: float | int) -> Bool[Array, '...']:
  """Returns which entries are among the `share n` largest, ties left out."""
  return m > _largest(m, selection.count(share, m.size) + 1)


def _largest(m: terms.Map, rank: int) -> Float[Array, '']:
  """Returns the entry of a rank from 1, or zero past the last."""
  return selection.kth_smallest(m, m.size - rank + 1)
