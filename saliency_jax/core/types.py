"""The types that every method shares.

Each alias is a `TypeAliasType`: `help()` shows its name and not what it means.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Bool, Float, Int, Key, Num, PyTree
import numpy as np
from typing_extensions import TypeAliasType

# One example: an array, or a pytree of arrays where a method needs no grid.
# Methods of forward calls take integers and booleans too; all others say which
# cast is missing (see `examples.py`).
Example = TypeAliasType(
  'Example',
  PyTree[Num[Array | np.ndarray, '...'] | Bool[Array | np.ndarray, '...']],
)

# One image of floats, or of integers where a method asks for forward calls.
Image = Num[Array | np.ndarray, 'H W C']

# The function being explained: one example in, one number out.
ScoreFn = TypeAliasType('ScoreFn', Callable[[Example], Float[Array, '']])

# For methods that compare classes: one example in, `k` logits out.
LogitsFn = TypeAliasType('LogitsFn', Callable[[Example], Float[Array, 'k']])

# A decision: one example in, its margins out, all positive while it holds.
MarginsFn = TypeAliasType('MarginsFn', Callable[[Example], Float[Array, 'm']])

# A classifier: parameters and one example in, `k` logits out.
Apply = TypeAliasType('Apply', Callable[[Any, Example], Float[Array, 'k']])

# A setting that may be swept, and so traced.
Scalar = TypeAliasType(
  'Scalar', float | int | Float[Array, ''] | Int[Array, '']
)

# A noise level in units of the example, or a function of the example giving it.
Sigma = TypeAliasType('Sigma', Scalar | Callable[[Example], Scalar])


@jax.tree_util.register_static
class Name(str):
  """A name in an info, which no program sees: static, and no leaf."""


class Attribution(NamedTuple):
  """How much each feature of one example moved its score.

  Attributes:
    scores: signed, unnormalised importance of each feature, broadcastable
      against the example, in its dtype (float32 for integers).
    info: diagnostics of the method that made it, a `NamedTuple` of arrays, in
      float32 at least.
  """

  scores: Example
  info: Any = ()


class Solution(NamedTuple):
  """What a solver found, and how good it is.

  Attributes:
    value: the solution.
    info: a `NamedTuple` of arrays: objective, gap or residual, steps taken.
  """

  value: Any
  info: Any


class Statistics(NamedTuple):
  """The means and variances by which a network normalises its batches.

  Those that run along in training are among the parameters, and are what
  `apply` normalises by: a trained network is a function of one example.

  Attributes:
    of_batch: `(params, xs, weight, axis_name=None) -> statistics`: a batch's,
      each example by its weight; of all devices along the axis of a `shard_map`
      within which it is called.
    read: from parameters to their running statistics.
    write: `(params, statistics)` to the parameters with these.
    momentum: the part of the running statistics that a step keeps.
  """

  of_batch: Callable[..., Any]
  read: Callable[[Any], Any]
  write: Callable[[Any, Any], Any]
  momentum: float = 0.9


@runtime_checkable
class Method(Protocol):
  """A saliency method whose settings are all bound."""

  def __call__(
    self, fn: ScoreFn, x: Example, *, key: Key[Array, ''] | None
  ) -> Attribution:
    """Explains `fn` at the single example `x`."""
    ...
