"""ImageNet: the names of its 1000 classes, and the scale of its pixels."""

import functools
import importlib.resources

import jax.numpy as jnp
from jaxtyping import Array, Float

# Of the training pixels in [0, 1]: red, green, blue.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@functools.cache
def class_names() -> tuple[str, ...]:
  """Reads the names, in the order of the labels.

  The list is torchvision's (BSD-3-Clause), `torchvision.models._meta`.
  """
  package = importlib.resources.files('saliency_jax.models')
  text = package.joinpath('imagenet_classes.txt').read_text(encoding='utf-8')
  return tuple(text.splitlines())


def standardise(
  x: Float[Array, 'n h w 3'],
  mean: tuple[float, ...] = MEAN,
  std: tuple[float, ...] = STD,
) -> Float[Array, 'n h w 3']:
  """Shifts and scales pixels of [0, 1] to mean 0 and deviation 1."""
  mean, std = (jnp.array(a, x.dtype).reshape(1, 1, 1, -1) for a in (mean, std))
  return (x - mean) / std
