"""The terms of a smoothed map: what a certificate of it needs to know.

A smoothed map is a mean of draws `v(x + z)`, `z` noise of deviation sigma, with
values in [0, 1]. The map carries its own terms in `info`, so that no caller has
to remember them: the noise, the number of draws and what one draw is.
"""

from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from saliency_jax.certificates import noises
from saliency_jax.core import checks
from saliency_jax.core import types

Map = Float[Array, '...']


class SmoothedInfo(NamedTuple):
  """The terms of a smoothed map, and its precision.

  Attributes:
    variance: of each entry's draws (biased).
    stderr: standard error of each entry.
    base_zeros: mean share of the entries of the base map that are zero, which
      it does not rank.
    sigma: deviation of the noise, in units of the example.
    num_samples: draws of the map; 0 for a map that is known exactly.
    mass: the most that the entries of one draw can add up to.
    binary: whether each entry of each draw is 0 or 1.
    num_nonfinite: draws whose base map has entries that are NaN or infinite.
      The scores are NaN where there is one: nothing is certain then.
    noise: which, by its place in `noises.ALL`; 0 is Gaussian.
  """

  variance: Map
  stderr: Map
  base_zeros: Float[Array, '']
  sigma: Float[Array, '']
  num_samples: Int[Array, '']
  mass: Int[Array, '']
  binary: Bool[Array, '']
  num_nonfinite: Int[Array, '']
  noise: Int[Array, '']


class Terms(NamedTuple):
  """A smoothed map and its terms as numbers of the host."""

  mean: np.ndarray
  variance: np.ndarray
  sigma: float
  num_samples: int
  mass: float
  binary: bool
  noise: noises.Noise


def stated_map(
  mean: Any,
  *,
  sigma: float | int,
  num_samples: int = 0,
  binary: bool = False,
  mass: float | int | None = None,
  variance: Any = None,
  noise: noises.Noise = noises.GAUSSIAN,
) -> types.Attribution:
  """Returns a smoothed map that was made elsewhere, with its terms as stated.

  Args:
    mean: of the draws, entries in [0, 1].
    sigma: deviation of the noise, in units of the example.
    num_samples: draws; 0 states that `mean` is the population's, exactly.
    binary: whether each entry of each draw is 0 or 1.
    mass: the most that one draw adds up to; `None` is the number of entries.
    variance: of the draws (biased), for bounds that use it; for binary
      draws it follows from their mean.
    noise: one of `noises`.

  Raises:
    ValueError: for `sigma <= 0`, `num_samples < 0` or `mass <= 0`.
  """
  mean = np.asarray(mean, np.float64)
  mass = mean.size if mass is None else mass
  checks.within('sigma', sigma, '(0, inf)')
  checks.count('num_samples', num_samples, least=0)
  checks.within('mass', mass, '(0, inf)')
  if variance is None:
    variance = mean * (1 - mean) if binary else np.full_like(mean, np.nan)
  variance = np.asarray(variance, np.float64)
  info = SmoothedInfo(
    variance=variance,
    stderr=np.sqrt(np.maximum(variance, 0) / max(num_samples - 1, 1)),
    base_zeros=np.array(np.nan),
    sigma=np.array(sigma, np.float64),
    num_samples=np.array(num_samples),
    mass=np.array(mass),
    binary=np.array(binary),
    num_nonfinite=np.array(0),
    noise=np.array(noises.ALL.index(noise)),
  )
  return types.Attribution(mean, info)


def read(smoothed: Any) -> Terms:
  """Returns the terms of the map of one example, on the host.

  Raises:
    ValueError: for what is no smoothed map or was changed since, and for a map
      that no certificate holds of: of draws that are not finite, with entries
      outside of [0, 1], in less than single precision, or traced.
  """
  info = getattr(smoothed, 'info', None)
  info = getattr(info, 'smoothed', info)  # Of a method that tells more.
  if not isinstance(info, SmoothedInfo):
    raise ValueError(
      'expected the attribution of a smoothed map, such as sparsified_map, got '
      f'{_describe(smoothed)}: certificates.stated_map states the terms of a '
      'map that was made elsewhere'
    )
  if any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves(smoothed)):
    raise ValueError(
      'got a traced map: certificates are computed on the host, outside of jit'
    )
  if np.ndim(info.sigma):
    raise ValueError(
      f'expected the map of one example, got {np.shape(info.sigma)} of them: '
      'pick one by jax.tree.map(lambda a: a[i], attribution)'
    )
  if int(info.num_nonfinite):
    raise ValueError(
      f'{int(info.num_nonfinite)} of {int(info.num_samples)} draws of the map '
      'are not finite: nothing can be certified; is the model finite within '
      f'sigma = {float(info.sigma):g} of the example?'
    )
  scores = np.asarray(smoothed.scores)
  if scores.dtype.itemsize < 4:
    raise ValueError(
      f'got a map of {scores.dtype}, which rounds the means that are '
      'certified: explain the example as float32'
    )
  mean, variance = (np.asarray(a, np.float64) for a in (scores, info.variance))
  changed = variance.shape != mean.shape
  # float32 sums of many draws may pass 1 by a rounding.
  if not (changed or (mean.min() >= -1e-5 and mean.max() <= 1 + 1e-5)):
    raise ValueError('expected a map with entries in [0, 1], without NaN')
  if changed or not _belongs(mean, variance, info.binary):
    raise ValueError(
      'the scores are not the means of the draws that info tells of: they were '
      'changed since; change the base map, base=, instead'
    )
  return Terms(
    mean=np.clip(mean, 0, 1),
    variance=variance,
    sigma=float(info.sigma),
    num_samples=int(info.num_samples),
    mass=float(info.mass),
    binary=bool(info.binary),
    noise=noises.ALL[int(info.noise)],
  )


def _belongs(mean, variance, binary):
  """Returns whether draws in [0, 1] can have this mean and variance."""
  # Bhatia and Davis: at most h (1 - h), and that is it for zeros and ones.
  excess = variance - mean * (1 - mean)
  excess = np.abs(excess) if binary else excess
  return not np.any(excess > 1e-4)


def _describe(value):
  shape = getattr(value, 'shape', None)
  if shape is not None:
    return f'an array shaped {tuple(shape)}'
  info = getattr(value, 'info', None)
  name = type(value if info is None else info).__name__
  return name if info is None else f'an attribution with {name}'
