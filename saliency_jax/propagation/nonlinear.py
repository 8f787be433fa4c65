"""Rules for what is not affine: pools, products, softmax, constants.

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
from saliency_jax.propagation import activations
from saliency_jax.propagation import pools
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


def winner(
  equation: Equation, inputs: Values, outputs: Values, relevance: Values
) -> Values:
  """Gives all to the entry that was picked, of several the first.

  What is picked from one value and constants, as by a ReLU, is passed.
  """
  rule = activations.passed if activations.is_bound(equation) else pools.first
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
    return activations.passed(equation, inputs, outputs, [share])
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
