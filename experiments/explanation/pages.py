"""The page of one photo: its maps side by side, to point at and to cut off.

One file that needs no other. Values are quantised, and the page says how: 2^15
- 1 steps from 0 to the largest size of a map.
"""

import base64
from collections.abc import Mapping
import json
import pathlib
from typing import Any

from jaxtyping import Array, Float
import matplotlib
import numpy as np

from experiments.explanation import sheets
from experiments.tables import methods
from saliency_jax import viz

_TEMPLATE = pathlib.Path(__file__).with_name('page.html')
_STEPS = 2**15 - 1
_PRECISION = (
  'What a pixel shows is the sum over its channels, of sizes where the colours '
  f'are of sizes, rounded to 1/{_STEPS} of the largest of its map; the photo '
  'has 256 steps. The slider keeps the strongest share of the pixels, by size '
  'where values are signed. The exact scores are in maps.npz.'
)


def html(
  image: Float[Array | np.ndarray, 'H W c'],
  found: Mapping[str, sheets.Map],
  about: Mapping[str, Any],
) -> str:
  """Returns the page.

  Args:
    image: the photo, in [0, 1].
    found: the maps, finite, by their methods.
    about: what all of them explain: `class`, `model`, `image`, `predictions`.
  """
  pixels = np.broadcast_to(np.asarray(image), (*image.shape[:2], 3))
  drawings = {n: methods.METHODS[n].drawing for n in found}
  predicted = (f'{name} {prob:.1%}' for name, prob in about['predictions'])
  data = {
    'title': f'{about["class"]}, explained for {about["model"]}',
    'about': f'{about["image"]}: {", ".join(predicted)}.',
    'precision': _PRECISION,
    'height': image.shape[0],
    'width': image.shape[1],
    'photo': _text(np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)),
    'palettes': {d.label: _palette(d) for d in set(drawings.values())},
    'maps': [_map(n, made, drawings[n], image) for n, made in found.items()],
  }
  # No text of the data ends the script that holds it.
  text = json.dumps(data, allow_nan=False).replace('</', '<\\/')
  return _TEMPLATE.read_text().replace('__DATA__', text)


def _map(
  name: str, made: sheets.Map, drawing: viz.Drawing, image: Any
) -> dict[str, Any]:
  """Returns what the page is told of one map."""
  scores = np.asarray(made.out.scores, np.float64)
  sized = drawing == viz.MAGNITUDE
  values = np.sum(np.abs(scores) if sized else scores, axis=-1)
  low, shown = drawing.low, drawing.normalise(scores)
  indices = np.rint(255 * (shown - low) / (1 - low))
  unit = np.max(np.abs(values)) / _STEPS
  steps = np.rint(values / (unit or 1))
  spread = lambda a: np.broadcast_to(a, image.shape[:2])
  return {
    'title': name.replace('_', ' '),
    'drawing': drawing.label,
    'signed': drawing.low < 0,
    'unit': float(unit),
    'values': _text(spread(steps).astype('<i2')),
    'indices': _text(spread(indices).astype(np.uint8)),
    'quality': made.info['quality'],
    'warnings': list(made.info['warnings']),
  }


def _palette(drawing: viz.Drawing) -> dict[str, Any]:
  ramp = matplotlib.colormaps[drawing.colors](np.linspace(0, 1, 256))[:, :3]
  colours = np.rint(255 * ramp).astype(np.uint8)
  return {'colours': _text(colours), 'ends': drawing.ends}


def _text(array: np.ndarray) -> str:
  return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
