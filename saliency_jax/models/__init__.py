"""Networks to explain: `load`, `fit_small`, or a user's own by `from_*`.

A user's own is written in nnx, linen, Equinox, haiku or Keras, each of which is
imported by those who have a network in it.

`create` makes one to train, which may `start_from` another one, and `save` the
file that `load` reads. What reads sentences has its tokens by `text`, and
classes or a similarity by `heads`.

Nothing in the methods imports this package: a model is any function of
parameters and one example.
"""

from saliency_jax.models.fitting import fit_small
from saliency_jax.models.layers import softplus
from saliency_jax.models.registry import load
from saliency_jax.models.registry import names
from saliency_jax.models.registry import weights_path
from saliency_jax.models.trained import FILE
from saliency_jax.models.trained import create
from saliency_jax.models.trained import file_of
from saliency_jax.models.trained import save
from saliency_jax.models.trained import start_from
from saliency_jax.models.types import Model
from saliency_jax.models.types import Spec
from saliency_jax.models.wrap_equinox import from_equinox
from saliency_jax.models.wrap_haiku import from_haiku
from saliency_jax.models.wrap_keras import from_keras
from saliency_jax.models.wrap_linen import from_linen
from saliency_jax.models.wrap_nnx import from_nnx

__all__ = [
  'FILE',
  'Model',
  'Spec',
  'create',
  'file_of',
  'fit_small',
  'from_equinox',
  'from_haiku',
  'from_keras',
  'from_linen',
  'from_nnx',
  'load',
  'names',
  'save',
  'softplus',
  'start_from',
  'weights_path',
]
