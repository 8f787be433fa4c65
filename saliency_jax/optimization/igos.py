"""I-GOS: a mask that deletes the evidence, found along integrated gradients.

    argmin_{M in [0,1]^(s x s)} f(Phi(M)) + l1 mean|1 - M| + l2 TV(M)  (9)

by projected descent along the gradient, averaged over `j = 1..S`, of `f` at the
masks `(j/S) M`, plus the gradient of the price; steps by backtracking on the
plain objective. The scores are `1 - M`.

References:
  Qi, Khorram and Li, Visualizing deep networks by optimizing with integrated
  gradients, AAAI 2020. https://arxiv.org/abs/1905.00954
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import examples
from saliency_jax.core import types
from saliency_jax.optimization import descent
from saliency_jax.optimization import masks

# What the paper does and the default does not: it takes the smallest step where
# none decreases the objective, and leaves the weights alone.
PAPER = {'forced': True, 'weight_path': (1.0,)}


class IgosInfo(NamedTuple):
  """The mask and how it was found."""

  mask: Float[Array, '*players']
  removed: Float[Array, '']  # Mean of 1 - M; near zero, there is no map.
  score: Float[Array, '']  # The objective without the price of the mask.
  accepted_fraction: Float[Array, '']  # Of the steps.
  descent: descent.DescentInfo


def igos(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  resolution: int = 28,
  l1: types.Scalar | None = None,
  tv: types.Scalar | None = None,
  baseline: baselines.Baseline = baselines.gaussian_blur,
  objective: masks.Objective = masks.deletion,
  masker: maskers.Constructor | None = None,
  num_steps: int = 15,
  path_steps: int = 20,
  sigma: types.Scalar = 0.045,
  place_noise: descent.PlaceNoise = descent.noisy_image,
  upper: float | int = 200.0,
  lower: float | int = 1e-5,
  decay: float | int = 0.2,
  slope: types.Scalar = 1e-4,
  forced: bool = False,
  weight_path: tuple[float | int, ...] = descent.WEIGHT_PATH,
  batch_size: int | None = None,
) -> types.Attribution:
  """Finds the least mask without which the score of `x` falls.

  Args:
    fn: score of one example, a probability in the paper.
    x: one image; any example of floats with a masker.
    key: consumed; needed unless `sigma` is the number zero.
    resolution: side `s` of the mask, in cells.
    l1: weight of the part removed; `None` takes the preset of
      `descent.WEIGHTS`.
    tv: weight of the mask's variation; `None` takes the preset of
      `descent.WEIGHTS`.
    baseline: image put in the place of what is removed.
    objective: `masks.deletion` or `masks.insertion`.
    masker: the mask is on its players, in the place of cells. For players
      without order, such as columns, `tv` is 0 unless it is given.
    num_steps: descent steps.
    path_steps: points `S` of the integrated gradient.
    sigma: deviation of the noise at each, in the units of `x`; the paper's .2
      is in units normalised by a deviation of about .22.
    place_noise: `descent.noisy_image` or `descent.noisy_composite`.
    upper: largest step, but for the rescue of `descent.descend`.
    lower: smallest step.
    decay: ratio of each trial step to the one before.
    slope: part of the promised decrease that a step must keep.
    forced: whether the smallest step is taken when no step decreases enough.
    weight_path: scales of both weights, tried in turn while there is no map:
      see `descent.descend`.
    batch_size: model calls held in memory at once; `None` holds all.

  Returns:
    Scores `up(1 - M)`, `[H, W, 1]` or as the masker spreads them, and
    `IgosInfo`.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> maps, info = saliency_jax.igos(
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
  players = masks.players(
    igos, x, key, resolution=resolution, baseline=baseline, masker=masker
  )
  l1, tv = descent.weights(players, l1, tv)
  fn, wide = examples.widened(fn, x)

  def score(mask):
    return objective(fn, players.blend, players.spread(mask))

  def price(mask):
    return l1 * masks.sparsity(mask) + tv * masks.total_variation(mask)

  def path_score(mask, part, draw):
    blend = descent.noisy(key, wide, draw, sigma, place_noise, players)
    kept = jax.tree.map(lambda m: part * m, players.spread(mask))
    return objective(fn, blend, kept)

  mask, trace = descent.descend(
    score,
    path_score,
    price,
    masks.first(players, x),
    weight_path=weight_path,
    num_steps=num_steps,
    path_steps=path_steps,
    search=descent.Search(upper, lower, decay, slope, forced),
    batch_size=batch_size,
  )
  info = IgosInfo(
    mask=mask,
    removed=masks.sparsity(mask),
    score=trace.objective[-1] - trace.scale[-1] * price(mask),
    accepted_fraction=jnp.mean(trace.accepted.astype(mask.dtype)),
    descent=trace,
  )
  return examples.attribution(x, players.spread(1 - mask), info)
