"""The networks that are trained here, in a minute, on digits.

No package has weights of them: a launcher that is asked for one trains it, and
`models.fit_small` remembers it.
"""

from typing import Any

from saliency_jax import data
from saliency_jax import models
from saliency_jax.models import types

DATA = 'digits'
# What each is trained with: the digits that are explained are others.
SETTINGS: dict[str, dict[str, Any]] = {
  'lenet': {'split': 'train', 'epochs': 12},
  'one_hidden': {'split': 'train', 'epochs': 12, 'learning_rate': 1e-3},
  'softplus_net': {'split': 'train', 'epochs': 12},
  'two_hidden': {'split': 'train', 'epochs': 12, 'learning_rate': 1e-3},
  'vit_digits': {'split': 'train', 'epochs': 24, 'learning_rate': 4e-3},
}


def load(name: str) -> types.Model:
  """Trains a network as `SETTINGS` says, or recalls that it was trained."""
  settings = dict(SETTINGS[name])
  return fit(name, data.load(DATA, settings.pop('split')), **settings)


def fit(name: str, source: data.Source, **settings: Any) -> types.Model:
  """Trains a network on a source: see `models.fit_small`."""
  images, labels = data.arrays(source)
  return models.fit_small(
    name, images, labels, class_names=source.class_names, **settings
  )
