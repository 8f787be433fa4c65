"""A page of two maps, for its own test and for that of the browser."""

import numpy as np

from experiments.explanation import pages
from experiments.explanation import sheets
from saliency_jax.core import types

PHOTO = np.linspace(0, 1, 48).reshape(4, 4, 3)
SIGNED = np.linspace(-1, 0.5, 48).reshape(4, 4, 3)
REGIONS = np.arange(16.0).reshape(4, 4, 1)


def html():
  info = lambda *warnings: {
    'quality': 'good <b>enough</b>',
    'warnings': warnings,
  }
  found = {
    'integrated_gradients': sheets.Map(types.Attribution(SIGNED), info()),
    'rise': sheets.Map(types.Attribution(REGIONS), info('</script>: more')),
  }
  about = {
    'class': 'goldfish',
    'model': 'tiny',
    'image': 'photo.jpg',
    'predictions': [('goldfish', 0.9), ('</script>', 0.1)],
  }
  return pages.html(PHOTO, found, about)
