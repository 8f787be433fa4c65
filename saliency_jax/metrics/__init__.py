"""Measures of maps: what they do to the classifier, and how alike they are.

`metric(fn, x, scores, *, key=None, **settings)` returns a NamedTuple of arrays
for one example; a batch is a `vmap`.
"""

from saliency_jax.metrics.complexity import gini
from saliency_jax.metrics.complexity import relative_variation
from saliency_jax.metrics.deletion import deletion_insertion
from saliency_jax.metrics.deletion import igos_protocol
from saliency_jax.metrics.deletion import rise_protocol
from saliency_jax.metrics.fidelity import infidelity
from saliency_jax.metrics.fidelity import max_sensitivity
from saliency_jax.metrics.flipping import decision_flips
from saliency_jax.metrics.overlap import rank_correlation
from saliency_jax.metrics.overlap import structural_similarity
from saliency_jax.metrics.overlap import top_k_overlap
from saliency_jax.metrics.sanity import cascading_randomization
from saliency_jax.metrics.sanity import layer_order
from saliency_jax.metrics.sensitivity import log_odds_curves
from saliency_jax.metrics.sensitivity import summarize_log_odds

__all__ = [
  'cascading_randomization',
  'decision_flips',
  'deletion_insertion',
  'gini',
  'igos_protocol',
  'infidelity',
  'layer_order',
  'log_odds_curves',
  'max_sensitivity',
  'rank_correlation',
  'relative_variation',
  'rise_protocol',
  'structural_similarity',
  'summarize_log_odds',
  'top_k_overlap',
]
