"""Metrics of a map alone: how few pixels have how much of it."""

from jaxtyping import Array, Float, Key

from experiments.tables import cases
from saliency_jax import metrics


def complexity(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, 'H W c'],
  *,
  key: Key[Array, ''],
) -> cases.Result:
  """Measures how sparse, how concise and how smooth a map is."""
  del case, x, key
  values = {
    'gini': metrics.gini(scores),
    'entropy': metrics.entropy(scores),
    'variation': metrics.relative_variation(scores),
  }
  return cases.Result(values, {})
