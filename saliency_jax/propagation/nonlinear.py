"""Rules for what is not affine: activations, pools, products, softmax.

Each is a rule of `core.tapes`, called with an equation, its inputs, its outputs
and their relevance; settings are bound by `functools.partial`.

References:
  Bach et al., On pixel-wise explanations for non-linear classifier decisions by
  layer-wise relevance propagation, 2015.
  https://doi.org/10.1371/journal.pone.0130140
  Achtibat et al., AttnLRP: attention-aware layer-wise relevance propagation for
  transformers, 2024. https://arxiv.org/abs/2402.05602
"""

from typing import Any

import jax
from jax.extend import core
import jax.numpy as jnp

from saliency_jax.core import primitives
from saliency_jax.core import tapes
from saliency_jax.core import types
from saliency_jax.propagation import rules

Equation = primitives.Equation

# Of each variable of an equation; `None` of what has no relevance.
Values = list[Any]


def constant(
  equation: Equation, inputs: Values, outputs: Values, relevance: Values
) -> Values:
  """Takes the outputs for constants: other factors and summands get all."""
  del equation, outputs, relevance
  return [None] * len(inputs)


def passed(
  equation: Equation, inputs: Values, outputs: Values, relevance: Values
) -> Values:
  """Gives each input that moves all of it: for activations, which have one."""
  del outputs
  (r,) = relevance
  return [
    _like(a, r) if moves else None
    for a, moves in zip(inputs, equation.moving, strict=True)
  ]


def winner(
  equation: Equation, inputs: Values, outputs: Values, relevance: Values
) -> Values:
  """Gives all to the entry that was picked; those that tie may share it.

  What is picked from one value and constants, as by a ReLU, is passed.
  """
  by_entry = equation.eqn.primitive.name in ('max', 'min', 'clamp')
  rule = passed if by_entry and sum(equation.moving) == 1 else tapes.vjp
  return rule(equation, inputs, outputs, relevance)


def halves(
  equation: Equation,
  inputs: Values,
  outputs: Values,
  relevance: Values,
  *,
  epsilon: types.Scalar = 1e-6,
) -> Values:
  """Gives half to each of two factors, or to numerator and denominator.

  The halves of a sum of products, such as one of matrices, go in proportion to
  the products.

  Args:
    equation: a product or a quotient.
    inputs: its operands.
    outputs: of it.
    relevance: of these.
    epsilon: of a sum: as in `rules.epsilon`.
  """
  (z,), (r,) = outputs, relevance
  if equation.eqn.primitive.name in ('mul', 'div'):
    share = r / sum(equation.moving)
    return passed(equation, inputs, outputs, [share])
  share = rules.ratio(r, rules.stabilised(z, r, epsilon)) / 2
  given = tapes.vjp(equation, inputs, outputs, [share])
  return [a * g for a, g in zip(inputs, given, strict=True)]


def softmax(
  equation: Equation, inputs: Values, outputs: Values, relevance: Values
) -> Values:
  """Gives logits `x_i (R_i - s_i sum_j R_j)`, with `s` their softmax.

  That is a Taylor expansion at `x`, to first order: no sum is kept.
  """
  (s,), (r,) = outputs, relevance
  body = core.jaxpr_as_fun(equation.eqn.params['jaxpr'])
  _, pullback = jax.vjp(body, *inputs)
  given = pullback([rules.ratio(r, s)])
  # A masked logit, -inf, has no relevance.
  return [
    jnp.where(jnp.isfinite(x), x, 0) * g if moves else None
    for x, g, moves in zip(inputs, given, equation.moving, strict=True)
  ]


def _like(a, relevance):
  """Returns relevance in the shape of an operand that may be repeated."""
  if a.shape == relevance.shape:
    return relevance
  back = jax.linear_transpose(
    lambda a: jnp.broadcast_to(a, relevance.shape), a.astype(relevance.dtype)
  )
  return back(relevance)[0]
