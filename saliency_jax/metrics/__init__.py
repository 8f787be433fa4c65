"""Measures of maps: what they do to the classifier, and how alike they are.

`metric(fn, x, scores, *, key=None, **settings)` returns a NamedTuple of arrays
for one example; a batch is a `vmap`.
"""

from saliency_jax.metrics.complexity import entropy
from saliency_jax.metrics.complexity import gini
from saliency_jax.metrics.complexity import relative_variation
from saliency_jax.metrics.debiasing import road
from saliency_jax.metrics.deletion import deletion_insertion
from saliency_jax.metrics.deletion import igos_protocol
from saliency_jax.metrics.deletion import rise_protocol
from saliency_jax.metrics.fidelity import infidelity
from saliency_jax.metrics.fidelity import max_sensitivity
from saliency_jax.metrics.flipping import decision_flips
from saliency_jax.metrics.ground_truth import blind
from saliency_jax.metrics.ground_truth import cell_region
from saliency_jax.metrics.ground_truth import disconnected
from saliency_jax.metrics.ground_truth import mosaic
from saliency_jax.metrics.information import information_curves
from saliency_jax.metrics.information import residual_entropy
from saliency_jax.metrics.information import webp
from saliency_jax.metrics.other_classes import random_logit
from saliency_jax.metrics.overlap import linear_correlation
from saliency_jax.metrics.overlap import rank_correlation
from saliency_jax.metrics.overlap import structural_similarity
from saliency_jax.metrics.overlap import top_k_overlap
from saliency_jax.metrics.regions import localization
from saliency_jax.metrics.sanity import cascading_randomization
from saliency_jax.metrics.sanity import layer_order
from saliency_jax.metrics.sensitivity import log_odds_curves
from saliency_jax.metrics.sensitivity import summarize_log_odds
from saliency_jax.metrics.stability import relative_stability
from saliency_jax.metrics.subsets import faithfulness_correlation
from saliency_jax.metrics.subsets import mu_fidelity
from saliency_jax.metrics.subsets import sensitivity_n

__all__ = [
  'blind',
  'cascading_randomization',
  'cell_region',
  'decision_flips',
  'deletion_insertion',
  'disconnected',
  'entropy',
  'faithfulness_correlation',
  'gini',
  'igos_protocol',
  'infidelity',
  'information_curves',
  'layer_order',
  'linear_correlation',
  'localization',
  'log_odds_curves',
  'max_sensitivity',
  'mosaic',
  'mu_fidelity',
  'random_logit',
  'rank_correlation',
  'relative_stability',
  'relative_variation',
  'residual_entropy',
  'rise_protocol',
  'road',
  'sensitivity_n',
  'structural_similarity',
  'summarize_log_odds',
  'top_k_overlap',
  'webp',
]
