"""Training: losses of one example, and the step that takes their gradient.

A loss is `(apply, params, x, label, key) -> Terms`, its settings bound; `total`
sums it over a batch, `step` moves the parameters. Where the batch lies is
outside: sums of its parts add up (`accumulate`).
"""

from saliency_jax.training.adversarial import classification
from saliency_jax.training.adversarial import interpretation
from saliency_jax.training.augmentation import add_noise
from saliency_jax.training.augmentation import crop_and_flip
from saliency_jax.training.guarantees import interval_bounds
from saliency_jax.training.guarantees import smoothed
from saliency_jax.training.losses import Terms
from saliency_jax.training.losses import compute_in
from saliency_jax.training.losses import plain
from saliency_jax.training.smoothness import curvature
from saliency_jax.training.smoothness import input_gradient
from saliency_jax.training.stepping import Batch
from saliency_jax.training.stepping import Metrics
from saliency_jax.training.stepping import State
from saliency_jax.training.stepping import Sums
from saliency_jax.training.stepping import Total
from saliency_jax.training.stepping import accumulate
from saliency_jax.training.stepping import init
from saliency_jax.training.stepping import measure
from saliency_jax.training.stepping import step
from saliency_jax.training.stepping import total

__all__ = [
  'Batch',
  'Metrics',
  'State',
  'Sums',
  'Terms',
  'Total',
  'accumulate',
  'add_noise',
  'classification',
  'compute_in',
  'crop_and_flip',
  'curvature',
  'init',
  'input_gradient',
  'interpretation',
  'interval_bounds',
  'measure',
  'plain',
  'smoothed',
  'step',
  'total',
]
