"""The network that a launcher is asked for, and its weights.

A launcher imports this module to have the flag `--weights`.
"""

from collections.abc import Mapping
from typing import Any

from absl import flags

from experiments.core import files
from experiments.core import fits
from saliency_jax import models
from saliency_jax.models import types

_WEIGHTS = flags.DEFINE_string(
  'weights',
  None,
  'File of weights of the model, such as resnet50, for which no package has '
  'any: as torchvision, timm or transformers publish it.',
)


def load(name: str, **settings: Any) -> types.Model:
  """Loads a network by its name, with the weights of `--weights` if given.

  Args:
    name: see `models.load`; so are the `settings`. Networks of `fits` are
      trained.

  Raises:
    ValueError: no such network, or no weights of it.
  """
  if name in fits.SETTINGS and given() is None and not settings:
    return fits.load(name)
  return models.load(name, weights=given(), **settings)


def recorded(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a config that knows the weights of its network by their digest.

  A run then goes on with the weights that it began with, or is refused.

  Raises:
    ValueError: no such file.
  """
  path = given()
  if path is None:
    return dict(config)
  try:
    digest = files.digest(path)
  except OSError as e:
    raise ValueError(f'--weights {path!r}: {e.strerror}') from None
  return {**config, 'weights': digest}


def given() -> str | None:
  """Returns the value of `--weights`."""
  # A notebook or a test has parsed no flags.
  return _WEIGHTS.value if flags.FLAGS.is_parsed() else None
