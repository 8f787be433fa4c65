"""The saliency methods for sentences that `explain` knows, in one table.

Methods of forward calls hide tokens or words; the others explain at the
embeddings of the tokens, and a token's score is the sum over its embedding.
"""

import functools

import jax.numpy as jnp

from experiments.tables import costs
from experiments.tables import entries
import saliency_jax
from saliency_jax import transforms
from saliency_jax import viz
from saliency_jax.core import types
from saliency_jax.perturbations import leg
from saliency_jax.propagation import attention


def _embedded(method: types.Method) -> types.Method:
  """Returns a method of the embeddings as one of the tokens."""
  return transforms.map_scores(
    transforms.at_tap(method, 'embeddings'),
    lambda scores, x: jnp.sum(scores, -1),
  )


_entry = functools.partial(entries.Entry, drawing=viz.SIGNED)
_hiding = functools.partial(_entry, cost=costs.forwards)

HIDING: dict[str, entries.Entry] = {
  'occlusion': _hiding(saliency_jax.occlusion),
  'lime': _hiding(saliency_jax.lime),
  'kernel_shap': _hiding(
    saliency_jax.kernel_shap,
    settings={'num_samples': 512},
  ),
  'shapley': _hiding(saliency_jax.shapley),
  # A player is hidden where the draw keeps less than half of it: one of five.
  'leg': _hiding(
    saliency_jax.leg,
    settings={'sigma': 0.6, 'num_samples': 1024, 'draw': leg.gaussian},
  ),
}
EMBEDDED: dict[str, entries.Entry] = {
  'gradient_x_input': _entry(
    _embedded(transforms.times_input(saliency_jax.gradient)),
    cost=costs.one_gradient,
  ),
  'integrated_gradients': _entry(
    _embedded(saliency_jax.integrated_gradients),
    cost=costs.integrated,
  ),
  'deeplift': _entry(
    _embedded(saliency_jax.deeplift),
    cost=costs.walks,
  ),
  'lrp': _entry(
    _embedded(saliency_jax.lrp),
    cost=costs.walk,
    settings={'composite': attention.attn_lrp},
  ),
}
METHODS = {**HIDING, **EMBEDDED}
