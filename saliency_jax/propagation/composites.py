"""Composites of layer-wise relevance propagation: which rule where.

A composite is a function of a place in a network to a rule of `core.tapes`.
`epsilon` has an answer for every kind of equation, and others differ from it at
affine units. One of one's own, say with a rule of the first layer and another
after the tap 'features', is

    def mine(place):
      if composites.is_layer(place) and place.depth == 0:
        return rules.w_square
      if composites.is_layer(place) and place.tap == 'features':
        return functools.partial(rules.epsilon, epsilon=0.01)
      return composites.epsilon(place)

Where its rule is `nonlinear.constant`, the outputs are constants, and what they
are multiplied with or added to is affine.

References:
  Montavon et al., Layer-wise relevance propagation: an overview, 2019.
  https://doi.org/10.1007/978-3-030-28954-6_10
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

from typing_extensions import TypeAliasType

from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.core import types
from saliency_jax.core import units
from saliency_jax.propagation import activations
from saliency_jax.propagation import nonlinear
from saliency_jax.propagation import rules


class Place(NamedTuple):
  """Where in a network an equation is.

  Attributes:
    equation: with what moves in it; it may be a unit. `None` of an input.
    depth: products with constant coefficients on the longest way to it: 0 of
      the first layer.
    tap: the last name, by `checkpoint_name`, on the way to it, or `None`.
  """

  equation: primitives.Equation | None
  depth: int
  tap: str | None


Composite = TypeAliasType('Composite', Callable[[Place], tapes.Rule])

_TABLE = {
  'name': activations.passed,
  units.SOFTMAX: nonlinear.softmax,
  primitives.MOVES: tapes.vjp,
  primitives.SUMS: rules.epsilon,
  primitives.PRODUCTS: nonlinear.halves,
  primitives.QUOTIENTS: nonlinear.halves,
  primitives.INCREASING: nonlinear.winner,
  primitives.ELEMENTARY: activations.passed,
}


def epsilon(place: Place, *, epsilon: types.Scalar = 1e-6) -> tapes.Rule:
  """The rule `epsilon` wherever something is affine, with its biases.

  Activations pass relevance, pools give it to the winner, and two factors that
  depend on the input have half each.
  """
  rule = primitives.rule(
    _TABLE, equation_at(place), 'relevances', primitives.UNROLL
  )
  if rule in (rules.epsilon, nonlinear.halves):
    return functools.partial(rule, epsilon=epsilon)
  return rule


def epsilon_plus(place: Place) -> tapes.Rule:
  """`z_plus` for convolutions, `epsilon` for the rest."""
  return rules.z_plus if is_convolution(place) else epsilon(place)


def epsilon_gamma_box(
  place: Place,
  *,
  gamma: types.Scalar = 0.25,
  low: rules.End = 0.0,
  high: rules.End = 1.0,
) -> tapes.Rule:
  """`z_box` for the first layer, `gamma` for convolutions, else `epsilon`."""
  if is_layer(place) and place.depth == 0:
    return functools.partial(rules.z_box, low=low, high=high)
  if is_convolution(place):
    return functools.partial(rules.gamma, gamma=gamma)
  return epsilon(place)


def equation_at(place: Any) -> primitives.Equation | None:
  """Returns the equation of a place.

  Raises:
    ValueError: for what is no place: a setting, of a composite that was called.
  """
  if not isinstance(place, Place):
    raise ValueError(
      f'a composite is called with a place, got {place!r:.80}: bind its '
      'settings, as by functools.partial(composites.epsilon, epsilon=1e-3)'
    )
  return place.equation


def is_layer(place: Place) -> bool:
  """Returns whether it is a sum of products with coefficients."""
  if equation_at(place) is None:
    return False
  main = units.main(place.equation)
  facts = primitives.facts(main.eqn)
  return (
    primitives.role(main) == primitives.SUMS
    and facts.kind == primitives.PRODUCTS
    and main.eqn.primitive.name != 'mul'
  )


def depth_after(place: Place) -> int:
  """Returns the depth of what reads an equation's outputs."""
  return place.depth + is_layer(place)


def is_convolution(place: Place) -> bool:
  """Returns whether it is a layer that uses a coefficient at several places.

  So it is for a window of any size, one by one included, and for a dense layer
  of each token.
  """
  if not is_layer(place):
    return False
  eqn, moving = units.main(place.equation)
  num_products = eqn.outvars[0].aval.size * primitives.facts(eqn).num_terms(eqn)
  return num_products > eqn.invars[moving.index(False)].aval.size
