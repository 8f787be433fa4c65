"""What the launchers know of a method beside its function: an entry of a table.

See `methods.py` for images, and `sentences.py`.
"""

from collections.abc import Callable, Mapping
import enum
import types as python_types
from typing import Any, NamedTuple

from experiments.tables import costs
from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax import viz
from saliency_jax.core import types
from saliency_jax.models import types as model_types


class Units(enum.Enum):
  """What the numbers of a map are."""

  SLOPE = 'of the score a unit of input'
  CELL_SLOPE = 'of the score a unit of all the input of a cell'
  DIFFERENCE = 'of the score: they sum to its difference from a baseline'
  NONE = 'their order, or their ratios, are all that they say'


class Reading(NamedTuple):
  """Whether a map is ranked by the size of its scores, and why."""

  by_size: bool
  reason: str


SIZE = Reading(True, 'the sign of a slope says which way to move a pixel')
SIGN = Reading(False, 'what is below zero speaks against the class')


class Entry(NamedTuple):
  """A method, and what a launcher has to know of it.

  Attributes:
    method: `(fn, x, *, key, **settings) -> Attribution`.
    cost: how often it calls the classifier.
    drawing: how its map is drawn.
    reading: how its map is ranked.
    units: of its map.
    score: what is explained.
    settings: the launchers' defaults, where they are not the method's own.
    for_model: settings that depend on the network.
    quick: whether a map of a photo takes seconds, and not a good part of a
      minute, on two cores.
  """

  method: Callable[..., types.Attribution]
  cost: costs.Cost
  drawing: viz.Drawing
  reading: Reading = SIGN
  units: Units = Units.NONE
  score: explainer.Score = scores.logit
  settings: Mapping[str, Any] = python_types.MappingProxyType({})
  for_model: Callable[[model_types.Spec], Mapping[str, Any]] = lambda spec: {}
  quick: bool = True
