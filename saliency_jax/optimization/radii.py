"""The bound `L` of LEG-TV: how far a map may be from what the draws say.

`|D^{+T} (y - S g)|_inf <= L`, `y = mean_i d_i z_i`. The bounds are

  `relative`   `K_L |D^{+T} y|_inf`, the paper's heuristic,
  `absolute`   a number,
  `paper`      Theorem 1's as printed, `sqrt(2 |D^+|_1 log(p / eps) / n)`,
  `mcdiarmid`  what its proof gives, `|D^+|_1 sqrt(8 log(2 m / eps) / n)`,
  `bootstrap`  the `1 - eps` quantile of `|D^{+T} (y - E y)|_inf`, estimated.

The theorem asks for bounded noise and scores, and its bounds are so large that
the map is constant. With the bootstrap's bound the feasible set holds the true
LEG with probability `1 - eps`, and still leaves other maps out.

References:
  Luo, Barut, Jin, Statistically consistent saliency estimation, 2021.
    https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
  Chernozhukov, Chetverikov, Kato, Gaussian approximations and multiplier
    bootstrap for maxima of sums of high-dimensional random vectors, 2013.
    https://arxiv.org/abs/1212.6906
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from typing_extensions import TypeAliasType

from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.solvers import flows
from saliency_jax.solvers import operators


class Evidence(NamedTuple):
  """What is known of the moments `y` of `k` maps.

  Attributes:
    on: the graph, which has `D`.
    moment: `y`.
    largest: `L_max = |D^{+T} y|_inf`, from which on a map is constant.
    num_terms: independent terms `d_i z_i` of which `y` is the mean.
    term: returns one of them; `None` where they are not known.
    key: for further draws.
    batch_size: terms held in memory at once.
  """

  on: operators.Operator
  moment: Float[Array, '*cells k']
  largest: Float[Array, 'k']
  num_terms: int
  term: Callable[[Any], Float[Array, '*cells k']] | None = None
  key: Any = None
  batch_size: int | None = None


# `(evidence, level)` to the `L` of each of the `k` maps.
Radius = TypeAliasType(
  'Radius', Callable[[Evidence, types.Scalar], Float[Array, 'k']]
)


def relative(
  evidence: Evidence, level: types.Scalar = 0.05
) -> Float[Array, 'k']:
  """Returns `K_L L_max` for `K_L = level`, .05 or .1 in the paper."""
  checks.within('level', level, '[0, inf)')
  return jnp.asarray(level, evidence.largest.dtype) * evidence.largest


def absolute(evidence: Evidence, level: types.Scalar) -> Float[Array, 'k']:
  """Returns `level` itself, in units of the score times units of `x`."""
  checks.within('level', level, '[0, inf)')
  return jnp.full_like(evidence.largest, level)


def paper(evidence: Evidence, level: types.Scalar = 0.05) -> Float[Array, 'k']:
  """Returns the `L` of Theorem 1 as printed, `level` its `eps`.

  It does not follow from the theorem's proof: see `mcdiarmid`.
  """
  _check_probability(level)
  on = evidence.on
  log = jnp.log(
    math.prod(on.shape) / jnp.asarray(level, evidence.largest.dtype)
  )
  size = 2 * on.pinv_norm() / evidence.num_terms
  return jnp.full_like(evidence.largest, jnp.sqrt(size * log))


def mcdiarmid(
  evidence: Evidence, level: types.Scalar = 0.05
) -> Float[Array, 'k']:
  """Returns the `L` that the proof of Theorem 1 gives, `level` its `eps`.

  For scores and noise in [-1, 1], each edge's entry of `D^{+T} y` moves by at
  most `4 |D^+|_1 / n` with one draw; there are `m` edges and two sides. With
  Gaussian noise, which has no bound, it is a figure and no guarantee.
  """
  _check_probability(level)
  on = evidence.on
  num_edges = flows.count(on.difference(evidence.moment[..., 0]))
  log = jnp.log(
    2 * max(1, num_edges) / jnp.asarray(level, evidence.largest.dtype)
  )
  size = on.pinv_norm() * math.sqrt(8 / evidence.num_terms)
  return jnp.full_like(evidence.largest, size * jnp.sqrt(log))


def bootstrap(
  evidence: Evidence,
  level: types.Scalar = 0.05,
  *,
  num_replicates: int = 500,
) -> Float[Array, 'k']:
  """Returns the quantile of `|D^{+T} (y - E y)|_inf` at `1 - level`.

  It is the quantile of `|D^{+T} mean_i e_i (d_i z_i - y)|_inf` over standard
  normal multipliers `e`, of the draws of `leg.orthogonal` without what the map
  says of `d_i`. The noise is drawn again; the score is not called.

  Raises:
    ValueError: if only the moment is known, or for a bad number.
  """
  _check_probability(level)
  checks.count('num_replicates', num_replicates)
  if evidence.term is None:
    raise ValueError(
      'bootstrap needs the terms d_i z_i, and only their mean is known'
    )
  n, moment = evidence.num_terms, evidence.moment
  size = n if evidence.batch_size is None else min(n, evidence.batch_size)
  key = sampling.key_for(evidence.key, sampling.BOOTSTRAP)
  like = jnp.zeros(num_replicates, moment.dtype)

  def of_batch(start):
    i = start + jnp.arange(size)
    real = (i < n).astype(moment.dtype)
    i = jnp.minimum(i, n - 1)
    e = jax.vmap(lambda i: sampling.normal(sampling.draw_key(key, i), like))(i)
    terms = jax.vmap(evidence.term)(i) - moment[None]
    return jnp.einsum(
      'ib,i...k->bk...',
      e * real[:, None],
      terms,
      precision=jax.lax.Precision.HIGHEST,
    )

  starts = jnp.arange(0, n, size)
  mean = sampling.batched_mean(of_batch, starts, batch_size=1)
  norm = lambda u: flows.largest(evidence.on.pinv_adjoint(u))
  norms = jax.vmap(jax.vmap(norm))(mean * (starts.size / n))
  rank = 1 - jnp.asarray(level, moment.dtype)
  return jnp.quantile(norms, rank, axis=0)


def _check_probability(level):
  checks.within('level', level, '(0, 1]')
