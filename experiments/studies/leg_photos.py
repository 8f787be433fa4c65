"""How far a LEG map of a photo can be trusted, by its settings.

Of every photo and variant: the correlation of the maps of two halves of the
draws; the share of the variance of the score on fresh draws that LEG, and
LEG-TV, predict; the gap of the linear program; what the noise leaves of the
score. A record a photo and variant, so that a killed study goes on.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from experiments.core import app
from experiments.core import examples
from experiments.core import files
from experiments.core import records
from experiments.core import statistics
from experiments.studies import findings
from experiments.tables import settings
from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax import viz
from saliency_jax.optimization import leg_tv
from saliency_jax.perturbations import covariances
from saliency_jax.perturbations import leg
from saliency_jax.solvers import grid

_SCORES = {'prob': scores.prob, 'margin': scores.margin}


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Measures every variant on every photo, and draws the maps."""
  names, num = list(config['variants']), config['num_examples']
  (folder / 'maps').mkdir(exist_ok=True)
  with records.appending(folder) as append:
    done = records.read(folder)
    missing = [i for i in range(len(names) * num) if i not in done]
    model = examples.load_model(config) if missing else None
    source = examples.load_source(config) if missing else None
    for index in app.progress(missing, what='photos x variants'):
      photo, variant = index // len(names), names[index % len(names)]
      example = examples.prepare(source, photo, model.spec)
      record, maps = _measure(
        model, example.image, config, variant, config['seed'] + photo
      )
      files.write_npz(folder / 'maps' / f'{variant}-{photo:02d}.npz', maps)
      append(
        {
          'index': index,
          'variant': variant,
          'photo': photo,
          'name': example.name,
          **record,
        }
      )
  # Of the score without noise, what is left of it with.
  found = [
    {**r, 'kept_share': r['kept'] / r['score']}
    for r in records.read(folder).values()
  ]
  rows, numbers = [], {}
  for variant in names:
    mine = [r for r in found if r['variant'] == variant]
    numbers[variant] = {k: [r[k] for r in mine] for k in _FIELDS}
    numbers[variant]['photos'] = [r['name'] for r in mine]
    values = (_TOLD[k]([r[k] for r in mine]) for k in _FIELDS)
    good = sum(r['split_half'] > 0.6 for r in mine)
    solved = sum(r['converged'] for r in mine)
    counts = (f'{n:.0f} of {len(mine)}' for n in (good, solved))
    rows.append((variant, *values, *counts))
  header = ('variant', *_FIELDS, 'halves > .6', 'LEG-TV solved')
  drawn = {v: _draw(folder, v, num) for v in config['drawn']}
  halves = {name: np.array(numbers[name]['split_half']) for name in names}
  return findings.Findings(
    header, rows, numbers, drawn, {'correlation of halves': halves}
  )


@functools.cache
def _programs(apply, score, chosen, num_fresh):
  """Returns the compiled LEG-TV, and LEG of fresh draws, of one variant."""
  bound = dict(chosen)
  method = functools.partial(leg_tv.leg_tv, **bound)
  for name in ('radius', 'level', 'num_steps'):
    bound.pop(name, None)
  bound |= {
    'num_samples': num_fresh,
    'draw': leg.gaussian,
    'antithetic': True,
  }
  fresh = functools.partial(leg.leg, **bound)
  return (
    explainer.build(method, apply, _SCORES[score]),
    explainer.build(fresh, apply, _SCORES[score]),
  )


def _measure(model, image, config, variant, seed):
  """Returns the record and the maps of one photo."""
  chosen = dict(config['variants'][variant])
  score = chosen.pop('score', 'prob')
  chosen = settings.check('leg_tv', leg_tv.leg_tv, chosen)
  programs = _programs(
    model.apply, score, tuple(sorted(chosen.items())), config['num_fresh']
  )
  keys = jax.random.split(jax.random.key(seed), 2)[:, None]
  x = jnp.asarray(image)[None]
  out, fresh = (
    program(model.params, x, keys=key)
    for program, key in zip(programs, keys, strict=True)
  )
  out, fresh = jax.tree.map(lambda a: np.asarray(a[0]), (out, fresh))
  info = out.info.leg
  spectrum = covariances.scaled(
    chosen.get('covariance', leg.white),
    grid.exact_eigenvalues(*info.grid.shape[:2]),
    chosen.get('sigma', 0.05),
    jnp.float32,
  )
  explained = lambda g: _explained(g, fresh.info, spectrum)
  record = {
    'split_half': info.split_half,
    'explained_leg': explained(info.grid),
    'explained_tv': explained(out.info.grid),
    'gap': np.max(out.info.solver.relative_gap),
    'steps': np.max(out.info.solver.steps),
    'converged': np.all(out.info.solver.converged),
    'flat': np.mean(out.info.flat),
    'score': info.score,
    'kept': info.mean_score,
    'score_std': info.score_std,
    'clipped': info.clipped,
    'variance_reduction': info.variance_reduction,
    'num_calls': info.num_calls,
  }
  maps = {'image': image, 'leg': info.grid, 'leg_tv': out.info.grid}
  return {k: float(v) for k, v in record.items()}, maps


def _explained(g, fresh, spectrum):
  """Returns `1 - E(d - <g, z>)^2 / E(d - mean d)^2` over the fresh draws."""
  root = jnp.sqrt(spectrum)[:, :, None]
  waves = jax.vmap(grid.dct, in_axes=-1, out_axes=-1)(jnp.asarray(g))
  size = np.sum(np.square(np.asarray(root * waves), dtype=np.float64))
  gain = 2 * np.sum(np.asarray(g, np.float64) * fresh.moment) - size
  return gain / max(float(fresh.score_std) ** 2, np.finfo(float).tiny)


def _range(values):
  """Returns the median, and the range, in words."""
  return f'{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})'


def _interval(values):
  """Returns the mean, and its interval, in words."""
  mean = statistics.mean_interval(np.array(values))
  return f'{mean.mean:.2g} ({mean.low:.2g} to {mean.high:.2g})'


_TOLD = {
  'split_half': _range,
  'explained_leg': _interval,
  'explained_tv': _interval,
  'kept_share': _range,
  'clipped': _range,
}
_FIELDS = tuple(_TOLD)


def _draw(folder, variant, num):
  """Draws each photo with its LEG and its LEG-TV map."""
  fig = figure.Figure(figsize=(1.7 * num, 5.2), layout='constrained', dpi=110)
  axes = fig.subplots(3, num, squeeze=False)
  for i in range(num):
    with np.load(folder / 'maps' / f'{variant}-{i:02d}.npz') as found:
      axes[0, i].imshow(found['image'])
      for ax, name in zip(axes[1:, i], ('leg', 'leg_tv'), strict=True):
        scores = np.sum(found[name], -1, keepdims=True)
        ax.imshow(viz.paint(viz.SIGNED, scores))
        if i == 0:
          ax.set_ylabel(name)
  for ax in axes.ravel():
    ax.set_xticks([])
    ax.set_yticks([])
  fig.suptitle(variant)
  return fig
