"""Several figures as one image."""

from collections.abc import Sequence
import io

from matplotlib import figure as figures
from matplotlib.backends import backend_agg
import numpy as np
from PIL import Image


def png(shown: Sequence[figures.Figure]) -> bytes:
  """Returns figures of one width, one below the other, as PNG."""
  images = []
  for figure in shown:
    canvas = backend_agg.FigureCanvasAgg(figure)
    canvas.draw()
    images.append(np.asarray(canvas.buffer_rgba())[..., :3])
  found = io.BytesIO()
  Image.fromarray(np.concatenate(images)).save(found, 'png')
  return found.getvalue()
