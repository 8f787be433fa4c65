"""Networks to explain: `load`, `fit_small`, or a user's own by `from_nnx`.

`create` makes one to train, and `save` the file that `load` reads. What reads
sentences has its tokens by `text`, and classes or a similarity by `heads`.

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
from saliency_jax.models.trained import save
from saliency_jax.models.types import Model
from saliency_jax.models.types import Spec
from saliency_jax.models.wrap import from_linen
from saliency_jax.models.wrap import from_nnx

__all__ = [
  'FILE',
  'Model',
  'Spec',
  'create',
  'fit_small',
  'from_linen',
  'from_nnx',
  'load',
  'names',
  'save',
  'softplus',
  'weights_path',
]
