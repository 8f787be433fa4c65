"""The metrics of maps, in one table, and the programs that apply them.

To add one, write a function like the ones of `masking_metrics.py` and add an
entry to `METRICS`; its settings and their defaults are read from its signature.
"""

from collections.abc import Callable, Mapping
import functools
import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiments.core import naming
from experiments.tables import cases
from experiments.tables import change_metrics
from experiments.tables import contenders
from experiments.tables import entries
from experiments.tables import faith_metrics
from experiments.tables import map_metrics
from experiments.tables import masking_metrics
from experiments.tables import settings
from saliency_jax import explainer
from saliency_jax import scores as score_functions
from saliency_jax.core import baselines
from saliency_jax.core import batching
from saliency_jax.core import types
from saliency_jax.metrics import fidelity
from saliency_jax.metrics import maps

LOWER, HIGHER = 'lower', 'higher'
_ALL_THE_SAME = (
  'the sums of the map, or the falls of the probability, are all the same'
)


# `(contender, scores, xs, settings)` to what a metric takes of these maps.
Reads = Callable[..., Float[Array, 'n H W c']]


def importances(contender, scores, xs, chosen) -> Float[Array, 'n H W 1']:
  """Returns one importance a pixel."""
  del chosen
  return contenders.importance(contender, scores, xs)


def raw(contender, scores, xs, chosen) -> Float[Array, 'n H W C']:
  """Returns the scores as they are."""
  del contender, chosen
  return jnp.broadcast_to(scores, xs.shape)


def slopes(contender, scores, xs, chosen) -> Float[Array, 'n H W C']:
  """Returns the slopes that infidelity asks for.

  Raises:
    ValueError: for a map whose scale is its own, unless it is fitted; and for
      one without units, unless pixels are taken out: of noise it promises
      nothing.
  """
  units, name = contender.entry.units, contender.name
  scaled = units in (entries.Units.SLOPE, entries.Units.DIFFERENCE)
  if not scaled and not chosen['rescale']:
    raise ValueError(
      f'maps of {name} have a scale of their own: expected rescale=True'
    )
  perturbation = chosen['perturbation']
  if units is entries.Units.NONE and perturbation is not fidelity.square:
    raise ValueError(
      f"maps of {name} have no units: expected perturbation='square', got "
      f'{perturbation.__name__!r}'
    )
  return contenders.slopes(contender, scores, xs)


def differences(contender, scores, xs, chosen) -> Float[Array, 'n H W 1']:
  """Returns what a map promises of a pixel that the baseline takes.

  A slope promises itself times the way to the baseline; what has no units is
  taken as it is, since a correlation asks for no scale.
  """
  scores = jax.vmap(maps.per_entry)(scores, xs)
  if contender.entry.units in (
    entries.Units.SLOPE,
    entries.Units.CELL_SLOPE,
  ):
    fill = functools.partial(baselines.evaluate, chosen['baseline'], key=None)
    scores = scores * (xs - jax.vmap(fill)(xs))
  return jnp.sum(scores, -1, keepdims=True)


class Entry(NamedTuple):
  """A metric, and what a launcher has to know of it.

  Attributes:
    metric: `(case, x, scores, *, key)` to a `cases.Result`, and its settings.
    better: for each value, whether a good map's is 'lower' or 'higher'.
    reads: what it takes of a map: importances, the scores, slopes, or
      differences.
    by_method: whether it asks who made the map, and so is a program a method;
      then it gets the key of the map, and not one of its own.
    axis: what its curves run along.
    undefined: where it has no value, in words.
  """

  metric: Callable[..., cases.Result]
  better: Mapping[str, str]
  reads: Reads = importances
  by_method: bool = False
  axis: str = 'part of the pixels, or cells'
  undefined: str = ''


_AREAS = {'deletion': LOWER, 'insertion': HIGHER}

METRICS: dict[str, Entry] = {
  'igos_protocol': Entry(masking_metrics.igos_protocol, _AREAS),
  'igos_protocol_own': Entry(
    functools.partial(masking_metrics.igos_protocol, resolution=None),
    _AREAS,
    by_method=True,
  ),
  'rise_protocol': Entry(masking_metrics.rise_protocol, _AREAS),
  'flipping': Entry(masking_metrics.flipping, {'flipped': LOWER}),
  'flipping_top': Entry(
    functools.partial(masking_metrics.flipping, largest_first=True),
    {'flipped': HIGHER},
  ),
  'sensitivity': Entry(
    masking_metrics.sensitivity,
    {'key_size': LOWER, 'log_odds_ratio': LOWER, 'log_prob': LOWER},
  ),
  'infidelity': Entry(
    faith_metrics.infidelity, {'infidelity': LOWER}, reads=slopes
  ),
  'max_sensitivity': Entry(
    change_metrics.max_sensitivity,
    {'max_sensitivity': LOWER},
    reads=raw,
    by_method=True,
  ),
  'mask_objective': Entry(
    masking_metrics.mask_objective, {'objective': LOWER, 'prob': LOWER}
  ),
  'road': Entry(
    masking_metrics.road,
    {'best_first': LOWER, 'worst_first': HIGHER, 'gap': HIGHER},
  ),
  'information_curves': Entry(
    masking_metrics.information_curves,
    {'sic': HIGHER, 'aic': HIGHER},
    axis='information, of the image less the blurred one',
    undefined=(
      'the blurred image has as much information as the whole one, as blurred '
      'digits have, or as high a score'
    ),
  ),
  'faithfulness_correlation': Entry(
    faith_metrics.faithfulness_correlation,
    {'correlation': HIGHER},
    reads=differences,
    undefined=_ALL_THE_SAME,
  ),
  'sensitivity_n': Entry(
    faith_metrics.sensitivity_n,
    {'mean': HIGHER},
    reads=differences,
    undefined=_ALL_THE_SAME,
  ),
  'mu_fidelity': Entry(
    faith_metrics.mu_fidelity,
    {'correlation': HIGHER},
    reads=differences,
    undefined=_ALL_THE_SAME,
  ),
  'relative_stability': Entry(
    change_metrics.relative_stability,
    {'ris': LOWER, 'ros': LOWER, 'rrs': LOWER},
    reads=raw,
    by_method=True,
    undefined='no neighbour has the decision of the example',
  ),
  'random_logit': Entry(
    change_metrics.random_logit,
    {'ssim': LOWER, 'rank_correlation': LOWER},
    reads=raw,
    by_method=True,
  ),
  'blind': Entry(
    change_metrics.blind,
    {'mass': HIGHER, 'rank': HIGHER},
    reads=raw,
    by_method=True,
  ),
  'complexity': Entry(
    map_metrics.complexity,
    {'gini': HIGHER, 'entropy': LOWER, 'variation': LOWER},
  ),
}


def entry(name: str) -> Entry:
  """Returns an entry of the table.

  Raises:
    ValueError: no such metric.
  """
  return naming.find('metric', name, METRICS)


def columns(chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
  """Returns the values of a config's metrics, 'label.value', and what is good.

  Args:
    chosen: metrics by label, each with its `name`.
  """
  return {
    f'{label}.{value}': better
    for label, metric in chosen.items()
    for value, better in entry(metric['name']).better.items()
  }


def settings_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
  """Returns every setting of a metric: its own defaults, and those given.

  Raises:
    ValueError: no such metric or setting, or one that is missing.
  """
  fn = entry(name).metric
  parameters = settings.parameters(fn)
  given = settings.check(name, fn, given)
  missing = [
    k
    for k, p in parameters.items()
    if p.default is inspect.Parameter.empty and k not in given
  ]
  if missing:
    raise ValueError(f'metric {name!r} has no {missing[0]}, expected one')
  return {k: given.get(k, p.default) for k, p in parameters.items()}


def build(
  name: str,
  settings: Mapping[str, Any],
  apply: types.Apply,
  *,
  method: types.Method | None = None,
  score: explainer.Score = score_functions.prob,
  by_size: bool = False,
  mesh: jax.sharding.Mesh | None = None,
) -> Callable[..., cases.Result]:
  """Returns `run(params, xs, scores, labels, keys)`, compiled.

  Args:
    name: of the metric.
    settings: all of them.
    apply: maps `(params, x)` to the logits of one example.
    method: that made the maps, for metrics that make them again.
    score: what that method explains.
    by_size: whether its maps are read by the size of their scores.
    mesh: devices to spread the batch over.
  """

  def run(params, x, scores, label, key):
    case = cases.Case(apply, params, label, score, method, by_size)
    return METRICS[name].metric(case, x, scores, key=key, **settings)

  return batching.over_batch(run, mesh)
