"""Which maps change when the network forgets: cascading randomisation.

The layers of the network are made random from the output down; at every depth
each method's map is compared with the trained network's. What stays as it
was shows the image, and not what was learned.

Ranks are compared where the image is not black, with their signs and by their
sizes. Two maps that know nothing of the network are compared beside them:
noise, drawn anew at each depth, and noise times the image, whose sizes agree by
as much as the image alone makes them.
"""

from collections.abc import Mapping
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
from matplotlib import figure
import numpy as np

from experiments.core import app
from experiments.core import examples
from experiments.core import statistics
from experiments.studies import findings
from experiments.tables import contenders
from saliency_jax import metrics
from saliency_jax import scores
from saliency_jax import transforms
from saliency_jax.core import batching
from saliency_jax.core import types

_SHOWN = {
  'rank_correlation': 'rank correlation',
  'rank_correlation_abs': 'rank correlation of sizes',
  'ssim': 'SSIM',
  'norm': 'norm, of the trained',
}
# Of the table, and what its columns are called.
_COLUMNS = {
  'rank_correlation': 'signed',
  'rank_correlation_abs': 'sizes',
  'norm': 'norm',
}


def run(config: Mapping[str, Any], folder: pathlib.Path) -> findings.Findings:
  """Compares the maps of every method at every depth."""
  del folder  # Each method is a matter of minutes.
  model = examples.load_model(config)
  source = examples.load_source(config)
  first = config.get('first', 0)
  indices = list(range(first, first + config['num_examples']))
  chosen = contenders.choose(config['methods'], model.spec)
  explained = {
    **{label: (one.method, one.entry.score) for label, one in chosen.items()},
    'control: noise': (_noise, scores.logit),
    'control: noise x image': (transforms.times_input(_noise), scores.logit),
  }
  layers = model.spec.layers or metrics.layer_order(
    model.apply, model.params, jnp.zeros(model.spec.input_shape)
  )
  numbers = {'layers': layers[::-1], 'cascades': {}}
  for label in (bar := app.progress(explained, what='methods')):
    bar.set_postfix_str(label)
    method, score = explained[label]

    def cascade(params, x, key, method=method, score=score):
      return metrics.cascading_randomization(
        method,
        model.apply,
        params,
        x,
        key=key,
        score=score,
        layers=layers,
        support=jnp.any(x != 0, -1),
      )

    program = batching.over_batch(cascade)
    found = [
      jax.tree.map(np.asarray, program(model.params, batch.images, batch.keys))
      for batch in examples.batches(config, source, model.spec, indices, 1)
    ]
    joined = jax.tree.map(
      lambda *a: np.concatenate(a)[: config['num_examples']], *found
    )
    numbers['cascades'][label] = joined._asdict()
  return _findings(numbers, layers)


def _noise(fn, x, *, key):
  """Draws a map that is another one for each network."""
  bits = jax.lax.bitcast_convert_type(fn(x).astype(jnp.float32), jnp.uint32)
  key = jax.random.fold_in(key, bits)
  return types.Attribution(jax.random.normal(key, x.shape, x.dtype), ())


def _findings(numbers, layers):
  rows = []
  for label, found in numbers['cascades'].items():
    cells = []
    for depth in (1, len(layers)):
      for name in _COLUMNS:
        values = found[name][:, depth]
        if name == 'norm':
          # Quartiles that are values: where the trained network's own map is
          # zero, a norm is infinite of it, and nothing lies halfway to that.
          low, middle, high = np.nanquantile(
            values, (0.25, 0.5, 0.75), method='nearest'
          )
          num = values.size
        else:
          middle, low, high, num = statistics.mean_interval(values)
        # A constant map has no order.
        of = f', {num} of {values.size}' if num < values.size else ''
        cells.append(f'{middle:.3g} ({low:.3g} to {high:.3g}{of})')
    rows.append((label, *cells))
  header = (
    'method',
    *(
      f'{name}, {when}'
      for when in ('top layer', 'all layers')
      for name in _COLUMNS.values()
    ),
  )
  fig = figure.Figure(figsize=(16, 4.5), layout='constrained')
  axes = fig.subplots(1, len(_SHOWN))
  colors = matplotlib.colormaps['tab20']
  for ax, (name, title) in zip(axes, _SHOWN.items(), strict=True):
    for i, (label, found) in enumerate(numbers['cascades'].items()):
      # What no example has is a gap.
      known = np.ma.masked_where(np.isnan(found[name]), found[name])
      typical = (np.ma.median if name == 'norm' else np.ma.mean)(known, 0)
      ax.plot(typical, marker='.', color=colors(i), label=label)
    ax.set_title(title)
    ax.set_xlabel('layers made random, from the output')
  axes[-1].set_yscale('symlog', linthresh=1e-3)
  fig.legend(
    *axes[0].get_legend_handles_labels(),
    loc='outside right center',
    frameon=False,
  )
  return findings.Findings(
    header,
    rows,
    numbers,
    {'cascade': fig},
    _columns(numbers['cascades'], len(layers)),
  )


def _columns(cascades, num_layers):
  """Returns the correlations, and which maps are constant, at two depths.

  A map is constant where it has no order, though the trained network's has.
  """
  columns = {}
  for when, depth in (('top layer', 1), ('all layers', num_layers)):
    ranks = {m: found['rank_correlation'] for m, found in cascades.items()}
    columns[f'rank correlation, {when}'] = {
      m: values[:, depth] for m, values in ranks.items()
    }
    columns[f'constant, {when}'] = {
      m: np.isnan(values[~np.isnan(values[:, 0]), depth])
      for m, values in ranks.items()
    }
  return columns
