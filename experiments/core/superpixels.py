"""Superpixels of an image, as many as asked for: the players of coalitions.

References:
  Achanta, Shaji, Smith, Lucchi, Fua, Suesstrunk, SLIC superpixels compared to
    state-of-the-art superpixel methods, 2012.
    https://doi.org/10.1109/TPAMI.2012.120
"""

from jaxtyping import Float, Int
import numpy as np

from saliency_jax.core import graphs

# How much colours count beside places: scikit-image's default, and what leaves
# pieces that hang together in noise, too, where colours say nothing.
_COMPACTNESS = (10.0, 100.0, 1000.0)
# SLIC finds fewer than it is asked for: it is asked for more and more.
_GROWTH, _MOST = 1.15, 4


def find(image: Float[np.ndarray, 'h w c'], num: int) -> Int[np.ndarray, 'h w']:
  """Returns the superpixel of each pixel, from 0 to `num - 1`.

  SLIC's superpixels are a few more than `num` at first; the smallest are then
  joined to the neighbour of the most similar colour.

  Args:
    image: in [0, 1].
    num: superpixels; there are fewer where the image has no room for them.
  """
  from skimage import segmentation  # Imports scipy's whole tree.

  labels = np.zeros(image.shape[:2], int)
  for compactness in _COMPACTNESS:
    asked = float(num)
    while asked <= _MOST * num:
      found = segmentation.slic(
        image, n_segments=round(asked), compactness=compactness, channel_axis=-1
      )
      found = _counted(found)
      if found.max() + 1 >= num:
        return _joined(found, image, num)
      if found.max() > labels.max():
        labels = found
      asked *= _GROWTH
  return labels


def _joined(labels, image, num):
  """Returns `num` regions: the smallest are joined to a neighbour."""
  while labels.max() + 1 > num:
    sizes = np.bincount(labels.ravel())
    colours = np.stack(
      [
        np.bincount(labels.ravel(), channel.ravel()) / sizes
        for channel in np.moveaxis(np.asarray(image, np.float64), -1, 0)
      ],
      -1,
    )
    edges = graphs.of_segments(labels)
    smallest = int(np.argmin(sizes))
    touching = edges[(edges == smallest).any(1)]
    others = touching[touching != smallest]
    apart = ((colours[others] - colours[smallest]) ** 2).sum(1)
    joined = np.where(labels == smallest, others[np.argmin(apart)], labels)
    labels = _counted(joined)
  return labels


def _counted(labels):
  """Returns labels without gaps in their numbers."""
  return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
