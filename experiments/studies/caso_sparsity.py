"""Maps at more and more sparsity: CAFO, CASO, and the gradient cut as much.

For photos at full contrast, where the prediction is sure, and at a contrast
where it is not. What each map is worth is by how much the loss rises, and by
how much the quadratic model says, at a step of one length along it; and how
much of its support it shares with the cut gradient.
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
from experiments.core import statistics
from experiments.studies import findings
import saliency_jax
from saliency_jax import scores
from saliency_jax import transforms
from saliency_jax import viz
from saliency_jax.core import curvature

_METHODS = ('cut gradient', 'cafo', 'caso')


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Makes the maps of every example at every sparsity and contrast."""
  del folder  # It is a matter of minutes.
  model = examples.load_model(config)
  source = examples.load_source(config)
  # One program: the sparsity is an argument.
  look = jax.jit(functools.partial(_look, model.apply, config['length']))
  found, figures = [], {}
  names = model.spec.class_names
  for i in app.progress(range(config['num_examples']), what='examples'):
    example = examples.prepare(source, i, model.spec)
    for contrast in config['contrasts']:
      x = jnp.asarray(0.5 + contrast * (example.image - 0.5))
      key = jax.random.fold_in(jax.random.key(config['seed']), i)
      shown = {}
      for sparsity in config['sparsities']:
        maps, numbers = jax.tree.map(
          np.asarray, look(model.params, x, key, sparsity)
        )
        found.append(
          {
            'name': example.name,
            'contrast': contrast,
            'sparsity': sparsity,
            **numbers,
          }
        )
        shown[sparsity] = maps
      if i < config['num_figures']:
        title = f'{names[int(numbers["label"])]} ({numbers["prob"]:.2f})'
        figures[f'{i:02d}_{contrast}'] = _figure(title, np.asarray(x), shown)
  return _findings(found, config, figures)


def _look(apply, length, params, x, key, sparsity):
  """Returns the three maps, and what is known of them."""
  logits = apply(params, x)
  label = jnp.argmax(logits)
  fn = scores.loss(apply, params, label)
  maps = {
    'cut gradient': transforms.sparsify(
      saliency_jax.gradient, sparsity=sparsity
    )(fn, x),
    'cafo': saliency_jax.cafo(fn, x, sparsity=sparsity),
    'caso': saliency_jax.caso(fn, x, key=key, sparsity=sparsity),
  }
  gradient, product = curvature.hvp_fn(fn, x)
  dot = functools.partial(jnp.vdot, precision=jax.lax.Precision.HIGHEST)
  support = maps['cut gradient'].scores != 0
  numbers = {
    'label': label,
    'prob': jax.nn.softmax(logits)[label],
    'gain': {},
    'model_gain': {},
    'zeros': {},
    'support': {},
  }
  for name, out in maps.items():
    d = length * out.scores / jnp.sqrt(dot(out.scores, out.scores))
    kept = out.scores != 0
    both = jnp.sum(kept & support) / jnp.sum(kept | support)
    numbers['gain'][name] = fn(x + d) - fn(x)
    numbers['model_gain'][name] = dot(gradient, d) + dot(d, product(d)) / 2
    numbers['zeros'][name] = 1 - jnp.mean(kept.astype(x.dtype))
    numbers['support'][name] = both
  return {name: out.scores for name, out in maps.items()}, numbers


def _findings(found, config, figures):
  def mean(rows, *names):
    values = []
    for row in rows:
      for name in names:
        row = row[name]
      values.append(float(row))
    return statistics.mean_interval(np.array(values))

  rows = []
  for contrast in config['contrasts']:
    for sparsity in config['sparsities']:
      mine = [
        r
        for r in found
        if (r['contrast'], r['sparsity']) == (contrast, sparsity)
      ]
      more = statistics.mean_interval(
        np.array([float(r['gain']['caso'] - r['gain']['cafo']) for r in mine])
      )
      rows.append(
        (
          f'contrast {contrast}, sparsity {sparsity}',
          f'{np.mean([r["prob"] for r in mine]):.2f}',
          *(f'{mean(mine, "gain", name).mean:.3f}' for name in _METHODS),
          f'{more.mean:.3f} ({more.low:.3f} to {more.high:.3f})',
          f'{mean(mine, "support", "caso").mean:.3f}',
        )
      )
  header = (
    'at',
    'p',
    *(f'rise of the loss, {name}' for name in _METHODS),
    'caso - cafo',
    "caso's support, of the cut gradient's",
  )
  return findings.Findings(
    header, rows, {'maps': found}, figures, _columns(found, config)
  )


def _columns(found, config):
  """Returns the rise of the loss by method at .97 zeros, a photo a place."""
  names = ('rise at .97 zeros', 'rise at .97 zeros, low contrast')
  return {
    name: {
      method: np.array(
        [
          float(r['gain'][method])
          for r in found
          if (r['contrast'], r['sparsity']) == (contrast, 0.97)
        ]
      )
      for method in _METHODS
    }
    for name, contrast in zip(names, config['contrasts'], strict=True)
  }


def _figure(title, image, shown):
  fig = figure.Figure(
    figsize=(1.9 * (len(shown) + 1), 5.6), dpi=100, layout='constrained'
  )
  axes = fig.subplots(len(_METHODS), len(shown) + 1)
  axes[0, 0].imshow(image.squeeze(), cmap='gray', vmin=0, vmax=1)
  axes[0, 0].set_title(title, fontsize=8)
  for column, (sparsity, maps) in zip(
    axes[:, 1:].T, shown.items(), strict=True
  ):
    for ax, name in zip(column, _METHODS, strict=True):
      ax.imshow(viz.paint(viz.MAGNITUDE, maps[name], image).squeeze())
      ax.set_title(f'{name}, {sparsity:.0%} zero', fontsize=8)
  for ax in axes.flat:
    ax.set_axis_off()
  return fig
