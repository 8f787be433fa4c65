"""Draws until the top K is certified, in rounds that are stated beforehand.

  found = certificates.certify_until(fn, x, key=key, rho=0.03, target=0.5)

Round `r` of `R` looks at the first `num_samples / 2^(R - r)` draws, so that
each has twice the draws of the one before, goes on from its map by `start`, and
certifies with the confidence `1 - (1 - p) / R`. By the union bound all rounds
hold at once with the confidence `p`, whichever of them is the last. Without its
share, a look at every round would be wrong more often than is said.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

from jaxtyping import Array, Key
import numpy as np

from saliency_jax.certificates import confidence as bounds
from saliency_jax.certificates import smoothed_maps
from saliency_jax.certificates import summary
from saliency_jax.core import checks
from saliency_jax.core import types

# `(num_samples, start)` to the smoothed map of so many draws, which goes on
# from an earlier map, or from none.
Draw = Callable[[int, types.Attribution | None], types.Attribution]


class Rounds(NamedTuple):
  """What the last round certifies, and how it came to be the last.

  Attributes:
    certified: of the last round; its confidence is the one of all rounds.
    met: whether the overlap reached the target, at every radius.
    num_samples: draws of the rounds that were taken, `[rounds]`; the last is of
      the map.
    overlap: certified overlap by round, `[rounds, num_rho]`.
    num_rounds: rounds that were allowed for.
  """

  certified: summary.Certified
  met: bool
  num_samples: np.ndarray
  overlap: np.ndarray
  num_rounds: int


def certify_until(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  method: types.Method = smoothed_maps.sparsified_map,
  target: Any = 0.5,
  num_samples: int = 8192,
  num_rounds: int = 6,
  k: int | None = None,
  rho: Any = 0.03,
  share: float | int = 0.5,
  confidence: float | int = 0.95,
  bound: bounds.Bound | None = None,
  **settings: Any,
) -> Rounds:
  """Smooths a map until its certificate is good, or it has the most draws.

  It is called outside of jit, and compiles each round.

  Args:
    fn: score of one example, in the paper the largest logit.
    x: the example.
    key: consumed; required.
    method: one of `smoothed_maps` that takes `start`, of values in [0, 1].
    target: for the overlap, in (0, 1]; one number, or one a radius.
    num_samples: the most draws, of the last round.
    num_rounds: rounds at most; the first has `num_samples / 2^(R - 1)` draws.
    k: number of entries in the top: see `certify`.
    rho: radius of the L2 ball, in units of the example, or several.
    share: of the top, whose radius is looked for: see `certify`.
    confidence: with which all rounds hold at once.
    bound: one of `confidence`: see `certify`.
    **settings: of the method, such as `sigma=0.5, batch_size=32`.

  Raises:
    ValueError: as `certify`, for a target outside of (0, 1], or fewer draws
      than the rounds need to double.
  """

  def draw(num_samples, start):
    return method(
      fn, x, key=key, num_samples=num_samples, start=start, **settings
    )

  return in_rounds(
    draw,
    target=target,
    num_samples=num_samples,
    num_rounds=num_rounds,
    confidence=confidence,
    k=k,
    rho=rho,
    share=share,
    bound=bound,
  )


def in_rounds(
  draw: Draw,
  *,
  target: Any,
  num_samples: int,
  num_rounds: int = 6,
  confidence: float | int = 0.95,
  **settings: Any,
) -> Rounds:
  """Certifies maps of ever more draws, however they are made.

  Args:
    draw: `(num_samples, start)` to the smoothed map of the first `num_samples`
      draws, which begin with the draws of the map `start`.
    target: for the overlap: see `certify_until`.
    num_samples: the most draws.
    num_rounds: rounds at most.
    confidence: with which all rounds hold at once.
    **settings: of `certify_map`.

  Raises:
    ValueError: as `certify_until`.
  """
  checks.count('num_rounds', num_rounds, most=31)
  checks.count('num_samples', num_samples, 2 ** (num_rounds - 1))
  checks.within('confidence', confidence, '(0, 1)')
  target = np.asarray(target, float)
  for one in target.ravel():
    checks.within('target', one, '(0, 1]')
  level = 1 - (1 - confidence) / num_rounds
  smoothed, met, counts, overlaps = None, False, [], []
  for later in reversed(range(num_rounds)):
    counts.append(math.ceil(num_samples / 2**later))
    smoothed = draw(counts[-1], smoothed)
    found = summary.certify_map(smoothed, confidence=level, **settings)
    overlaps.append(found.overlap)
    met = bool(np.all(found.overlap >= target))
    if met:
      break
  certificate = found.certificate._replace(confidence=confidence)
  return Rounds(
    certified=found._replace(certificate=certificate),
    met=met,
    num_samples=np.array(counts),
    overlap=np.stack(overlaps),
    num_rounds=num_rounds,
  )
