"""The names of ImageNet's 1000 classes."""

import functools
import importlib.resources


@functools.cache
def class_names() -> tuple[str, ...]:
  """Reads the names, in the order of the labels.

  The list is torchvision's (BSD-3-Clause), `torchvision.models._meta`.
  """
  package = importlib.resources.files('saliency_jax.models')
  text = package.joinpath('imagenet_classes.txt').read_text(encoding='utf-8')
  return tuple(text.splitlines())
