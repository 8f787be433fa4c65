"""I-GOS++: one mask to delete the evidence and one to insert it, together.

    argmin_{D, I} (f(Phi(D)) - f(Phi(1 - I))
                   + f(Phi(D I)) - f(Phi(1 - D I))) / 2
                  + l1 mean|1 - D I| + l2 BTV(D I),

with D and I in [0, 1]^(s x s), descended on as in I-GOS. The scores are
`1 - D I`. Where the paper and its authors' code differ, or are silent:

- the half is from the code's direction; its line search has no half, and
  evaluates the noisy mean over the path: here direction and search agree on the
  objective above, plain, so that it never rises;
- the product of the masks in the first part is taken after upsampling, in the
  price before (both as in the code);
- each of the four terms has noise of its own.

References:
  Khorram, Lawson and Li, iGOS++: integrated gradient optimized saliency by
  bilateral perturbations, 2020. https://arxiv.org/abs/2012.15783
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import types
from saliency_jax.optimization import descent
from saliency_jax.optimization import masks


class IgosPpInfo(NamedTuple):
  """The masks and how they were found."""

  mask: Float[Array, 's s']  # The product of the two below.
  deletion: Float[Array, 's s']
  insertion: Float[Array, 's s']
  removed: Float[Array, '']  # Mean of 1 - M; near zero, there is no map.
  score: Float[Array, '']  # The objective without the price of the mask.
  accepted_fraction: Float[Array, '']  # Of the steps.
  descent: descent.DescentInfo


def igos_pp(
  fn: types.ScoreFn,
  x: types.Image,
  *,
  key: Key[Array, ''] | None = None,
  resolution: int = 28,
  l1: types.Scalar | None = None,
  tv: types.Scalar | None = None,
  edge_variance: types.Scalar = 5e-4,
  baseline: baselines.Baseline = baselines.gaussian_blur,
  num_steps: int = 15,
  path_steps: int = 20,
  sigma: types.Scalar = 0.045,
  place_noise: descent.PlaceNoise = descent.noisy_composite,
  upper: float | int = 1000.0,
  lower: float | int = 1e-5,
  decay: float | int = 0.2,
  slope: types.Scalar = 1e-4,
  forced: bool = False,
  weight_path: tuple[float | int, ...] = descent.WEIGHT_PATH,
  batch_size: int | None = None,
) -> types.Attribution:
  """Finds the least mask that deletes the evidence and, inverted, inserts it.

  Args:
    edge_variance: see `masks.bilateral_total_variation`.
    batch_size: model calls held in memory at once, at least the four of one
      point of the path or trial of the search; `None` holds all.

  The other arguments are as in `igos.igos`.

  Returns:
    Scores `up(1 - D I)`, `[H, W, 1]`, and `IgosPpInfo`.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> maps, info = saliency_jax.igos_pp(
    ...   lambda x: x[:4].mean(),
    ...   jnp.ones((8, 8, 1)),
    ...   key=jax.random.key(0),
    ...   resolution=2,
    ...   baseline=0.0,
    ...   num_steps=2,
    ... )
    >>> maps.shape
    (8, 8, 1)
  """
  x = examples.floats(x)
  checks.image(x)
  checks.within('edge_variance', edge_variance, '(0, inf)')
  if batch_size is not None:
    checks.count('batch_size', batch_size)
    batch_size = max(1, batch_size // 4)
  players = masks.players(
    igos_pp, x, key, resolution=resolution, baseline=baseline
  )
  l1, tv = descent.weights(players, l1, tv)
  fn, wide = examples.widened(fn, x)

  def total(pair, part, blend):
    d, i = (players.spread(m) for m in pair)
    both = d * i
    # What is kept when the evidence is deleted, or inserted.
    kept = (part * d, 1 - part * i, part * both, 1 - part * both)
    images = jax.vmap(blend)(jnp.arange(4), jnp.stack(kept))
    d, i, d_both, i_both = jax.vmap(fn)(images)
    return (d - i + d_both - i_both) / 2

  def path_score(pair, part, draw):
    def blend(term, kept):
      draw_of = 4 * draw + term
      phi = descent.noisy(key, wide, draw_of, sigma, place_noise, players)
      return phi(kept)

    return total(pair, part, blend)

  def price(pair):
    m = pair[0] * pair[1]
    variation = masks.bilateral_total_variation(
      m, players.spread(m), wide, edge_variance
    )
    return l1 * masks.sparsity(m) + tv * variation

  ones = masks.first(players, x)
  pair, trace = descent.descend(
    lambda pair: total(pair, 1, lambda _, kept: players.blend(kept)),
    path_score,
    price,
    (ones, ones),
    weight_path=weight_path,
    num_steps=num_steps,
    path_steps=path_steps,
    search=descent.Search(upper, lower, decay, slope, forced),
    batch_size=batch_size,
    combine=lambda pair: pair[0] * pair[1],
  )
  mask = pair[0] * pair[1]
  info = IgosPpInfo(
    mask=mask,
    deletion=pair[0],
    insertion=pair[1],
    removed=masks.sparsity(mask),
    score=trace.objective[-1] - trace.scale[-1] * price(pair),
    accepted_fraction=jnp.mean(trace.accepted.astype(mask.dtype)),
    descent=trace,
  )
  return examples.attribution(x, players.spread(1 - mask), info)
