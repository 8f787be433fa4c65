"""Maps of photos, the pixels that may move, and how noisy the maps look.

For every photo and method: the map; the photo with its least important pixels
in red; and the signal over the noise of the map's ranks, the variance of what a
Gaussian blur keeps of them over the variance that it takes away.
"""

from collections.abc import Mapping
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np
from scipy import ndimage

from experiments.core import app
from experiments.core import examples
from experiments.core import statistics
from experiments.studies import findings
from experiments.tables import contenders
from saliency_jax import viz
from saliency_jax.metrics import ranking

_RED = np.array([0.85, 0.1, 0.1])


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Explains every photo by every method."""
  del folder  # Minutes; a figure a photo is written at the end.
  model = examples.load_model(config)
  source = examples.load_source(config)
  chosen = contenders.choose(config['methods'], model.spec)
  explain = contenders.of_one_image(chosen, model.apply)
  ratios = {label: [] for label in chosen}
  figures = {}
  predict = jax.jit(lambda p, x: jnp.argmax(model.apply(p, x)))
  for i in app.progress(range(config['num_examples']), what='photos'):
    example = examples.prepare(source, i, model.spec)
    x = jnp.asarray(example.image)
    label = predict(model.params, x)
    key = jax.random.fold_in(jax.random.key(config['seed']), i)
    maps = {}
    for name, scores in explain(model.params, x, label, key).items():
      ranks = np.asarray(ranking.ranks(scores[..., 0], key=key), np.float64)
      ratios[name].append(signal_to_noise(ranks, config['blur']))
      maps[name] = (np.asarray(scores), 1 - ranks / ranks.size)
    if i < config['num_figures']:
      figures[f'{i:02d}_{pathlib.Path(example.name).stem}'] = _figure(
        example.image, maps, chosen, config['quantile']
      )
  rows = []
  for name, values in ratios.items():
    mean = statistics.mean_interval(np.array(values))
    rows.append((name, f'{mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f})'))
  header = ('method', 'signal over noise of the ranks')
  columns = {name: np.array(values) for name, values in ratios.items()}
  return findings.Findings(
    header,
    rows,
    {'signal_to_noise': ratios},
    figures,
    {'signal over noise': columns},
  )


def signal_to_noise(ranks: np.ndarray, blur: float) -> float:
  """Returns the variance of the blurred ranks over the variance of the rest."""
  smooth = ndimage.gaussian_filter(ranks, blur)
  return float(smooth.var() / max((ranks - smooth).var(), 1e-12))


def _figure(image, maps, chosen, quantile):
  fig = figure.Figure(
    figsize=(1.9 * (len(maps) + 1), 4.0), dpi=100, layout='constrained'
  )
  axes = fig.subplots(2, len(maps) + 1)
  axes[0, 0].imshow(image)
  for column, (name, (scores, place)) in zip(
    axes[:, 1:].T, maps.items(), strict=True
  ):
    column[0].imshow(
      viz.paint(chosen[name].entry.drawing, scores, image).squeeze()
    )
    column[0].set_title(name, fontsize=9)
    low = (place < quantile)[..., None]
    column[1].imshow(np.where(low, 0.6 * _RED + 0.4 * image, image))
  for ax in axes.flat:
    ax.set_axis_off()
  return fig
