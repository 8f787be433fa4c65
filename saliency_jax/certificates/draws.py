"""What one draw of a smoothed map is made of a base map.

A `Kind` maps the sizes of a base map at one noisy neighbour to the values that
are averaged; `smoothed_maps` averages one kind, and `shared_draws` several of
the same gradients.

  scaled      `v = m / max m`,
  quadratic   `v = (m / max m)^2`,
  sparsified  `v = 1` on the `tau n` largest entries of `m`, 0 elsewhere,
  relaxed     `v = 0` below the `tau n`-th largest, 1 above the `gamma n`-th,
              and `m` over the `gamma n`-th in between,
  ranked      of each entry, in which of some bins its rank lies, or in a better
              one.

A share of the `n` entries is rounded up to a whole number.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from saliency_jax.certificates import terms
from saliency_jax.core import checks
from saliency_jax.core import selection
from saliency_jax.core import stopping
from saliency_jax.core import types

# `rank -> entry` of a map, the largest first; past the last it is zero.
Largest = Callable[[int], Float[Array, '']]


class Begun(NamedTuple):
  """What an earlier map says of its draws, to go on from.

  Attributes:
    values: means of the values.
    also: means of what is averaged beside them.
    info: the terms, with the variance of the values.
  """

  values: Any
  also: Any
  info: terms.SmoothedInfo


def begun(start: types.Attribution | None) -> Begun:
  """Returns what a map of means with its terms says.

  Raises:
    ValueError: for another map.
  """
  info = stopping.info_of(start, terms.SmoothedInfo)
  return Begun(start.scores, (), info)


class Kind(NamedTuple):
  """The values of one draw, entries in [0, 1], and what is known of them.

  Attributes:
    values: of the map of sizes, and of its entries by their rank: kinds that
      are made together look for each once.
    share: of the entries; the values add up to no more than that many.
    binary: whether each value is 0 or 1.
    also: what is averaged beside the values: a function of them to a pytree.
    finish: makes the map of the mean of the values, its terms, the mean of what
      is averaged beside them, and the shape of the base map.
    begun: what the map that `finish` made says, to go on from.
  """

  values: Callable[[terms.Map, Largest], terms.Map]
  share: float | int = 1
  binary: bool = False
  also: Callable[[terms.Map], Any] = lambda values: ()
  finish: Callable[..., types.Attribution] = lambda mean, info, also, shape: (
    types.Attribution(mean, info)
  )
  begun: Callable[[types.Attribution | None], Begun] = begun


class MedianRankInfo(NamedTuple):
  """The histogram from which the ranks are read.

  Attributes:
    below: for each entry and bin, the share of the draws in which the entry
      ranks in that bin or in a better one, `[n, num_bins]`.
    low: lower end of a 95% interval of the score: the rank reached by half of
      the draws plus two standard errors.
    high: upper end: the rank reached by half of the draws less two standard
      errors.
    sigma: deviation of the noise, in units of the example.
    noise: which, by its place in `noises.ALL`.
    num_samples: draws.
    base_zeros: mean share of the entries of the base map that are zero.
    num_nonfinite: draws with NaN or infinite entries, which have no ranks. With
      one such draw the scores are NaN.
  """

  below: Float[Array, 'n b']
  low: terms.Map
  high: terms.Map
  sigma: Float[Array, '']
  noise: Int[Array, '']
  num_samples: Int[Array, '']
  base_zeros: Float[Array, '']
  num_nonfinite: Int[Array, '']


def scaled() -> Kind:
  """Divides by the maximum."""
  return Kind(lambda m, largest: m / _peak(m))


def quadratic() -> Kind:
  """Squares what `scaled` averages."""
  return Kind(lambda m, largest: (m / _peak(m)) ** 2)


def sparsified(tau: float | int = 0.2) -> Kind:
  """Is one on the `tau n` largest entries, leaving out ties for the last place.

  Zeros are never among them: no more than `ceil(tau n)` entries are one.

  Args:
    tau: share of the entries that count, in (0, 1].

  Raises:
    ValueError: for a bad share.
  """
  checks.within('tau', tau, '(0, 1]')

  def values(m, largest):
    return _above(m, tau, largest).astype(m.dtype)

  def finish(mean, info, also, shape):
    # The mean of zeros and ones is a count; batches were merged with rounding.
    del also, shape
    num = info.num_samples.astype(mean.dtype)
    return types.Attribution(jnp.round(mean * num) / num, info)

  return Kind(values, tau, True, finish=finish)


def relaxed(tau: float | int = 0.2, gamma: float | int = 0.01) -> Kind:
  """Keeps the sizes of the `tau n` largest entries.

  Args:
    tau: share of the entries that are not zero, in (0, 1].
    gamma: share of the entries that are one, in [0, tau]; at 0 it is the
      largest alone.

  Raises:
    ValueError: for bad shares.
  """
  checks.within('tau', tau, '(0, 1]')
  checks.within('gamma', gamma, f'[0, {tau}]')

  def values(m, largest):
    one = largest(max(1, selection.count(gamma, m.size)))
    kept = jnp.where(_above(m, tau, largest), m, 0)
    return jnp.minimum(kept / jnp.where(one > 0, one, 1), 1)

  return Kind(values, tau)


def ranked(num_bins: int = 64) -> Kind:
  """Counts ranks, 1 for the largest entry, in bins of equal width.

  Args:
    num_bins: bins of the histogram.

  Returns:
    A kind whose map is `smoothed_maps.median_rank`'s.

  Raises:
    ValueError: for fewer than one bin.
  """
  checks.count('num_bins', num_bins)

  def values(m, largest):
    del largest
    flat = m.ravel()
    ends = flat.size * np.arange(1, num_bins) // num_bins
    # Of a rank up to `end`: above the entry of the next. Entries that tie all
    # have the last of their places.
    limits = jnp.sort(flat, descending=True)[ends]
    within = flat[:, None] > limits[None]
    within = jnp.pad(within, ((0, 0), (0, 1)), constant_values=True)
    return within.astype(m.dtype)

  def finish(share, info, also, shape):
    del also
    num = info.num_samples.astype(share.dtype)
    counts = jnp.round(num * share)

    def score(wanted):
      """Returns the first bin by whose end that many draws have come."""
      place = 1 + jnp.sum(counts[:, :-1] < wanted, -1)
      rank = place.astype(share.dtype) / num_bins
      return -jnp.where(jnp.isnan(share[:, 0]), jnp.nan, rank).reshape(shape)

    half, error = num / 2, jnp.sqrt(num) / 2
    return types.Attribution(
      score(half),
      MedianRankInfo(
        below=share,
        low=score(half + 2 * error),
        high=score(half - 2 * error),
        sigma=info.sigma,
        noise=info.noise,
        num_samples=info.num_samples,
        base_zeros=info.base_zeros,
        num_nonfinite=info.num_nonfinite,
      ),
    )

  def begun(start):
    info = stopping.info_of(start, MedianRankInfo)
    n, bins = info.below.shape
    if bins != num_bins:
      raise ValueError(
        f'start must be a map of the same settings, got one of {bins} bins, '
        f'expected {num_bins}'
      )
    variance = info.below * (1 - info.below)
    stated = terms.SmoothedInfo(
      variance=variance,
      stderr=jnp.sqrt(variance),
      base_zeros=info.base_zeros,
      sigma=info.sigma,
      num_samples=info.num_samples,
      mass=np.asarray(n),
      binary=np.asarray(False),
      num_nonfinite=info.num_nonfinite,
      noise=info.noise,
    )
    return Begun(info.below, (), stated)

  return Kind(values, finish=finish, begun=begun)


def of_sizes(m: terms.Map) -> Largest:
  """Returns how to look up the entries of a map by rank, each once."""

  @functools.cache
  def largest(rank):
    return selection.kth_smallest(m, m.size - rank + 1)

  return largest


def _peak(m):
  peak = jnp.max(m)
  return jnp.where(peak > 0, peak, 1)


def _above(
  m: terms.Map, share: float | int, largest: Largest
) -> Bool[Array, '...']:
  """Returns which entries are among the `share n` largest, ties left out."""
  return m > largest(selection.count(share, m.size) + 1)
