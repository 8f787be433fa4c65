"""What moves, sums and products with a constant make of intervals.

A product with a constant has the values `A m -+ |A| r` for a middle `m` and a
radius `r`; what only moves entries, and what is increasing, goes by the ends.
Products are taken in full precision.
"""

from typing import Any

import jax
from jax.extend import core
import jax.numpy as jnp
from jaxtyping import Array

from saliency_jax.core import jaxprs
from saliency_jax.core import primitives
from saliency_jax.core import rounding

Interval = rounding.Interval

_HIGHEST = jax.lax.Precision.HIGHEST


def ends(equation: primitives.Equation, *boxes: Interval) -> list[Interval]:
  """The rule of what is increasing in every operand, and exact."""
  lows, highs = (
    precise(equation.eqn, *(getattr(b, side) for b in boxes))
    for side in Interval._fields
  )
  return [Interval(a, b) for a, b in zip(lows, highs, strict=True)]


def weighted(equation: primitives.Equation, *boxes: Interval) -> list[Interval]:
  """The rule of sums, and of products with a constant."""
  eqn, moving = equation
  if primitives.facts(eqn).kind == primitives.PRODUCTS:
    return [_product(eqn, boxes, moving.index(True))]
  (box,) = ends(equation, *boxes)
  magnitudes = [jnp.maximum(jnp.abs(b.low), jnp.abs(b.high)) for b in boxes]
  (size,) = sizes(eqn, *magnitudes)
  return [rounding.widened(*box, primitives.facts(eqn).num_terms(eqn), size)]


def products(equation: primitives.Equation, *boxes: Interval) -> list[Interval]:
  """The rule of what is linear in each of two factors that move."""
  eqn = equation.eqn
  (a, a_radius), (b, b_radius) = (rounding.split(box) for box in boxes)
  product = lambda x, y: precise(eqn, x, y)[0]
  centre = product(a, b)
  spread = product(jnp.abs(a), b_radius) + product(a_radius, jnp.abs(b))
  spread += product(a_radius, b_radius)
  size = product(jnp.abs(a) + a_radius, jnp.abs(b) + b_radius)
  num_terms = 4 * primitives.facts(eqn).num_terms(eqn)
  return [rounding.widened(centre - spread, centre + spread, num_terms, size)]


def _product(eqn, boxes, place):
  """Bounds a product with a constant: a dense layer, a convolution."""
  middle, radius = rounding.split(boxes[place])
  constant = boxes[1 - place].low

  def product(value, constant):
    pair = [constant, value] if place else [value, constant]
    return precise(eqn, *pair)[0]

  centre = product(middle, constant)
  spread = product(radius, jnp.abs(constant))
  size = product(jnp.abs(middle), jnp.abs(constant)) + spread
  num_terms = primitives.facts(eqn).num_terms(eqn)
  return rounding.widened(centre - spread, centre + spread, num_terms, size)


def precise(eqn: core.JaxprEqn, *args: Any) -> list[Array]:
  """Evaluates an equation, its products in full precision."""
  known = primitives.facts(eqn)
  if known is not None and known.plain is not None:
    with jax.default_matmul_precision('highest'):
      return [known.plain(*args, **eqn.params)]
  if 'precision' in eqn.params:
    params = {**eqn.params, 'precision': (_HIGHEST, _HIGHEST)}
    eqn = eqn.replace(params=params)
  return jaxprs.bind(eqn, *args)


def sizes(eqn: core.JaxprEqn, *args: Any) -> list[Array]:
  """Evaluates an affine equation, all its terms and coefficients by size."""
  args = [
    jnp.abs(a) if primitives.is_float(v) else a
    for v, a in zip(eqn.invars, args, strict=True)
  ]
  if eqn.primitive.name == 'neg':
    return args
  if eqn.primitive.name == 'sub':
    return [args[0] + args[1]]
  return precise(eqn, *args)
