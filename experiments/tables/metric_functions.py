"""The metrics that evaluations know: `metric(case, x, scores, *, key)`.

Each takes one example and one map; its other settings are numbers and functions
that a config can spell: see `settings.py`.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax import maskers
from saliency_jax import metrics
from saliency_jax.core import baselines
from saliency_jax.core import stretching
from saliency_jax.core import types
from saliency_jax.metrics import deletion
from saliency_jax.metrics import fidelity
from saliency_jax.metrics import maps
from saliency_jax.optimization import masks


class Case(NamedTuple):
  """A classifier at one example, and who made the map there.

  Attributes:
    logits_fn: logits of an example.
    prob_fn: probability of the explained class.
    label: the explained class.
    method: made the map, its settings bound.
    fn: what the method explains.
  """

  logits_fn: types.LogitsFn
  prob_fn: types.ScoreFn
  label: Array
  method: types.Method
  fn: types.ScoreFn


class Curve(NamedTuple):
  """A metric along the masking of one image."""

  fractions: Float[Array, 'm']
  values: Float[Array, 'm']


class Result(NamedTuple):
  """What a metric says of one map."""

  values: dict[str, Float[Array, '']]
  curves: dict[str, Curve]


def igos_protocol(
  case: Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  resolution: int | None = 28,
  baseline: baselines.Baseline = baselines.gaussian_blur,
  batch_size: int = 32,
) -> Result:
  """Measures deletion and insertion as I-GOS's paper does.

  `None` takes the resolution of the method's own mask, or else the image's.
  """
  if resolution is None:
    own = getattr(case.method, 'keywords', {})
    resolution = own.get('resolution', min(x.shape[:2]))
  protocol = functools.partial(
    metrics.igos_protocol,
    resolution=resolution,
    baseline=baseline,
  )
  return _deletion_insertion(case, x, scores, key, protocol, batch_size)


def rise_protocol(
  case: Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  num_steps: int = 28,
  deleted: baselines.Baseline = baselines.constant,
  start: baselines.Baseline = deletion.rise_blur,
  batch_size: int = 32,
) -> Result:
  """Measures deletion and insertion as RISE's paper does."""
  protocol = functools.partial(
    metrics.rise_protocol,
    num_steps=num_steps,
    deleted=deleted,
    start=start,
  )
  return _deletion_insertion(case, x, scores, key, protocol, batch_size)


def flipping(
  case: Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  largest_first: bool = False,
  per_pixel: bool = True,
  baseline: baselines.Baseline = baselines.constant,
  num_points: int = 21,
  batch_size: int = 32,
) -> Result:
  """Measures whether the decision changes, averaged along the masking."""
  out = metrics.decision_flips(
    case.logits_fn,
    x,
    scores,
    key=key,
    fractions=jnp.linspace(0, 1, num_points, dtype=x.dtype),
    baseline=baseline,
    per_pixel=per_pixel,
    largest_first=largest_first,
    batch_size=batch_size,
  )
  area = deletion.trapezoids(out.fractions, out.flipped)
  curve = Curve(out.fractions, out.flipped)
  return Result({'flipped': area}, {'flipped': curve})


def sensitivity(
  case: Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  max_fraction: float = 0.4,
  num_points: int = 41,
  baseline: baselines.Baseline = baselines.black,
  resolution: int | None = None,
  batch_size: int = 32,
) -> Result:
  """Measures LEG's key size and log-odds, up to a part of the pixels.

  With a resolution, every map is brought to that many cells a side, and these
  are blacked out in the place of pixels.

  A decision that nothing up to there changes has the key size 1, the most that
  there can be. The log-odds ratio and log-probability are means of the curves.
  """
  cells = x.shape[:2] if resolution is None else resolution
  out = metrics.log_odds_curves(
    case.logits_fn,
    x,
    scores,
    key=key,
    label=case.label,
    fractions=jnp.linspace(0, max_fraction, num_points, dtype=x.dtype),
    masker=functools.partial(maskers.grid, cells=cells, baseline=baseline),
    batch_size=batch_size,
  )
  values = {
    'key_size': jnp.minimum(out.key_size, 1),
    'log_odds_ratio': jnp.mean(out.log_odds_ratio),
    'log_prob': jnp.mean(out.log_prob),
  }
  curves = {
    'log_odds_ratio': Curve(out.fractions, out.log_odds_ratio),
    'log_prob': Curve(out.fractions, out.log_prob),
    'prob': Curve(out.fractions, out.prob),
  }
  return Result(values, curves)


def infidelity(
  case: Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  perturbation: fidelity.Perturbation = fidelity.square,
  num_samples: int = 100,
  rescale: bool = True,
  batch_size: int = 32,
) -> Result:
  """Measures how badly slopes predict what perturbations do to the probability.

  All methods are held to the probability, whatever they explain; a map's own
  scale is fitted unless `rescale` is off. Which slopes a map promises is said
  by its units: see `contenders.slopes`.
  """
  out = fidelity.infidelity(
    case.prob_fn,
    x,
    scores,
    key=key,
    perturbation=perturbation,
    num_samples=num_samples,
    rescale=rescale,
    batch_size=batch_size,
  )
  return Result({'infidelity': out.infidelity}, {})


def max_sensitivity(
  case: Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  radius: float = 0.02,
  num_samples: int = 10,
) -> Result:
  """Measures the largest relative change of a map nearby.

  Args:
    case: what made the map.
    x: the example.
    scores: the map at `x`.
    key: consumed; its place `sampling.METHOD` made the map.
    radius: half the side of the box about `x`.
    num_samples: maps made again.
  """
  out = metrics.max_sensitivity(
    case.fn,
    x,
    scores,
    method=case.method,
    key=key,
    radius=radius,
    num_samples=num_samples,
  )
  return Result({'max_sensitivity': out.max_sensitivity}, {})


def mask_objective(
  case: Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  l1: float,
  tv: float,
  resolution: int = 28,
) -> Result:
  """Measures the objective of I-GOS and Mask at the mask `1 - scores`."""
  del key  # Nothing is drawn.
  masker = maskers.grid(
    x,
    cells=resolution,
    stretch=stretching.aligned,
    baseline=baselines.gaussian_blur,
  )
  # The mask whose upsampling is nearest: for a map of I-GOS or Mask, its own.
  mask = 1 - masker.pool(scores)
  score = case.prob_fn(masker.hide(mask))
  price = l1 * masks.sparsity(mask) + tv * masks.total_variation(mask)
  values = {'objective': score + price, 'prob': score}
  return Result(maps.if_finite(values, scores), {})


def _deletion_insertion(case, x, scores, key, protocol, batch_size):
  out = metrics.deletion_insertion(
    case.prob_fn,
    x,
    scores,
    key=key,
    protocol=protocol,
    batch_size=batch_size,
  )
  return Result(
    {'deletion': out.deletion, 'insertion': out.insertion},
    {
      'deletion': Curve(out.fractions, out.deletion_curve),
      'insertion': Curve(out.fractions, out.insertion_curve),
    },
  )
