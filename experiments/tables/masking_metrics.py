"""Metrics of masking: the classifier as pixels go, or come, by rank.

Each is a `metric(case, x, scores, *, key)`, its other settings numbers and
functions that a config can spell: see `settings.py`.
"""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from experiments.tables import cases
from saliency_jax import explainer
from saliency_jax import maskers
from saliency_jax import metrics
from saliency_jax import scores as score_functions
from saliency_jax.core import baselines
from saliency_jax.core import stretching
from saliency_jax.metrics import deletion
from saliency_jax.metrics import information
from saliency_jax.metrics import maps
from saliency_jax.optimization import masks


def igos_protocol(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  resolution: int | None = 28,
  baseline: baselines.Baseline = baselines.gaussian_blur,
  score: explainer.Score = score_functions.prob,
  normalize: bool = False,
  batch_size: int = 32,
) -> cases.Result:
  """Measures deletion and insertion as I-GOS's paper does.

  `None` takes the resolution of the method's own mask, or else the image's.
  The areas are of the class's probability, or of another score where that is 1
  to the last digit; normalised, in units of the whole image's.
  """
  if resolution is None:
    own = getattr(case.method, 'keywords', {})
    resolution = own.get('resolution', min(x.shape[:2]))
  protocol = functools.partial(
    metrics.igos_protocol,
    resolution=resolution,
    baseline=baseline,
  )
  return _deletion_insertion(
    case, x, scores, key, protocol, score, normalize, batch_size
  )


def rise_protocol(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  num_steps: int = 28,
  deleted: baselines.Baseline = baselines.constant,
  start: baselines.Baseline = deletion.rise_blur,
  score: explainer.Score = score_functions.prob,
  normalize: bool = False,
  batch_size: int = 32,
) -> cases.Result:
  """Measures deletion and insertion as RISE's paper does.

  Of which score, and in which units: see `igos_protocol`.
  """
  protocol = functools.partial(
    metrics.rise_protocol,
    num_steps=num_steps,
    deleted=deleted,
    start=start,
  )
  return _deletion_insertion(
    case, x, scores, key, protocol, score, normalize, batch_size
  )


def flipping(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  largest_first: bool = False,
  per_pixel: bool = True,
  baseline: baselines.Baseline = baselines.constant,
  num_points: int = 21,
  batch_size: int = 32,
) -> cases.Result:
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
  curve = cases.Curve(out.fractions, out.flipped)
  return cases.Result({'flipped': area}, {'flipped': curve})


def sensitivity(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  max_fraction: float = 0.4,
  num_points: int = 41,
  baseline: baselines.Baseline = baselines.black,
  resolution: int | None = None,
  batch_size: int = 32,
) -> cases.Result:
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
    'log_odds_ratio': cases.Curve(out.fractions, out.log_odds_ratio),
    'log_prob': cases.Curve(out.fractions, out.log_prob),
    'prob': cases.Curve(out.fractions, out.prob),
  }
  return cases.Result(values, curves)


def road(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  noise: float = 0.01,
  num_steps: int = 20,
  batch_size: int = 32,
) -> cases.Result:
  """Measures ROAD: decisions as pixels are filled in, best and worst first.

  `best_first` and `worst_first` are the shares of points at which the class is
  still decided, and `gap` the mean difference of its probabilities.
  """
  out = metrics.road(
    case.logits_fn,
    x,
    scores,
    key=key,
    label=case.label,
    noise=noise,
    num_steps=num_steps,
    batch_size=batch_size,
  )
  values = {
    'best_first': jnp.mean(out.right_best_first),
    'worst_first': jnp.mean(out.right_worst_first),
    'gap': out.gap,
  }
  curves = {
    'best_first': cases.Curve(out.fractions, out.right_best_first),
    'worst_first': cases.Curve(out.fractions, out.right_worst_first),
  }
  return cases.Result(values, curves)


def information_curves(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  start: float = 0.01,
  entropy: information.Entropy = metrics.residual_entropy,
  num_points: int = 51,
  batch_size: int = 16,
) -> cases.Result:
  """Measures the probability, and the decision, by the information of an image.

  There is no curve where the blurred image is decided as the whole one is, or
  has its probability: the means are over the others.
  """
  out = metrics.information_curves(
    case.logits_fn,
    x,
    scores,
    key=key,
    label=case.label,
    start=start,
    entropy=entropy,
    num_points=num_points,
    batch_size=batch_size,
  )
  curves = {
    'sic': cases.Curve(out.information, out.softmax_curve),
    'aic': cases.Curve(out.information, out.accuracy_curve),
  }
  return cases.Result({'sic': out.sic, 'aic': out.aic}, curves)


def mask_objective(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  l1: float,
  tv: float,
  resolution: int = 28,
) -> cases.Result:
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
  return cases.Result(maps.if_finite(values, scores), {})


def _deletion_insertion(
  case, x, scores, key, protocol, score, normalize, batch_size
):
  out = metrics.deletion_insertion(
    score(case.apply, case.params, case.label),
    x,
    scores,
    key=key,
    protocol=protocol,
    normalize=normalize,
    batch_size=batch_size,
  )
  return cases.Result(
    {'deletion': out.deletion, 'insertion': out.insertion},
    {
      'deletion': cases.Curve(out.fractions, out.deletion_curve),
      'insertion': cases.Curve(out.fractions, out.insertion_curve),
    },
  )
