"""What is certain of one example's map, in one call: `certify`.

  found = certificates.certify(fn, x, key=key, rho=0.03)

From one set of draws: the map, its K largest entries, the share of them that
stays within rho, how far each entry is certain to stay, and the radius within
which half of them do. All of it holds at once with the confidence, for every
radius; `certify_map` does the same for a map that is there already.
"""

from typing import Any, NamedTuple

from jaxtyping import Array, Key
import numpy as np

from saliency_jax.certificates import confidence as bounds
from saliency_jax.certificates import overlap
from saliency_jax.certificates import radii
from saliency_jax.certificates import smoothed_maps
from saliency_jax.certificates import terms
from saliency_jax.core import selection
from saliency_jax.core import types


class Certified(NamedTuple):
  """A smoothed map and what is certain of its top K.

  Attributes:
    smoothed: the map, with its terms.
    top: which entries are the K largest, shaped as the map; of entries that tie
      for the last place, the first.
    overlap: share of the top that stays at any point of the ball, `[num_rho]`.
    stays: which entries are certain to be among the K largest at every point of
      the ball, `[num_rho, *map]`. They are fewer than `overlap` counts, which
      says how many of the top stay, but not which.
    inside: the radius of each entry, within which it is certain to be among the
      K largest; 0 for none.
    outside: the radius of each entry, within which it is certain not to be.
    radius: within which the share that was asked for, by default half of the
      top, stays.
    certificate: the terms, and `overlap` of every K that was asked for.
  """

  smoothed: types.Attribution
  top: np.ndarray
  overlap: np.ndarray
  stays: np.ndarray
  inside: np.ndarray
  outside: np.ndarray
  radius: float
  certificate: overlap.Certificate


def certify(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  method: types.Method = smoothed_maps.sparsified_map,
  k: int | None = None,
  rho: Any = 0.03,
  share: float | int = 0.5,
  confidence: float | int = 0.95,
  bound: bounds.Bound | None = None,
  **settings: Any,
) -> Certified:
  """Makes a smoothed map of one example, and certifies its top K.

  It is called outside of jit: certificates are computed on the host.

  Args:
    fn: score of one example, in the paper the largest logit.
    x: the example.
    key: consumed; required.
    method: one of `smoothed_maps`, of values in [0, 1].
    k: number of entries in the top; `None` takes a fifth, as the paper does.
    rho: radius of the L2 ball, in units of the example, or several.
    share: of the top, whose radius is looked for, in (0, 1].
    confidence: with which all of it holds at once.
    bound: one of `confidence`; `None` is the exact one for maps of zeros and
      ones, and otherwise the closer of two, see `confidence.closest`.
    **settings: of the method, such as `sigma=0.5, num_samples=4096`.

  Raises:
    ValueError: as the method and `top_k_overlap`.
  """
  smoothed = method(fn, x, key=key, **settings)
  return certify_map(
    smoothed, k=k, rho=rho, share=share, confidence=confidence, bound=bound
  )


def certify_map(
  smoothed: types.Attribution,
  *,
  k: int | None = None,
  rho: Any = 0.03,
  share: float | int = 0.5,
  confidence: float | int = 0.95,
  bound: bounds.Bound | None = None,
) -> Certified:
  """Certifies the top K of a smoothed map of one example: see `certify`."""
  evidence = terms.read(smoothed)
  n = evidence.mean.size
  k = selection.count(0.2, n) if k is None else k
  bound = bounds.closest if bound is None else bound
  # Computed once: each of the three below would sort out its own.
  lower, upper = bounds.of_entries(bound(smoothed, confidence))
  known = lambda smoothed, confidence: (lower, upper)
  known.__name__ = getattr(bound, 'func', bound).__name__
  settings = {'confidence': confidence, 'bound': known}
  certificate = overlap.top_k_overlap(smoothed, k, rho=rho, **settings)
  found = radii.entry_radii(smoothed, k, **settings)
  (radius,) = radii.overlap_radius(smoothed, k, share=share, **settings)
  order = np.argsort(-evidence.mean.ravel(), kind='stable')
  top = np.zeros(n, bool)
  top[order[:k]] = True
  ends = certificate.rho.reshape(-1, *(1,) * lower.ndim)
  return Certified(
    smoothed=smoothed,
    top=top.reshape(lower.shape),
    overlap=certificate.overlap[:, 0],
    stays=found.inside > ends,
    inside=found.inside,
    outside=found.outside,
    radius=float(radius),
    certificate=certificate,
  )
