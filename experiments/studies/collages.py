"""Two photos side by side: is the one that is explained highlighted?

The left half shows one photo and the right half another, each squeezed to fit;
every map explains the left photo's class and then the right one's. A map that
tells the two apart has its weight in the half that it explains, whichever it
is; one that only shows the image has half of it there.
"""

from collections.abc import Mapping
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
from experiments.tables import contenders
from saliency_jax import viz
from saliency_jax.core import selection
from saliency_jax.metrics import ranking


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Explains both halves of every collage by every method."""
  del folder  # Minutes; each collage is a few maps.
  model = examples.load_model(config)
  source = examples.load_source(config)
  chosen = contenders.choose(config['methods'], model.spec)
  explain = contenders.of_one_image(chosen, model.apply)
  probs_fn = jax.jit(lambda p, x: jax.nn.softmax(model.apply(p, x)))
  photos = [
    examples.prepare(source, i, model.spec)
    for i in range(config['num_examples'])
  ]
  labels = [
    int(jnp.argmax(probs_fn(model.params, jnp.asarray(p.image))))
    for p in photos
  ]
  found, shown = [], []
  for i in app.progress(range(len(photos)), what='collages'):
    j = (i + 1) % len(photos)
    x = jnp.asarray(_collage(photos[i].image, photos[j].image))
    probs = np.asarray(probs_fn(model.params, x))
    key = jax.random.fold_in(jax.random.key(config['seed']), i)
    for label, left in ((labels[i], True), (labels[j], False)):
      # Not by `jax.tree.map`, which would sort the methods.
      maps = {
        name: np.asarray(scores)
        for name, scores in explain(model.params, x, label, key).items()
      }
      found.append(
        {
          'collage': i,
          'left': left,
          'class': label,
          'prob': float(probs[label]),
          'shares': {
            name: _share(scores, left, config['top'])
            for name, scores in maps.items()
          },
        }
      )
      if i < config['num_shown']:
        title = f'{model.spec.class_names[label][:24]} ({probs[label]:.2f})'
        shown.append((np.asarray(x), title, maps))
  return _findings(found, config, {'collages': _figure(shown, chosen)})


def _collage(left, right):
  """Returns two images side by side, each half as wide: pairs of columns."""
  halves = [
    a.reshape(a.shape[0], -1, 2, a.shape[2]).mean(2) for a in (left, right)
  ]
  return np.concatenate(halves, 1).astype(np.float32)


def _share(scores, left, top):
  """Returns the share of the best pixels that are in the explained half."""
  ranks = np.asarray(ranking.ranks(jnp.asarray(scores[..., 0])))
  best = ranks < selection.count(top, ranks.size)
  half = best.shape[1] // 2
  own = best[:, :half] if left else best[:, half:]
  return float(own.sum() / best.sum())


def _findings(found, config, figures):
  """Judges each method on the mean of both explanations of a collage.

  A method that always likes one half has a mean of exactly one half.
  """
  rows, numbers = [], {'explanations': found, 'means': {}}
  columns = {}
  for name in config['methods']:
    pairs = np.array([r['shares'][name] for r in found]).reshape(-1, 2).mean(1)
    mean = statistics.mean_interval(pairs)
    columns[name] = pairs
    numbers['means'][name] = mean._asdict()
    rows.append((name, f'{mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f})'))
  header = ('method', 'share in the explained half')
  return findings.Findings(
    header, rows, numbers, figures, {'share in the explained half': columns}
  )


def _figure(shown, chosen):
  fig = figure.Figure(
    figsize=(1.7 * (len(chosen) + 1), 1.9 * len(shown)),
    dpi=100,
    layout='constrained',
  )
  axes = np.atleast_2d(fig.subplots(len(shown), len(chosen) + 1))
  for row, (image, title, maps) in zip(axes, shown, strict=True):
    row[0].imshow(image.squeeze(), cmap='gray', vmin=0, vmax=1)
    row[0].set_title(title, fontsize=8)
    for ax, (label, scores) in zip(row[1:], maps.items(), strict=True):
      ax.imshow(viz.paint(chosen[label].entry.drawing, scores, image).squeeze())
      ax.set_title(label, fontsize=8)
  for ax in axes.flat:
    ax.set_axis_off()
  return fig
