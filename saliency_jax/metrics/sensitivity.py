"""LEG's sensitivity analysis: the log-odds as the best pixels are blacked out.

For `p(alpha)` the probability of the class after the top `alpha` of `|scores|`
is blacked out, the curve is `log p / (1 - p)`, relative to its value at 0 or
not; the key size is the least `alpha` at which the decision changes.

References:
  Luo, Barut and Jin, Statistically consistent saliency estimation, ICCV 2021.
  https://openaccess.thecvf.com/content/ICCV2021/html/Luo_Statistically_Consistent_Saliency_Estimation_ICCV_2021_paper.html
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax import maskers
from saliency_jax import scores as score_functions
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import types
from saliency_jax.metrics import flipping
from saliency_jax.metrics import maps


class LogOddsCurves(NamedTuple):
  """One image's curves as ever more of it is blacked out."""

  fractions: Float[Array, 'm']  # Realised: whole pixels only.
  log_odds: Float[Array, 'm']  # log p / (1 - p).
  log_odds_ratio: Float[Array, 'm']  # Less the log-odds of the whole image.
  log_prob: Float[Array, 'm']
  prob: Float[Array, 'm']
  flipped: Float[Array, 'm']  # 1 where the decision is another one, else 0.
  key_size: Float[Array, '']  # The first such fraction; infinite if none.


class LogOddsSummary(NamedTuple):
  """Three readings of one curve over images: never to be mixed."""

  mean_log_odds_ratio: Float[Array, 'm']  # The paper's text.
  mean_log_prob: Float[Array, 'm']  # The axis of its Figure 6.
  log_odds_of_mean: Float[Array, 'm']  # Its authors' code.


def log_odds_curves(
  logits_fn: types.LogitsFn,
  x: types.Example,
  scores: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  label: score_functions.Label | None = None,
  fractions: Float[Array, 'm'] | None = None,
  baseline: baselines.Baseline = baselines.black,
  by_size: bool = True,
  largest_first: bool = True,
  masker: maskers.Constructor | None = None,
  batch_size: int | None = None,
) -> LogOddsCurves:
  """Blacks out ever more pixels of `x` and follows one class.

  Curves and key size are NaN where the map is not finite.

  Args:
    logits_fn: logits of one example.
    x: one image; any example with a masker.
    scores: of its features.
    key: consumed; ties are broken at random by it, by place without it.
    label: class; `None` is the decision on `x`.
    fractions: of the pixels, ascending, in [0, 1]; `None` is 0, .01, ..., .4.
    baseline: what masked pixels become.
    by_size: whether `|scores|` rank, as in the paper, or the scores.
    largest_first: or the least important ones, which should change nothing.
    masker: its players are blacked out, in the place of pixels.
    batch_size: calls of `logits_fn` held in memory at once; `None` holds all.
  """
  x = examples.arrays(x)
  if fractions is None:
    fractions = jnp.linspace(0, 0.4, 41, dtype=examples.result_dtype(x))
  if masker is None:
    cells = x.shape[:2]
    masker = functools.partial(maskers.grid, cells=cells, baseline=baseline)
  else:
    checks.no_masker(log_odds_curves, baseline=baseline)
  flips = flipping.decision_flips(
    logits_fn,
    x,
    scores,
    key=key,
    fractions=fractions,
    by_size=by_size,
    largest_first=largest_first,
    masker=masker,
    batch_size=batch_size,
  )
  label = jnp.argmax(flips.whole) if label is None else label
  # Of the probability alone the odds are lost to rounding where it nears one.
  log_odds_fn, log_prob_fn = (
    score(lambda _, z: z, (), label)
    for score in (score_functions.log_odds, score_functions.log_prob)
  )
  log_odds = jax.vmap(log_odds_fn)(flips.logits)
  log_prob = jax.vmap(log_prob_fn)(flips.logits)
  key_size = jnp.min(jnp.where(flips.flipped == 1, flips.fractions, jnp.inf))
  return LogOddsCurves(
    fractions=flips.fractions,
    log_odds=log_odds,
    log_odds_ratio=log_odds - log_odds_fn(flips.whole),
    log_prob=log_prob,
    prob=jnp.exp(log_prob),
    flipped=flips.flipped,
    key_size=maps.if_finite(key_size, scores),
  )


def summarize_log_odds(curves: LogOddsCurves) -> LogOddsSummary:
  """Averages the curves of a batch of images, in the three ways in use.

  Args:
    curves: with a leading axis over images on each field.
  """
  mean = jnp.mean(curves.prob, 0)
  return LogOddsSummary(
    mean_log_odds_ratio=jnp.mean(curves.log_odds_ratio, 0),
    mean_log_prob=jnp.mean(curves.log_prob, 0),
    log_odds_of_mean=jnp.log(mean) - jnp.log1p(-mean),
  )
