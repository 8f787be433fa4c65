"""Confidence bounds on the entries of a smoothed map, all at once.

Each returns `(lower, upper)` in float64, such that with probability at least
`confidence` every one of the `n` entries of the population's map lies between
its bounds: each of the `2n` bounds fails with probability at most
`(1 - confidence) / (2n)`.

  hoeffding            h -+ c,  c = sqrt(ln(2n / (1 - p)) / (2q))
  clopper_pearson      the exact binomial bounds, for maps of zeros and ones
  empirical_bernstein  h -+ (sqrt(2 V L / q) + 7 L / (3 (q - 1))), V the draws'
                       unbiased variance, L = ln(4n / (1 - p))

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019 (Hoeffding). https://arxiv.org/abs/1905.12105
  Maurer and Pontil, Empirical Bernstein bounds and sample-variance
  penalization, COLT 2009. https://arxiv.org/abs/0907.3740
"""

from collections.abc import Callable
import math
from typing import Any

import numpy as np
from scipy import special

# `(mean, num_samples, confidence) -> (lower, upper)`.
Bound = Callable[[np.ndarray, int, float], tuple[np.ndarray, np.ndarray]]


def hoeffding(
  mean: Any, num_samples: int, confidence: float | int = 0.95
) -> tuple[np.ndarray, np.ndarray]:
  """Bounds means of any draws in [0, 1]: the paper's."""
  mean = _checked(mean, num_samples, confidence)
  c = math.sqrt(math.log(2 * mean.size / (1 - confidence)) / (2 * num_samples))
  return np.maximum(mean - c, 0), np.minimum(mean + c, 1)


def clopper_pearson(
  mean: Any, num_samples: int, confidence: float | int = 0.95
) -> tuple[np.ndarray, np.ndarray]:
  """Bounds means of draws that are 0 or 1, exactly.

  Raises:
    ValueError: for means that are no multiples of `1 / num_samples`.
  """
  mean = _checked(mean, num_samples, confidence)
  counts = np.rint(mean * num_samples)
  off = np.max(np.abs(counts - mean * num_samples))
  if off > 0.01:
    raise ValueError(
      f'expected means of {num_samples} draws of 0 or 1, got a count that is '
      f'{off:.3g} off a whole number: use hoeffding or empirical_bernstein'
    )
  # Few counts, many entries.
  counts, place = np.unique(counts, return_inverse=True)
  level = (1 - confidence) / (2 * mean.size)
  q = num_samples
  with np.errstate(invalid='ignore'):
    lower = special.betaincinv(counts, q - counts + 1, level)
    upper = special.betainccinv(counts + 1, q - counts, level)
  lower = np.where(counts == 0, 0, lower)
  upper = np.where(counts == q, 1, upper)
  place = place.reshape(mean.shape)
  return lower[place], upper[place]


def empirical_bernstein(
  mean: Any, num_samples: int, confidence: float | int = 0.95, *, variance: Any
) -> tuple[np.ndarray, np.ndarray]:
  """Bounds means of draws in [0, 1] with little variance.

  Args:
    mean: of the draws.
    num_samples: of the draws, at least two.
    confidence: of all bounds at once.
    variance: of the draws, the biased one of `SmoothedInfo`.
  """
  mean = _checked(mean, num_samples, confidence)
  if num_samples < 2:
    raise ValueError(f'num_samples must be at least 2, got {num_samples}')
  variance = np.asarray(variance, np.float64)
  if variance.shape != mean.shape:
    raise ValueError(
      f'expected a variance shaped {mean.shape}, got {variance.shape}'
    )
  variance = np.maximum(variance, 0) * (num_samples / (num_samples - 1))
  level = math.log(4 * mean.size / (1 - confidence))
  c = np.sqrt(2 * variance * level / num_samples) + 7 * level / (
    3 * (num_samples - 1)
  )
  return np.maximum(mean - c, 0), np.minimum(mean + c, 1)


def population(
  mean: Any, num_samples: int = 0, confidence: float | int = 1.0
) -> tuple[np.ndarray, np.ndarray]:
  """Takes the means for the population's: for maps that are known exactly."""
  del num_samples, confidence
  mean = _checked(mean, 1, 0.5)
  return mean, mean


def _checked(mean, num_samples, confidence):
  mean = np.asarray(mean, np.float64)
  if num_samples < 1:
    raise ValueError(f'num_samples must be at least 1, got {num_samples}')
  if not 0 < confidence < 1:
    raise ValueError(
      f'confidence must be strictly between 0 and 1, got {confidence}'
    )
  # float32 sums of many draws may pass 1 by a rounding.
  if not mean.size or not (mean.min() >= -1e-5 and mean.max() <= 1 + 1e-5):
    raise ValueError('expected a map with entries in [0, 1], without NaN')
  return np.clip(mean, 0, 1)
