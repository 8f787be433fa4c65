"""What the configs have in common.

A config has its `launcher`, and `claims`: what its paper says, and the
comparisons that decide it (see `claim`). `verdicts.py` turns these and what was
measured into verdicts, in one way for all launchers.

An evaluation has `model` (a name that `models.load` knows; or 'lenet',
'softplus_net' or 'vit_digits', trained as `fit` says on the training part of
the data), `data` (a name that `data.load` knows, or a folder), `num_examples`,
`seed`, and `methods` and `metrics` by label, each with the `name` of a row of
the launchers' tables and `settings` of it (see `use`). The first
`tune` of its examples chose a setting, or their numbers were seen before the
rule, and judge nothing; `tuning` says how the launcher chooses by them. Where
examples depend on one another, `cluster` in a row count as one. Configs of
`certify` and `attack` have the same fields but `metrics`: theirs is the overlap
of two maps.

Only `about`, `num_examples`, `batch_size` (examples at once on each device),
`num_maps` (examples whose maps are kept for the report) and the claims may
change between the runs in one folder.

What a config says was "Seen" is of earlier runs, whose verdicts took ten
examples and were not corrected for their number: numbers, but no verdicts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from experiments.core import claims as claiming
from experiments.core import fits
from experiments.core import naming

FIXED, SEEN = claiming.FIXED, claiming.SEEN

# Networks that are trained in a minute, on digits other than those explained.
LENET, ONE_HIDDEN, SOFTPLUS_NET, TWO_HIDDEN, VIT = (
  {'model': name, 'data': fits.DATA, 'fit': fits.SETTINGS[name]}
  for name in (
    'lenet',
    'one_hidden',
    'softplus_net',
    'two_hidden',
    'vit_digits',
  )
)


def use(
  name: str, *, explains: str | None = None, **settings: Any
) -> dict[str, Any]:
  """Returns a method or a metric of the launchers' tables, with settings.

  Args:
    name: of the row.
    explains: a score, such as 'log_odds', that a method of an evaluation is to
      explain in the place of its own.
    **settings: of the method or metric.
  """
  found = {'name': name, 'settings': settings}
  return found if explains is None else {**found, 'explains': explains}


def tuning(
  by: Sequence[str], grids: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
  """Returns how the methods of an evaluation are tuned: by one rule for all.

  Of the settings of its grid a method takes those whose mean over the first
  `tune` examples is the best.

  Args:
    by: values of metrics, 'igos_protocol.deletion'; of several, their sum, less
      those that a good map has low.
    grids: by the label of a method, settings to choose among, which go over
      those that it has.
  """
  return {
    'by': tuple(by),
    'grids': {label: tuple(grid) for label, grid in grids.items()},
  }


def claim(
  words: str,
  paper: str,
  where: str,
  *decides: tuple[Any, ...],
  rule: str = FIXED,
) -> dict[str, Any]:
  """Returns a claim of a config: see `core/claims.py`.

  Args:
    words: what is claimed, in about eight words.
    paper: a key of `claims.PAPERS`.
    where: its figure, table or section.
    *decides: comparisons `(metric, a, b, direction)`, some with a margin, all
      of which it takes.
    rule: `FIXED`, or `SEEN` where the numbers were known before the rule.
  """
  return {
    'claim': words,
    'paper': paper,
    'where': where,
    'rule': rule,
    'decides': tuple(decides),
  }


def choose(which: str, choices: Mapping[str, Any]) -> Any:
  """Returns what a config's argument, the word after its colon, stands for.

  Raises:
    ValueError: no such word.
  """
  return naming.find('the word after the colon', which, choices)


def evaluation(
  *,
  about: str,
  methods: Mapping[str, dict[str, Any]],
  metrics: Mapping[str, dict[str, Any]],
  claims: Sequence[dict[str, Any]] = (),
  model: str = 'efficientnet_lite0',
  data: str = 'photos',
  num_examples: int = 20,
  seed: int = 0,
  batch_size: int = 1,
  num_maps: int = 20,
  fit: Mapping[str, Any] | None = None,
  tune: int = 0,
  tuning: Mapping[str, Any] | None = None,
  cluster: int = 1,
) -> ml_collections.ConfigDict:
  """Returns a config of `evaluate`: see the top of this file."""
  config = {
    'launcher': 'evaluate',
    'about': about,
    'claims': tuple(claims),
    'model': model,
    'data': data,
    'num_examples': num_examples,
    'seed': seed,
    'batch_size': batch_size,
    'num_maps': num_maps,
    'methods': methods,
    'metrics': metrics,
    'tune': tune,
    'cluster': cluster,
  }
  return _given(config, fit=fit, tuning=tuning)


def _given(config, **more):
  """Returns a config with more fields, those that are given."""
  return _ordered(config | {k: v for k, v in more.items() if v is not None})


def _ordered(values: Mapping[str, Any]) -> ml_collections.ConfigDict:
  """Returns a ConfigDict whose fields stay in the order given."""
  found = ml_collections.ConfigDict(sort_keys=False)
  for key, value in values.items():
    found[key] = _ordered(value) if isinstance(value, Mapping) else value
  return found


def study(
  name: str,
  *,
  about: str,
  claims: Sequence[dict[str, Any]] = (),
  seed: int = 0,
  **settings: Any,
) -> ml_collections.ConfigDict:
  """Returns the config of a module of `experiments/studies/`."""
  shared = {'launcher': 'study', 'about': about, 'claims': tuple(claims)}
  return _ordered({'study': name, **shared, 'seed': seed, **settings})


def certification(
  *,
  about: str,
  methods: Mapping[str, Mapping[str, Any]],
  model: str,
  data: str,
  num_examples: int,
  batch_size: int,
  k: Sequence[float] = (0.2, 0.1, 0.05),
  rho: Sequence[float] = (0.01, 0.03, 0.1, 0.3),
  confidence: float = 0.95,
  share: float = 0.6,
  seed: int = 0,
  fit: Mapping[str, Any] | None = None,
  claims: Sequence[dict[str, Any]] = (),
  tune: int = 0,
) -> ml_collections.ConfigDict:
  """Returns a config of `certify`.

  Args:
    about: the config's docstring.
    methods: by label: the use of a smoothed map, and its `bounds`.
    model: as in evaluations; so are `data`, `num_examples`, `batch_size`,
      `seed` and `fit`.
    data: see `model`.
    num_examples: see `model`.
    batch_size: see `model`.
    k: shares of the entries that are in the top; the first is drawn.
    rho: radii, in units of the example.
    confidence: with which all certificates of a map hold.
    share: of the examples for which the summary says what all have at least.
    seed: see `model`.
    fit: see `model`.
    claims: on the metrics 'overlap at .03' and so on, a radius each, of maps
      and bounds, 'relaxed, hoeffding', for the first of `k`.
    tune: see the top of this file.
  """
  config = {
    'launcher': 'certify',
    'about': about,
    'claims': tuple(claims),
    'model': model,
    'data': data,
    'num_examples': num_examples,
    'batch_size': batch_size,
    'seed': seed,
    'methods': methods,
    'k': tuple(k),
    'rho': tuple(rho),
    'tune': tune,
    'confidence': confidence,
    'share': share,
  }
  return _given(config, fit=fit)


def attack(
  *,
  about: str,
  methods: Mapping[str, Mapping[str, Any]],
  claims: Sequence[dict[str, Any]] = (),
  model: str,
  data: str,
  num_examples: int,
  batch_size: int,
  rho: Sequence[float],
  k: float = 0.25,
  ball: str = 'l2',
  objective: str = 'top_k_share',
  sharpness: float | None = None,
  seed: int = 0,
  fit: Mapping[str, Any] | None = None,
) -> ml_collections.ConfigDict:
  """Returns a config of `attack`.

  Args:
    about: the config's docstring.
    methods: by label: the use of a map, and as its `attack` the use of one; of
      a map without slopes also as `relaxed` the use of the map whose slopes are
      taken in its place.
    claims: on the metrics 'overlap at 3.08' and so on, one for each radius.
    model: as in evaluations; so are `data`, `num_examples`, `batch_size`,
      `seed` and `fit`.
    data: see `model`.
    num_examples: see `model`.
    batch_size: see `model`.
    rho: radii of the ball, in units of the example.
    k: share of the entries that are in the top.
    ball: 'l2' or 'linf'.
    objective: what the attacks make small.
    sharpness: of the softplus that stands for the network's ReLUs where it is
      differentiated, of networks with published weights; `None` for none.
    seed: see `model`.
    fit: see `model`.
  """
  config = {
    'launcher': 'attack',
    'about': about,
    'claims': tuple(claims),
    'model': model,
    'data': data,
    'num_examples': num_examples,
    'batch_size': batch_size,
    'seed': seed,
    'methods': methods,
    'rho': tuple(rho),
    'k': k,
    'ball': ball,
    'objective': objective,
    'sharpness': sharpness,
  }
  return _given(config, fit=fit)
