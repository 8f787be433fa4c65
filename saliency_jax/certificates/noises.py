"""The noise that a map is smoothed by, and how far chances move with it.

Of noise with independent coordinates of the distribution function `F` and of
deviation sigma, a chance `h` at an example is, at every point within rho,

    at least F(F^-1(h) - r)   and at most   F(F^-1(h) + r),   r = rho / sigma,

and half-spaces of one coordinate attain both. So are means of values in [0, 1],
of which the lemma of Neyman and Pearson holds as of sets:

  GAUSSIAN  in L2: Theorem 2 of Levine et al.;
  LAPLACE   in L1: where the example moves along one coordinate, the ratio of
            the densities rises along it, so that a half-space of it is the
            worst set. Several coordinates move one after the other, and `F^-1`
            of the chance falls by as much each time.

L-infinity has no noise here. A ball of it lies within one of L2 with `sqrt(n)`
times the radius, and no noise does much better (Kumar et al.). Uniform noise
certifies in L1, too (Yang et al.): one noise a norm is enough.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
  Lecuyer et al., Certified robustness to adversarial examples with
  differential privacy, 2019 (Laplace). https://arxiv.org/abs/1802.03471
  Yang et al., Randomized smoothing of all shapes and sizes, ICML 2020.
  https://arxiv.org/abs/2002.08118
  Kumar et al., Curse of dimensionality on randomized smoothing for certifiable
  robustness, ICML 2020. https://arxiv.org/abs/2002.03239
"""

from collections.abc import Callable
import math
from typing import NamedTuple

from jaxtyping import Array, Key
import numpy as np
from scipy import special

from saliency_jax.core import sampling
from saliency_jax.core import types


class Noise(NamedTuple):
  """Noise of independent coordinates, symmetric, of deviation 1.

  Attributes:
    draw: of a key, shaped as an example.
    cdf: its distribution function `F`.
    quantile: the inverse of that.
    norm: of the balls that its certificates hold in: 1 or 2.
  """

  draw: Callable[[Key[Array, ''], types.Example], types.Example]
  cdf: Callable[[np.ndarray], np.ndarray]
  quantile: Callable[[np.ndarray], np.ndarray]
  norm: int

  def shift(
    self, lower: np.ndarray, upper: np.ndarray, ratio: float | int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns `F(F^-1(h) -+ ratio)` of bounds of chances."""
    return (
      self.cdf(self.quantile(lower) - ratio),
      self.cdf(self.quantile(upper) + ratio),
    )


def _laplace_cdf(x):
  tail = np.exp(-math.sqrt(2) * np.abs(x)) / 2
  return np.where(x < 0, tail, 1 - tail)


def _laplace_quantile(h):
  with np.errstate(divide='ignore'):
    far = -np.log(2 * np.minimum(h, 1 - h)) / math.sqrt(2)
  return np.where(np.less(h, 0.5), -far, far)


GAUSSIAN = Noise(sampling.normal, special.ndtr, special.ndtri, 2)
LAPLACE = Noise(sampling.laplace, _laplace_cdf, _laplace_quantile, 1)

# A map tells its noise by the place here.
ALL = (GAUSSIAN, LAPLACE)
