"""The metrics of maps, in one table, and the programs that apply them.

To add one, write a function like the ones of `metric_functions.py` and add an
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
from experiments.tables import contenders
from experiments.tables import entries
from experiments.tables import metric_functions
from experiments.tables import settings
from saliency_jax import explainer
from saliency_jax import scores as score_functions
from saliency_jax.core import batching
from saliency_jax.core import types
from saliency_jax.metrics import fidelity

LOWER, HIGHER = 'lower', 'higher'


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


class Entry(NamedTuple):
  """A metric, and what a launcher has to know of it.

  Attributes:
    metric: one of `metric_functions.py`, or like them.
    better: for each value, whether a good map's is 'lower' or 'higher'.
    reads: what it takes of a map: importances, the scores, or slopes.
    by_method: whether it asks who made the map, and so is a program a method;
      then it gets the key of the map, and not one of its own.
  """

  metric: Callable[..., metric_functions.Result]
  better: Mapping[str, str]
  reads: Reads = importances
  by_method: bool = False


_AREAS = {'deletion': LOWER, 'insertion': HIGHER}

METRICS: dict[str, Entry] = {
  'igos_protocol': Entry(metric_functions.igos_protocol, _AREAS),
  'igos_protocol_own': Entry(
    functools.partial(metric_functions.igos_protocol, resolution=None),
    _AREAS,
    by_method=True,
  ),
  'rise_protocol': Entry(metric_functions.rise_protocol, _AREAS),
  'flipping': Entry(metric_functions.flipping, {'flipped': LOWER}),
  'flipping_top': Entry(
    functools.partial(metric_functions.flipping, largest_first=True),
    {'flipped': HIGHER},
  ),
  'sensitivity': Entry(
    metric_functions.sensitivity,
    {'key_size': LOWER, 'log_odds_ratio': LOWER, 'log_prob': LOWER},
  ),
  'infidelity': Entry(
    metric_functions.infidelity, {'infidelity': LOWER}, reads=slopes
  ),
  'max_sensitivity': Entry(
    metric_functions.max_sensitivity,
    {'max_sensitivity': LOWER},
    reads=raw,
    by_method=True,
  ),
  'mask_objective': Entry(
    metric_functions.mask_objective, {'objective': LOWER, 'prob': LOWER}
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
  mesh: jax.sharding.Mesh | None = None,
) -> Callable[..., metric_functions.Result]:
  """Returns `run(params, xs, scores, labels, keys)`, compiled.

  Args:
    name: of the metric.
    settings: all of them.
    apply: maps `(params, x)` to the logits of one example.
    method: that made the maps, for metrics that make them again.
    score: what that method explains.
    mesh: devices to spread the batch over.
  """

  def run(params, x, scores, label, key):
    case = metric_functions.Case(
      logits_fn=functools.partial(apply, params),
      prob_fn=score_functions.prob(apply, params, label),
      label=label,
      method=method,
      fn=score(apply, params, label),
    )
    return METRICS[name].metric(case, x, scores, key=key, **settings)

  return batching.over_batch(run, mesh)
