"""What a metric of an evaluation gets and gives: a case, and a result."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float

from saliency_jax import explainer
from saliency_jax import scores as score_functions
from saliency_jax.core import types


class Case(NamedTuple):
  """A classifier at one example, and who made the map there.

  Attributes:
    apply: maps `(params, x)` to the logits of an example.
    params: of the classifier.
    label: the explained class.
    score: what the method explains.
    method: made the map, its settings bound.
    by_size: whether the method's maps are read by the size of their scores.
  """

  apply: types.Apply
  params: Any
  label: Array
  score: explainer.Score
  method: types.Method
  by_size: bool

  def logits_fn(self, x: types.Example) -> Float[Array, 'k']:
    """Returns the logits of an example."""
    return self.apply(self.params, x)

  def prob_fn(self, x: types.Example) -> Float[Array, '']:
    """Returns the probability of the explained class."""
    return score_functions.prob(self.apply, self.params, self.label)(x)

  def fn(self, x: types.Example) -> Float[Array, '']:
    """Returns what the method explains."""
    return self.score(self.apply, self.params, self.label)(x)


class Curve(NamedTuple):
  """A metric along a part of one image: what is masked, or what is told."""

  fractions: Float[Array, 'm']
  values: Float[Array, 'm']


class Result(NamedTuple):
  """What a metric says of one map."""

  values: dict[str, Float[Array, '']]
  curves: dict[str, Curve]
