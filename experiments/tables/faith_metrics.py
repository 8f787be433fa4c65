"""Metrics of faith: does the score fall by what a map promises?

Each is a `metric(case, x, scores, *, key)`, its other settings numbers and
functions that a config can spell: see `settings.py`. All methods are held to
the probability, whatever they explain.
"""

import functools

from jaxtyping import Array, Float, Key

from experiments.tables import cases
from saliency_jax import maskers
from saliency_jax import metrics
from saliency_jax.core import baselines
from saliency_jax.metrics import fidelity


def infidelity(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  perturbation: fidelity.Perturbation = fidelity.square,
  num_samples: int = 100,
  rescale: bool = True,
  batch_size: int = 32,
) -> cases.Result:
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
  return cases.Result({'infidelity': out.infidelity}, {})


def faithfulness_correlation(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  share: float = 0.2,
  baseline: baselines.Baseline = baselines.black,
  num_samples: int = 100,
  batch_size: int = 32,
) -> cases.Result:
  """Measures how sums over pixels go with the fall when these are hidden."""
  out = metrics.faithfulness_correlation(
    case.prob_fn,
    x,
    scores,
    key=key,
    share=share,
    masker=_pixels(x, baseline),
    num_samples=num_samples,
    batch_size=batch_size,
  )
  return cases.Result({'correlation': out.correlation}, {})


def sensitivity_n(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  baseline: baselines.Baseline = baselines.black,
  num_samples: int = 100,
  batch_size: int = 32,
) -> cases.Result:
  """Measures the same for ten numbers of pixels, up to four fifths of them."""
  out = metrics.sensitivity_n(
    case.prob_fn,
    x,
    scores,
    key=key,
    masker=_pixels(x, baseline),
    num_samples=num_samples,
    batch_size=batch_size,
  )
  shares = out.sizes.astype(x.dtype) / (x.shape[0] * x.shape[1])
  curve = cases.Curve(shares, out.correlation)
  return cases.Result({'mean': out.mean}, {'correlation': curve})


def mu_fidelity(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  cells: int = 9,
  hide_prob: float = 0.2,
  baseline: baselines.Baseline = baselines.black,
  num_samples: int = 200,
  batch_size: int = 32,
) -> cases.Result:
  """Measures the same for cells of a grid, by ranks."""
  out = metrics.mu_fidelity(
    case.prob_fn,
    x,
    scores,
    key=key,
    cells=cells,
    hide_prob=hide_prob,
    baseline=baseline,
    num_samples=num_samples,
    batch_size=batch_size,
  )
  return cases.Result({'correlation': out.correlation}, {})


def _pixels(x, baseline):
  cells = x.shape[:2]
  return functools.partial(maskers.grid, cells=cells, baseline=baseline)
