"""The floor and the ceiling of a map by the distribution of its values.

    h' = int_0^1 P'(v >= t) dt,   P'(v >= t) >= Phi(Phi^-1(P(v >= t)) - r)

of each entry, with `r = rho / sigma`, and from above with `+ r`: each `{v >=
t}` is a set, whose chance moves no more than that. A mean alone is shifted as
if its values were zeros and ones; values that stay small, as of scaled maps,
lose far less. From chances at the edges `0 = e_0 < e_1 < ... < e_T = 1`, which
fall with `t`,

    sum_k (e_k - e_{k-1}) P'(v >= e_k) <= h'
                          h' <= sum_k (e_k - e_{k-1}) P'(v >= e_{k-1}).

Sampled chances enter by a band that holds at all edges of all `n` entries at
once, each side of an entry failing with probability `(1 - confidence) / (2n)`:

  cdf_floor   `-+ sqrt(ln(2n / (1 - p)) / (2q))`, Massart's constant for the
              inequality of Dvoretzky, Kiefer and Wolfowitz, at any edges;
  cdf_exact   the exact binomial bounds, each of the T edges at its own part.

References:
  Kumar, Levine, Feizi and Goldstein, Certifying confidence via randomized
  smoothing, NeurIPS 2020. https://arxiv.org/abs/2009.08061
  Massart, The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality,
  Annals of Probability 18, 1990. https://doi.org/10.1214/aop/1176990746
"""

from collections.abc import Sequence
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.certificates import confidence as bounds
from saliency_jax.certificates import draws
from saliency_jax.certificates import terms
from saliency_jax.core import checks
from saliency_jax.core import stopping
from saliency_jax.core import types

# Fine where values are small: each edge is a twentieth above the last.
EDGES = tuple(np.geomspace(1e-3, 1, 140).tolist())


class TailsInfo(NamedTuple):
  """The terms of a smoothed map, and the distribution of its values.

  Attributes:
    smoothed: the terms.
    above: share of the draws whose value is at least an edge, `[*map, T]`.
    edges: `[T]`, rising, the last is 1.
  """

  smoothed: terms.SmoothedInfo
  above: Float[Array, '... t']
  edges: Float[Array, 't']


def with_tails(kind: draws.Kind, edges: Sequence[float] = EDGES) -> draws.Kind:
  """Returns a kind that also counts how often values reach some edges.

  Args:
    kind: of values in [0, 1].
    edges: rising, in (0, 1], the last is 1; memory is their number times the
      map's.

  Raises:
    ValueError: for other edges.
  """
  edges = _checked(edges)

  def also(values):
    limits = jnp.asarray(edges, values.dtype)
    reached = values[..., None] >= limits.reshape(*(1,) * values.ndim, -1)
    return reached.astype(values.dtype)

  def finish(mean, info, above, shape):
    mean, info = kind.finish(mean, info, (), shape)
    num = info.num_samples.astype(above.dtype)
    limits = jnp.asarray(edges, above.dtype)
    above = jnp.round(above * num) / num
    return types.Attribution(mean, TailsInfo(info, above, limits))

  def begun(start):
    info = stopping.info_of(start, TailsInfo)
    if not isinstance(info.edges, jax.core.Tracer) and not np.array_equal(
      info.edges, np.asarray(edges, info.edges.dtype)
    ):
      raise ValueError(
        f'start must be a map of the same edges, got {info.edges!r:.80}'
      )
    found = kind.begun(start._replace(info=info.smoothed))
    return found._replace(also=info.above)

  return kind._replace(also=also, finish=finish, begun=begun)


def stated_tails(
  values: Any,
  *,
  sigma: float | int,
  binary: bool = False,
  edges: Sequence[float] = EDGES,
) -> types.Attribution:
  """Returns the smoothed map, with tails, of draws that were made elsewhere.

  Args:
    values: of the draws, `[q, *map]`, in [0, 1].
    sigma: deviation of the Gaussian noise, in units of the example.
    binary: whether each value is 0 or 1.
    edges: see `with_tails`.

  Raises:
    ValueError: as `stated_map` and `with_tails`.
  """
  values, edges = np.asarray(values), _checked(edges)
  stated = terms.stated_map(
    values.mean(0, dtype=np.float64),
    sigma=sigma,
    num_samples=len(values),
    binary=binary,
    variance=values.var(0, dtype=np.float64),
  )
  above = np.stack([np.mean(values >= e, 0) for e in edges], -1)
  return stated._replace(info=TailsInfo(stated.info, above, edges))


def cdf_floor(
  smoothed: types.Attribution, confidence: float | int = 0.95
) -> bounds.Tails:
  """Bounds the distributions of values in [0, 1] by a band of one width.

  Args:
    smoothed: map of `certificates.several` of a kind `with_tails`.
    confidence: of all edges of all entries at once.

  Raises:
    ValueError: for a map without tails, or that no certificate holds of.
  """
  above, edges, q = _read(smoothed, confidence)
  n = above[..., 0].size
  c = math.sqrt(math.log(2 * n / (1 - confidence)) / (2 * q))
  return bounds.Tails(np.maximum(above - c, 0), np.minimum(above + c, 1), edges)


def cdf_exact(
  smoothed: types.Attribution, confidence: float | int = 0.95
) -> bounds.Tails:
  """Bounds the distributions of values in [0, 1] exactly at each edge.

  Args:
    smoothed: map of `certificates.several` of a kind `with_tails`.
    confidence: of all edges of all entries at once.

  Raises:
    ValueError: as `cdf_floor`.
  """
  above, edges, q = _read(smoothed, confidence)
  level = (1 - confidence) / (2 * above.size)
  return bounds.Tails(*bounds.binomial(above * q, q, level), edges)


def _checked(edges):
  edges = np.asarray(edges, np.float64)
  if edges[0] <= 0 or edges[-1] != 1 or np.any(np.diff(edges) <= 0):
    raise ValueError(f'edges must rise in (0, 1] up to 1, got {edges!r:.80}')
  return edges


def _read(smoothed, confidence):
  evidence, info = terms.read(smoothed), smoothed.info
  checks.within('confidence', confidence, '(0, 1)')
  if not isinstance(info, TailsInfo):
    raise ValueError(
      'expected a map with the tails of its values, as of certificates.several '
      f'with certificates.with_tails, got one with {type(info).__name__}'
    )
  above = np.clip(np.asarray(info.above, np.float64), 0, 1)
  return above, np.asarray(info.edges, np.float64), evidence.num_samples
