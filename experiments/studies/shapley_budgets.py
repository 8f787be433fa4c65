"""How far Shapley values are from the truth, by the number of calls.

Every estimator, ours and the peers that are installed, gets the same number of
calls of the same games, whose every coalition is known, with the same number of
seeds. At every budget the best of ours stands beside the best of theirs. None
of our estimators takes as few as one call a player beside nobody and everyone:
there ablation stands in for them, what it leaves out shared equally.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from matplotlib import figure
import numpy as np

from experiments.core import app
from experiments.core import records
from experiments.studies import findings
from experiments.studies import shapley_games
from experiments.studies import shapley_peers
from saliency_jax import maskers
from saliency_jax.perturbations import ablation
from saliency_jax.perturbations import gaussian_process
from saliency_jax.perturbations import kernel_shap
from saliency_jax.perturbations import shapley
from saliency_jax.perturbations import stratified


class _Shared(NamedTuple):
  """What ablation says of Shapley values: of its error it knows nothing."""

  values: Float[Array, 'p']
  margin: Float[Array, 'p']


# Squares of errors that are float32's, beside the squares of values.
_ROUNDING = 1e-11


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Measures every estimator on every game at every budget."""
  worths = shapley_games.worths(config['games'], folder)
  truth = {name: shapley_games.shapley(w) for name, w in worths.items()}
  peers = shapley_peers.estimators() if config['peers'] else {}
  points = [(g, b) for g, w in worths.items() for b in budgets(len(w))]
  seeds = range(config['seed'], config['seed'] + config['seeds'])
  with records.appending(folder) as append:
    done = records.read(folder)
    missing = [i for i in range(len(points)) if i not in done]
    for i in app.progress(missing, what='games x budgets'):
      name, budget = points[i]
      found = _measured(worths[name], truth[name], budget, seeds, peers)
      append({'index': i, 'game': name, 'budget': budget, 'found': found})
  rows, errors = [], {}
  for _, record in sorted(records.read(folder).items()):
    name, budget = record['game'], record['budget']
    errors[f'{name}, {budget}'] = record['found']
    size = float(np.mean(truth[name] ** 2))
    rows.append(_row(name, budget, record['found'], size))
  numbers = {'versions': shapley_peers.versions(), 'errors': errors}
  header = ('game', 'calls', 'ours', 'theirs', 'ratio', 'covers')
  columns, games = _columns(records.read(folder).values())
  metric = 'log of the squared error'
  return findings.Findings(
    header,
    rows,
    numbers,
    {'errors': _figure(errors, list(worths))},
    {metric: columns},
    {metric: games},
  )


def _columns(found):
  """Returns the best of ours and of theirs, and the game of each budget."""
  pairs, games = [], []
  for record in found:
    by_whom = [
      [
        one['mse']
        for name, one in record['found'].items()
        if (name in _METHODS) == ours
      ]
      for ours in (True, False)
    ]
    if all(by_whom):
      pairs.append([np.log(max(min(v), _ROUNDING)) for v in by_whom])
      games.append(record['game'])
  ours, theirs = np.array(pairs).reshape(-1, 2).T
  return {'ours': ours, 'theirs': theirs}, games


def _measured(worths, truth, budget, seeds, peers):
  """Returns the error of every estimator at one budget."""
  found = {}
  for method in _METHODS:
    values, margin = _ours(method, worths, budget, seeds)
    if values is not None:
      found[method] = _squares(truth, values)
      if np.isfinite(margin).all():
        covers = np.abs(values - truth[None]) <= margin
        found[method]['covers'] = float(covers.mean())
  for method, estimate in peers.items():
    try:
      values = [estimate(worths, budget, seed) for seed in seeds]
    except (ValueError, np.linalg.LinAlgError, ZeroDivisionError, IndexError):
      continue  # Of a budget that is too small for it.
    found[method] = _squares(truth, np.stack(values))
  return found


def budgets(num_sets: int) -> list[int]:
  """Returns `p + 2` and its doubles up to `2^p`, of all `2^p` coalitions."""
  num, found = num_sets.bit_length() + 1, []
  while num < num_sets:
    found.append(num)
    num *= 2
  return [*found, num_sets]


def _squares(truth, values):
  """Returns the mean square of errors, and its standard error over seeds."""
  squares = np.mean((values - truth[None]) ** 2, 1)
  stderr = squares.std() / np.sqrt(max(len(squares) - 1, 1))
  return {'mse': float(squares.mean()), 'stderr': float(stderr)}


def _ours(method, worths, budget, seeds):
  """Returns values and 95% margins by seed, or none for too few calls."""
  keys = jnp.stack([jax.random.key(seed) for seed in seeds])
  # In units of the game, which float32 sums well.
  middle, scale = worths.mean(), worths.std()
  table = jnp.asarray((worths - middle) / scale, jnp.float32)
  try:
    values, margin = _program(method, len(worths), budget)(table, keys)
  except ValueError:
    return None, None
  return np.asarray(values, float) * scale, np.asarray(margin, float) * scale


@functools.cache
def _program(method, num_sets, budget):
  """Returns one program for all games of so many players."""
  p = num_sets.bit_length() - 1
  bits = 2 ** jnp.arange(p)

  def one(table, key):
    fn = lambda x: table[jnp.sum((x > 0.5).astype(jnp.int32) * bits)]
    explain = functools.partial(
      _METHODS[method](p, budget - 2), masker=maskers.entries, batch_size=None
    )
    info = explain(fn, jnp.ones(p), key=key).info
    return info.values, info.margin

  return jax.jit(
    lambda table, keys: jax.lax.map(lambda key: one(table, key), keys)
  )


def _ablation(num_players, num_samples):
  if num_samples != num_players:
    raise ValueError('ablation takes one call a player')

  def explain(fn, x, **settings):
    found = ablation.ablation(fn, x, **settings)
    info = found.info
    missing = info.score - info.baseline_score - jnp.sum(info.values)
    values = info.values + missing / num_players
    return found._replace(info=_Shared(values, jnp.full_like(values, jnp.inf)))

  return explain


def _kernel_shap(num_players, num_samples):
  del num_players
  # What judges the fit are no calls of the estimate.
  return functools.partial(
    kernel_shap.kernel_shap, num_samples=num_samples, num_fresh=1
  )


def _gaussian_process(num_players, num_samples):
  del num_players
  estimator = functools.partial(
    gaussian_process.gaussian_process,
    num_samples=min(num_samples, gaussian_process.MOST_SAMPLES),
  )
  return functools.partial(shapley.shapley, estimator=estimator)


def _permutation(num_players, num_samples):
  estimator = functools.partial(
    shapley.permutation, num_pairs=num_samples // (2 * num_players - 2)
  )
  return functools.partial(shapley.shapley, estimator=estimator)


def _stratified(num_players, num_samples):
  an_order = stratified.calls_an_order(num_players)
  estimator = functools.partial(
    stratified.stratified,
    num_orders=(num_samples - 2 * num_players) // an_order,
  )
  return functools.partial(shapley.shapley, estimator=estimator)


_METHODS = {
  'ablation': _ablation,
  'gaussian_process': _gaussian_process,
  'kernel_shap': _kernel_shap,
  'permutation': _permutation,
  'stratified': _stratified,
}


def _row(name, budget, found, size):
  """Returns the best of ours and of theirs, and the ratio of their errors."""
  shown = [name, f'{budget}']
  best = {}
  for whose, names in (
    ('ours', [n for n in found if n in _METHODS]),
    ('theirs', [n for n in found if n not in _METHODS]),
  ):
    chosen = min(names, key=lambda n: found[n]['mse'], default=None)
    best[whose] = chosen
    one = found.get(chosen)
    shown.append(
      '-' if one is None else f'{chosen} {one["mse"]:.2g} ({one["stderr"]:.1g})'
    )
  ours, theirs = (found.get(best[k]) for k in ('ours', 'theirs'))
  known = ours is not None and 'covers' in ours
  ratio, covers = '-', f'{ours["covers"]:.2f}' if known else '-'
  if ours and ours['mse'] < _ROUNDING * size:
    ratio, covers = 'exact', '-'
  elif ours and theirs:
    ratio = f'{ours["mse"] / theirs["mse"]:.2f}'
  return (*shown, ratio, covers)


def _figure(errors, names):
  """Draws errors against calls, a panel a game, but for its whole table."""
  fig = figure.Figure(figsize=(9, 5.5), layout='constrained')
  panels = fig.subplots(-(-len(names) // 3), 3, squeeze=False).ravel()
  for ax, name in zip(panels, names, strict=False):
    points = {
      int(point.rsplit(', ', 1)[1]): found
      for point, found in errors.items()
      if point.rsplit(', ', 1)[0] == name
    }
    lines = {}
    for budget in sorted(points)[:-1]:
      for method, one in points[budget].items():
        lines.setdefault(method, []).append((budget, one['mse']))
    for method, line in lines.items():
      style = {} if method in _METHODS else {'color': '0.75', 'zorder': 0}
      label = method if method in _METHODS else None
      ax.plot(*zip(*line, strict=True), marker='.', label=label, **style)
    ax.set(xscale='log', yscale='log', title=name, xlabel='calls')
    ours = [e for m, line in lines.items() if m in _METHODS for _, e in line]
    if ours:  # Of some peers few calls make numbers without end.
      ax.set_ylim(min(ours) / 3, 30 * max(ours))
  panels[0].set_ylabel('mean squared error')
  panels[0].plot([], [], color='0.75', label='shap, shapiq')
  panels[0].legend(frameon=False, fontsize='x-small')
  for ax in panels[len(names) :]:
    ax.axis('off')
  return fig
