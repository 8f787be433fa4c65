"""Figures of an evaluation: mean curves, and maps as thumbnails."""

from collections.abc import Mapping, Sequence
import io
from typing import Any

import matplotlib
from matplotlib import figure
import numpy as np
from PIL import Image

from saliency_jax import viz

# What the curves of the metrics say, by their names.
_HEIGHTS = {
  'prob': 'probability of the class',
  'log_prob': 'logarithm of the probability',
  'log_odds_ratio': 'change of the log odds',
  'flipped': 'share of changed decisions',
  'best_first': 'share of decisions kept',
  'worst_first': 'share of decisions kept',
  'sic': 'share of the probability',
  'aic': 'share of decisions kept',
}
# These are of whichever score the metric is asked to measure.
_OF_A_SCORE = ('deletion', 'insertion')


def curves(
  records: Sequence[Mapping[str, Any]],
  methods: Sequence[str],
  names: list[str],
  axis: str,
  score: str = 'prob',
) -> figure.Figure:
  """Draws the mean curve of each method, one panel a name.

  Bands are pointwise: the mean and 1.96 of its standard errors.

  Args:
    records: one an example.
    methods: labels.
    names: of the curves, as 'metric.curve'.
    axis: what they run along.
    score: what areas of deletion and insertion are measured of, by its name.

  Returns:
    A figure without pyplot state.
  """
  colors = matplotlib.colormaps['tab20' if len(methods) > 10 else 'tab10']
  fig = figure.Figure(
    figsize=(1.8 + 4.6 * len(names), 3.6), dpi=110, layout='constrained'
  )
  panels = np.atleast_1d(fig.subplots(1, len(names)))
  for ax, name in zip(panels, names, strict=True):
    for i, method in enumerate(methods):
      found = [
        r['maps'][method]['curves'][name]
        for r in records
        if name in r['maps'][method]['curves']
      ]
      # A curve that was not measured is one of NaN, which JSON has as text.
      y = np.array([c['y'] for c in found], np.float64)
      known = np.isfinite(y).all(-1) if found else np.zeros(0, bool)
      if not known.any():
        continue
      x, y = np.mean([c['x'] for c in found], 0), y[known]
      mean = y.mean(0)
      spread = y.std(0, ddof=1) if len(y) > 1 else np.zeros_like(mean)
      half = 1.96 * spread / np.sqrt(len(y))
      ax.plot(x, mean, color=colors(i), label=method, linewidth=1.6)
      ax.fill_between(
        x, mean - half, mean + half, color=colors(i), alpha=0.12, linewidth=0
      )
    ax.set_title(name, fontsize=10)
    ax.set_xlabel(axis, fontsize=9)
    what = name.rpartition('.')[2]
    told = f'{score} of the class' if what in _OF_A_SCORE else what
    measured = score if what in _OF_A_SCORE else what
    height = _HEIGHTS.get(measured, told.replace('_', ' '))
    ax.set_ylabel(height, fontsize=9)
    ax.tick_params(labelsize=8)
    ax.spines[['top', 'right']].set_visible(False)
  fig.legend(
    *panels[0].get_legend_handles_labels(),
    loc='outside right center',
    fontsize=8,
    frameon=False,
  )
  return fig


def png(fig: figure.Figure) -> bytes:
  """Returns a figure as the bytes of a PNG file."""
  with io.BytesIO() as f:
    fig.savefig(f, format='png')
    return f.getvalue()


def photo(image: np.ndarray, side: int = 144) -> bytes:
  """Returns an image `[H, W, 1 or 3]` of bytes as a thumbnail, in JPEG."""
  return _thumbnail(np.broadcast_to(image, (*image.shape[:2], 3)), side)


def painted(
  scores: np.ndarray,
  image: np.ndarray,
  drawing: viz.Drawing,
  side: int = 144,
) -> bytes:
  """Returns a map `[H, W, 1]` as a thumbnail, in JPEG.

  Args:
    scores: finite.
    image: of bytes, `[H, W, 1 or 3]`.
    drawing: how the map becomes colours.
    side: of the thumbnail in pixels.
  """
  colors = viz.paint(drawing, scores, image.astype(np.float64) / 255)
  return _thumbnail(np.rint(255 * colors).astype(np.uint8), side)


def _thumbnail(pixels: np.ndarray, side: int) -> bytes:
  # A few large pixels stay pixels; many are averaged.
  small = pixels.shape[0] < side
  rule = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
  image = Image.fromarray(np.ascontiguousarray(pixels, np.uint8))
  with io.BytesIO() as f:
    image.resize((side, side), rule).save(f, format='jpeg', quality=88)
    return f.getvalue()
