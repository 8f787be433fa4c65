"""What the best few cells of a map are worth: blanked out, and alone.

For every example and method, the map, the image without its best cells and the
best cells alone, each with the probability that is left; and what the baseline
images are worth by themselves.
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
from experiments.core import naming
from experiments.core import statistics
from experiments.studies import findings
from experiments.tables import contenders
from experiments.tables import settings
from saliency_jax import metrics
from saliency_jax import viz
from saliency_jax.core import selection


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Explains each example, and looks at it without and with the best cells."""
  del folder  # A figure an example is written at the end.
  model = examples.load_model(config)
  source = examples.load_source(config)
  chosen = contenders.choose(config['methods'], model.spec)
  explain = contenders.of_one_image(chosen, model.apply)
  look = jax.jit(functools.partial(_look, model.apply, config))
  baselines = jax.jit(functools.partial(_baselines, model.apply, config))
  probs_fn = jax.jit(lambda p, x: jax.nn.softmax(model.apply(p, x)))
  names = model.spec.class_names or tuple(map(str, range(1000)))
  found, figures = [], {}
  first = config.get('first', 0)
  indices = range(first, first + config['num_examples'])
  for index in app.progress(indices, what='examples'):
    example = examples.prepare(source, index, model.spec)
    x = jnp.asarray(example.image)
    probs = np.asarray(probs_fn(model.params, x))
    label = _explained(config, example, int(probs.argmax()))
    if label is None:
      continue
    key = jax.random.fold_in(jax.random.key(config['seed']), index)
    seen = {}
    for name, scores in explain(model.params, x, label, key).items():
      images, left = look(model.params, x, scores, label, key)
      seen[name] = (*map(np.asarray, (scores, images)), np.asarray(left))
    found.append(
      {
        'name': example.name,
        'class': names[label],
        'prob': float(probs[label]),
        'predicted': names[int(probs.argmax())],
        'baselines': dict(
          zip(
            config['baselines'],
            map(float, baselines(model.params, x, label)),
            strict=True,
          )
        ),
        'deleted': {n: float(s[2][0]) for n, s in seen.items()},
        'revealed': {n: float(s[2][1]) for n, s in seen.items()},
      }
    )
    if len(figures) < config['num_figures']:
      title = f'{names[label]} ({probs[label]:.3f}), {model.spec.name}'
      figures[f'{index:02d}_{pathlib.Path(example.name).stem}'] = _figure(
        title, example.image, chosen, seen
      )
  if not found:
    raise ValueError(
      f'no example of {config["data"]!r} is {config["only"]!r}: nothing to show'
    )
  return _findings(found, config, figures)


def _explained(config, example, predicted):
  """Returns the class to explain, or `None` where the example is left out."""
  if config['only'] == 'wrong' and example.label in (None, predicted):
    return None
  return example.label if config['explained'] == 'true' else predicted


def _look(apply, config, params, x, scores, label, key):
  """Returns the image without the best cells and with nothing else."""
  side = config['resolution']
  plan = metrics.igos_protocol(
    x,
    scores,
    key,
    resolution=side,
    baseline=_baseline(config['baseline']),
  )
  best = plan.ranks < selection.count(config['share'], side**2)
  best = best.astype(x.dtype)
  images = jnp.stack([plan.deleted.hide(1 - best), plan.start.hide(best)])
  return images, _probs(apply, params, images, label)


def _baseline(name):
  return naming.find('config: baseline', name, settings.BASELINES)


def _baselines(apply, config, params, x, label):
  images = [_baseline(name)(x) for name in config['baselines']]
  return _probs(apply, params, jnp.stack(images), label)


def _probs(apply, params, images, label):
  logits = jax.vmap(apply, (None, 0))(params, images)
  return jax.nn.softmax(logits)[:, label]


def _findings(found, config, figures):
  def text(values):
    mean = statistics.mean_interval(np.array(values))
    return f'{mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f})'

  rows = [
    (
      name,
      text([r['deleted'][name] for r in found]),
      text([r['revealed'][name] for r in found]),
    )
    for name in config['methods']
  ]
  rows.append(('the image as it is', text([r['prob'] for r in found]), ''))
  rows += [
    (f'baseline {n}', text([r['baselines'][n] for r in found]), '')
    for n in config['baselines']
  ]
  share = f'{config["share"]:.1%} of the cells'
  header = ('method', f'p without {share}', 'p of these alone')
  return findings.Findings(
    header, rows, {'examples': found}, figures, _columns(found)
  )


def _columns(found):
  """Returns what is left by what was done, and by whom."""
  whole = {'the whole image': np.array([r['prob'] for r in found])}
  by_label = lambda field: {
    name: np.array([r[field][name] for r in found]) for name in found[0][field]
  }
  return {
    'p without the best cells': {**by_label('deleted'), **whole},
    'p of the best cells alone': {**by_label('revealed'), **whole},
    'p of a baseline': {**by_label('baselines'), **whole},
  }


def _figure(title, image, chosen, seen):
  """Draws a column a method: the map, and both images with what is left."""
  fig = figure.Figure(
    figsize=(1.9 * (len(seen) + 1), 6.4), dpi=100, layout='constrained'
  )
  axes = fig.subplots(3, len(seen) + 1)
  shown = {'cmap': 'gray', 'vmin': 0, 'vmax': 1}
  axes[0, 0].imshow(image.squeeze(), **shown)
  axes[0, 0].set_title('the image', fontsize=9)
  for ax, what in zip(
    axes[1:, 0], ('without the best cells', 'the best cells alone'), strict=True
  ):
    ax.text(0.5, 0.5, what, ha='center', va='center', fontsize=9, wrap=True)
  for column, (name, (scores, images, left)) in zip(
    axes[:, 1:].T, seen.items(), strict=True
  ):
    column[0].imshow(
      viz.paint(chosen[name].entry.drawing, scores, image).squeeze()
    )
    column[0].set_title(name, fontsize=9)
    for ax, one, prob in zip(column[1:], images, left, strict=True):
      ax.imshow(np.clip(one, 0, 1).squeeze(), **shown)
      ax.set_title(f'p = {prob:.3f}', fontsize=9)
  for ax in axes.flat:
    ax.set_axis_off()
  fig.suptitle(title, fontsize=11)
  return fig
