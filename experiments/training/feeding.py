"""Which examples a step sees: a function of the seed, the epoch and the step.

Nothing else is remembered, so that a run that was killed goes on with the very
batches it would have had, and any number of devices or processes gets the same
ones. The last batch of an epoch is filled up with examples of weight zero.
"""

import functools
import math
from typing import NamedTuple

import jax
from jaxtyping import Int, UInt8
import numpy as np

from saliency_jax import data
from saliency_jax import training
from saliency_jax.core import batching


class Examples(NamedTuple):
  """A data set in memory, one byte a pixel and channel."""

  images: UInt8[np.ndarray, 'n h w c']
  labels: Int[np.ndarray, 'n']
  class_names: tuple[str, ...]


def stack(source: data.Source) -> Examples:
  """Reads a whole data set.

  Raises:
    ValueError: missing labels; images of several shapes.
  """
  name = source.name
  found = list(source)
  shapes = sorted({e['image'].shape for e in found})
  if len(shapes) != 1:
    raise ValueError(f'{name!r} has images of shapes {shapes}, expected one')
  labels = np.array([e['label'] for e in found], np.int32)
  if labels.min() < 0:
    raise ValueError(f'{name!r} has examples without a label')
  images = np.stack([e['image'] for e in found])
  return Examples(images, labels, tuple(source.class_names))


def num_steps(num_examples: int, batch_size: int) -> int:
  """Returns the number of batches in an epoch, the uneven last one included."""
  return math.ceil(num_examples / batch_size)


def rows(
  num_examples: int, batch_size: int, *, seed: int | None, step: int
) -> Int[np.ndarray, 'n']:
  """Returns the examples of a step, counted from 0 over all epochs.

  Args:
    num_examples: in the data set.
    batch_size: of every step but the last one of an epoch.
    seed: of the order of each epoch; `None` keeps the order of the data.
    step: which one.
  """
  epoch, place = divmod(step, num_steps(num_examples, batch_size))
  order = (
    np.arange(num_examples)
    if seed is None
    else _order(seed, epoch, num_examples)
  )
  return order[place * batch_size : (place + 1) * batch_size]


def batch(
  examples: Examples,
  chosen: Int[np.ndarray, 'n'],
  size: int,
  sharding: jax.sharding.Sharding,
) -> training.Batch:
  """Makes the batch of some examples, each device its own part.

  Args:
    examples: the data set, whole in each process.
    chosen: which of them.
    size: to which the batch is filled up, a multiple of the devices'.
    sharding: of the leading axis.
  """
  filled = batching.fill(chosen, size)

  def place(shape, part):
    return jax.make_array_from_callback(
      (size, *shape), sharding, lambda index: part(index[0])
    )

  return training.Batch(
    x=place(
      examples.images.shape[1:],
      lambda i: examples.images[filled[i]].astype(np.float32) / np.float32(255),
    ),
    label=place((), lambda i: examples.labels[filled[i]]),
    index=place((), lambda i: np.arange(size, dtype=np.int32)[i]),
    weight=place(
      (), lambda i: (np.arange(size) < len(chosen)).astype(np.float32)[i]
    ),
  )


@functools.lru_cache(maxsize=2)
def _order(seed, epoch, num_examples):
  key = jax.random.fold_in(jax.random.key(seed), epoch)
  return np.asarray(jax.random.permutation(key, num_examples))
