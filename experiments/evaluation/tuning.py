"""Settings that are chosen before anything is judged: by one rule for all.

A config's `tuning` names values of metrics, and a grid of settings for each
method that is tuned (see `configs.common.tuning`). Every point of every grid is
a method of a run of its own, in the folder `tuning` below the run's, on the
first `tune` examples alone; the best one's settings are the method's in the
run.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import pathlib
from typing import Any, NamedTuple

import numpy as np

from experiments.core import naming
from experiments.core import records
from experiments.evaluation import summaries
from experiments.tables import contenders
from experiments.tables import metrics

FOLDER = 'tuning'


class Choice(NamedTuple):
  """What was chosen for a method.

  Attributes:
    settings: the point of the grid that was best.
    worth: of each point of the grid, the mean over the examples of the values
      by which it was chosen; `None` where some example has none.
  """

  settings: dict[str, Any]
  worth: list[float | None]


def check(config: Mapping[str, Any]) -> None:
  """Refuses a tuning in which a word is wrong, before any work.

  Raises:
    ValueError: no such method, setting or value, or a grid or rule of nothing.
  """
  if 'tuning' not in config:
    return
  tuning = config['tuning']
  for label, grid in tuning['grids'].items():
    naming.check('config.tuning.grids', label, config['methods'])
    if not grid:
      raise ValueError(f'config.tuning.grids.{label} has no settings')
    for settings in grid:
      contenders.check(label, _with(config['methods'][label], settings))
  if not tuning['by']:
    raise ValueError('config.tuning.by is empty, expected values of metrics')
  for name in tuning['by']:
    naming.check('config.tuning.by', name, metrics.columns(config['metrics']))


def run(
  config: dict[str, Any],
  folder: pathlib.Path,
  measure: Callable[..., None],
) -> tuple[dict[str, Any], dict[str, Choice]]:
  """Tunes the methods of a config, where it says so.

  Args:
    config: of the run, checked.
    folder: of the run; what tuning measures is kept below it.
    measure: `(config, folder, missing, append)` adds records, as in
      `records.complete`.

  Returns:
    The config with the chosen settings in its methods, and the choices.
  """
  if not config.get('tuning', {}).get('grids'):
    return config, {}
  trials, below = _trials(config), folder / FOLDER
  records.complete(below, trials, functools.partial(measure, trials, below))
  # Every process reads what all have written, and so chooses the same.
  found = list(records.read(below).values())
  choices = {
    label: _choice(config, found, label, grid)
    for label, grid in config['tuning']['grids'].items()
  }
  chosen = {
    label: _with(config['methods'][label], choice.settings)
    for label, choice in choices.items()
  }
  return {**config, 'methods': {**config['methods'], **chosen}}, choices


def at_the_end(grid: Sequence[Mapping[str, Any]], chosen: Any) -> bool:
  """Tells whether what was chosen is the first or the last of a grid.

  A wider grid might then hold better settings. Settings that are words, and
  grids of fewer than three points, have no ends.
  """
  ends = (dict(grid[0]), dict(grid[-1]))
  words = any(isinstance(value, str) for end in ends for value in end.values())
  return len(grid) > 2 and not words and dict(chosen) in ends


def told(config: Mapping[str, Any], choices: Mapping[str, Any]) -> list[str]:
  """Returns a line a method whose best settings are at an end of its grid.

  Args:
    config: with the grids.
    choices: by the label of a method, the settings that were chosen.
  """
  return [
    f'{label}: its best settings are at an end of their grid, and wider ones '
    'might be better'
    for label, chosen in choices.items()
    if at_the_end(config['tuning']['grids'][label], chosen)
  ]


def _trials(config):
  """Returns the config of the run that measures every point of the grids."""
  by = config['tuning']['by']
  read = {
    label: metric
    for label, metric in config['metrics'].items()
    if any(name.rpartition('.')[0] == label for name in by)
  }
  methods = {
    _point(label, i): _with(config['methods'][label], settings)
    for label, grid in config['tuning']['grids'].items()
    for i, settings in enumerate(grid)
  }
  kept = {k: v for k, v in config.items() if k not in ('tune', 'tuning')}
  return {
    **kept,
    'num_examples': config['tune'],
    'num_maps': 0,
    'methods': methods,
    'metrics': read,
    'claims': (),
  }


def _point(label: str, i: int) -> str:
  return f'{label}, {i}'


def _with(method, settings):
  """Returns a method of a config with settings over its own."""
  return {**method, 'settings': {**method['settings'], **settings}}


def _choice(config, found, label, grid):
  """Returns the point of a grid that has the largest mean.

  Raises:
    ValueError: no point has a value on every example.
  """
  better = metrics.columns(config['metrics'])
  worth = []
  for i in range(len(grid)):
    total = 0.0
    for name in config['tuning']['by']:
      sign = -1 if better[name] == metrics.LOWER else 1
      values = summaries.column(found, _point(label, i), name)
      total += sign * np.mean(values)
    worth.append(float(total))
  if not np.isfinite(worth).any():
    raise ValueError(
      f'config.tuning.grids.{label}: no settings have a value of '
      f'{", ".join(config["tuning"]["by"])} on every example'
    )
  best = int(np.nanargmax(np.where(np.isfinite(worth), worth, np.nan)))
  told = [w if np.isfinite(w) else None for w in worth]
  return Choice(dict(grid[best]), told)
