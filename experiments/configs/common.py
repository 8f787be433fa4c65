"""What the configs of evaluations have in common.

A config has `model` (a name that `models.load` knows; or 'lenet',
'softplus_net' or 'vit_digits', trained as `fit` says on the training part of
the data), `data`
(a name that `data.load` knows, or a folder), `num_examples`, `seed`, `methods`
and `metrics` by label, each with the `name` of a row of the launchers' tables
and `settings` of it (see `use`), and `comparisons`. Configs of `certify` and
`attack` have the same fields but `metrics`: theirs is the overlap of two maps.
Only `about`, `num_examples`, `batch_size` (examples at once on each device) and
`num_maps` (examples whose maps are kept for the report) may change between the
runs in one folder.

The rule of every comparison `(metric, a, b, claim)`: take the difference a - b
of the metric on the same images, and the 95% bootstrap interval of its mean.
`below` and `above` are reproduced if the whole interval is below or above zero,
and refuted if it is on the other side; `not_below` and `not_above` likewise,
zero itself being on the side of the claim; all else is undecided, and so is
what fewer than 10 images say. With `holm` the comparisons of a config are one
family: what has a p-value above .05, corrected by Holm's procedure, is
undecided too. With `fewest` it takes more images than 10.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from experiments.core import fits
from experiments.core import naming

# Networks that are trained in a minute, on digits other than those explained.
LENET, SOFTPLUS_NET, VIT = (
  {'model': name, 'data': fits.DATA, 'fit': fits.SETTINGS[name]}
  for name in ('lenet', 'softplus_net', 'vit_digits')
)


def use(name: str, **settings: Any) -> dict[str, Any]:
  """Returns a method or a metric of the launchers' tables, with settings."""
  return {'name': name, 'settings': settings}


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
  comparisons: Sequence[tuple[str, str, str, str]] = (),
  model: str = 'efficientnet_lite0',
  data: str = 'photos',
  num_examples: int = 20,
  seed: int = 0,
  batch_size: int = 1,
  num_maps: int = 20,
  fit: Mapping[str, Any] | None = None,
  holm: bool = False,
  fewest: int | None = None,
) -> ml_collections.ConfigDict:
  """Returns a config: see the top of this file."""
  config = {
    'about': about,
    'model': model,
    'data': data,
    'num_examples': num_examples,
    'seed': seed,
    'batch_size': batch_size,
    'num_maps': num_maps,
    'methods': _ordered(methods),
    'metrics': _ordered(metrics),
    'comparisons': tuple(comparisons),
  }
  if fit is not None:
    config['fit'] = _ordered(fit)
  if holm:
    config['holm'] = True
  if fewest is not None:
    config['fewest'] = fewest
  return _ordered(config)


def _ordered(values: Mapping[str, Any]) -> ml_collections.ConfigDict:
  """Returns a ConfigDict whose fields stay in the order given."""
  found = ml_collections.ConfigDict(sort_keys=False)
  for key, value in values.items():
    found[key] = _ordered(value) if isinstance(value, Mapping) else value
  return found


def study(
  name: str, *, about: str, seed: int = 0, **settings: Any
) -> ml_collections.ConfigDict:
  """Returns the config of a module of `experiments/studies/`."""
  return _ordered({'study': name, 'about': about, 'seed': seed, **settings})


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
  """
  config = {
    'about': about,
    'model': model,
    'data': data,
    'num_examples': num_examples,
    'batch_size': batch_size,
    'seed': seed,
    'methods': methods,
    'k': tuple(k),
    'rho': tuple(rho),
    'confidence': confidence,
    'share': share,
  }
  return _ordered(config if fit is None else {**config, 'fit': fit})


def attack(
  *,
  about: str,
  methods: Mapping[str, Mapping[str, Any]],
  comparisons: Sequence[tuple[str, str, str, str]] = (),
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
    methods: by label: the use of a map, and as its `attack` the use of one.
    comparisons: of the metric 'overlap', at every radius, by the rule at the
      top of this file.
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
    'about': about,
    'model': model,
    'data': data,
    'num_examples': num_examples,
    'batch_size': batch_size,
    'seed': seed,
    'methods': methods,
    'comparisons': tuple(comparisons),
    'rho': tuple(rho),
    'k': k,
    'ball': ball,
    'objective': objective,
    'sharpness': sharpness,
  }
  return _ordered(config if fit is None else {**config, 'fit': fit})
