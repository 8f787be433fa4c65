"""The rules of layer-wise relevance propagation.

These are for affine units (`core.units`), whose outputs are
`z_j = sum_i w_ij a_i + b_j`: a product with the scalings and shifts around it,
or a sum. With `R_j` the relevance that arrives, `p_ij` the contribution
`w_ij a_i` where that is positive, `n_ij` where it is negative, and sums `P_j`
and `N_j` of these in which the bias has its part, they give an input `i`

| rule | the sum over `j` of |
|---|---|
| `zero`, `epsilon` | `w_ij a_i R_j / (z_j + e sign z_j)` |
| `gamma` | `(w_ij a_i + g p_ij) R_j / (z_j + g P_j)`, if `z_j >= 0` |
|  | `(w_ij a_i + g n_ij) R_j / (z_j + g N_j)`, if not |
| `alpha_beta` | `(alpha p_ij / P_j - beta n_ij / N_j) R_j` |
| `z_plus` | `p_ij / P_j R_j` |
| `z_box` | `c_ij R_j / sum_k c_kj`, `c_ij = w_ij a_i - w+_ij l - w-_ij h` |
| `w_square`, `flat` | `c_ij R_j / sum_k c_kj`, `c_ij = w_ij^2` or 1 |

Contributions go by their own sign, so that inputs may have either. Positive and
negative parts come from two products, `w a` and `|w| |a|`: no coefficient is
formed. What a bias or `e` takes, and what arrives where a denominator is zero,
goes to no input.

Each is a rule of `core.tapes`, called with an equation, its inputs, its outputs
and their relevance; settings are bound by `functools.partial`. A rule of one's
own is a function of a `Layer` under `of_layer`.

References:
  Bach et al., On pixel-wise explanations for non-linear classifier decisions by
  layer-wise relevance propagation, 2015.
  https://doi.org/10.1371/journal.pone.0130140
  Montavon et al., Explaining nonlinear classification decisions with deep
  Taylor decomposition, 2017. https://arxiv.org/abs/1512.02479
  Montavon et al., Layer-wise relevance propagation: an overview, 2019.
  https://doi.org/10.1007/978-3-030-28954-6_10
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import primitives
from saliency_jax.core import types
from saliency_jax.core import units

Inputs = list[Float[Array, '...']]

# One end of the range of the inputs.
End = types.Scalar | Float[Array | np.ndarray, '...']


class Layer(NamedTuple):
  """An affine unit, at the values of one example.

  Attributes:
    inputs: `a`, one array for each input that moves.
    output: `z`.
    relevance: `R`, like it.
    weigh: `weigh(modify)` is the function `a -> modify(w) a`, without the bias,
      for a multiplicative function of coefficients.
  """

  inputs: Inputs
  output: Float[Array, '...']
  relevance: Float[Array, '...']
  weigh: Callable[[Callable[[Any], Any]], Callable[..., Float[Array, '...']]]


def of_layer(rule: Callable[..., Inputs]) -> Callable[..., list[Any]]:
  """Returns the rule of `core.tapes` that is, of affine units, this one."""

  @functools.wraps(rule)
  def on_tape(
    equation: primitives.Equation,
    inputs: list[Any],
    outputs: list[Any],
    relevance: list[Any],
    **settings: Any,
  ) -> list[Any]:
    (z,), (r,) = outputs, relevance
    pairs = zip(inputs, equation.moving, strict=True)
    layer = Layer(
      [a for a, moves in pairs if moves],
      z,
      r,
      functools.partial(units.linear, equation, inputs),
    )
    given = iter(rule(layer, **settings))
    return [next(given) if moves else None for moves in equation.moving]

  return on_tape


@of_layer
def zero(layer: Layer) -> Inputs:
  """Gives in proportion to contributions."""
  share = ratio(layer.relevance, layer.output)
  return _weighed(layer, _same, share, layer.inputs)


@of_layer
def epsilon(layer: Layer, *, epsilon: types.Scalar = 1e-6) -> Inputs:
  """Gives in proportion to contributions, less where these cancel.

  Args:
    layer: the unit.
    epsilon: added to the size of outputs, relative to the largest output of
      the unit that have relevance.
  """
  share = ratio(
    layer.relevance, stabilised(layer.output, layer.relevance, epsilon)
  )
  return _weighed(layer, _same, share, layer.inputs)


@of_layer
def gamma(layer: Layer, *, gamma: types.Scalar = 0.25) -> Inputs:
  """Favours contributions of the sign of the output.

  Args:
    layer: the unit.
    gamma: how much more they count: none is `zero`, and much is `z_plus` where
      the output is positive.
  """
  checks.within('gamma', gamma, '[0, inf)')
  positive, negative = _sums(layer)
  above = layer.output >= 0
  favoured = jnp.where(above, positive, negative)
  share = ratio(layer.relevance, layer.output + gamma * favoured)
  more = (1 + gamma) * share
  return _by_sign(
    layer, jnp.where(above, more, share), jnp.where(above, share, more)
  )


@of_layer
def alpha_beta(
  layer: Layer, *, alpha: types.Scalar = 2.0, beta: types.Scalar = 1.0
) -> Inputs:
  """Gives positive and negative contributions fixed shares.

  Args:
    layer: the unit.
    alpha: what positive ones get.
    beta: what negative ones lose: `alpha - 1`, for nothing to be made or lost.
  """
  positive, negative = _sums(layer)
  return _by_sign(
    layer,
    alpha * ratio(layer.relevance, positive),
    -beta * ratio(layer.relevance, negative),
  )


@of_layer
def z_plus(layer: Layer) -> Inputs:
  """Gives in proportion to positive contributions."""
  positive, _ = _sums(layer)
  share = ratio(layer.relevance, positive)
  return _by_sign(layer, share, jnp.zeros_like(share))


@of_layer
def z_box(layer: Layer, *, low: End = 0.0, high: End = 1.0) -> Inputs:
  """Gives in proportion to how far contributions are above their least.

  It is for the first layer, whose inputs lie in a box; the bias has no part.

  Args:
    layer: the unit.
    low: the least that the inputs may be.
    high: the most.
  """
  # w a - w+ l - w- h = w (a - (l + h) / 2) + |w| (h - l) / 2.
  at = lambda end, a: jnp.broadcast_to(jnp.asarray(end, a.dtype), a.shape)
  off = [a - (at(low, a) + at(high, a)) / 2 for a in layer.inputs]
  half = [(at(high, a) - at(low, a)) / 2 for a in layer.inputs]
  total = layer.weigh(_same)(*off) + layer.weigh(jnp.abs)(*half)
  share = ratio(layer.relevance, total)
  signed = _weighed(layer, _same, share, off)
  absolute = _weighed(layer, jnp.abs, share, half)
  return [a + b for a, b in zip(signed, absolute, strict=True)]


@of_layer
def w_square(layer: Layer) -> Inputs:
  """Gives in proportion to squared coefficients, whatever the inputs are.

  Biases have no part; in zennit they have that of their squares.
  """
  return _by_coefficients(layer, jnp.square)


@of_layer
def flat(layer: Layer) -> Inputs:
  """Gives every input of an output the same."""
  return _by_coefficients(layer, jnp.ones_like)


def stabilised(
  z: Float[Array, '...'], relevance: Float[Array, '...'], epsilon: types.Scalar
) -> Float[Array, '...']:
  """Returns `z + e sign z`, with `sign 0 = 1`.

  Args:
    z: outputs.
    relevance: of them.
    epsilon: `e` over the largest size of an output with relevance: what a mask
      has set to -1e9 has none.
  """
  checks.within('epsilon', epsilon, '[0, inf)')
  largest = jnp.max(jnp.where(relevance == 0, 0, jnp.abs(z)), initial=0)
  e = (epsilon * largest).astype(z.dtype)
  return z + jnp.where(z < 0, -e, e)


def ratio(
  relevance: Float[Array, '...'], z: Float[Array, '...']
) -> Float[Array, '...']:
  """Returns relevance over outputs, nothing where these are zero."""
  return relevance / jnp.where(z == 0, jnp.inf, z)


def _same(coefficients):
  return coefficients


def _weighed(layer, modify, share, factors):
  """Returns `factors_i sum_j modify(w_ij) share_j`."""
  back = jax.linear_transpose(layer.weigh(modify), *layer.inputs)
  return [a * g for a, g in zip(factors, back(share), strict=True)]


def _by_sign(layer, of_positive, of_negative):
  """Returns `sum_j p_ij of_positive_j + n_ij of_negative_j`."""
  # p = (w a + |w| |a|) / 2 and n = (w a - |w| |a|) / 2.
  signed = _weighed(layer, _same, (of_positive + of_negative) / 2, layer.inputs)
  sizes = [jnp.abs(a) for a in layer.inputs]
  absolute = _weighed(layer, jnp.abs, (of_positive - of_negative) / 2, sizes)
  return [a + b for a, b in zip(signed, absolute, strict=True)]


def _sums(layer):
  """Returns `P` and `N`, each with its part of the bias."""
  signed = layer.weigh(_same)(*layer.inputs)
  absolute = layer.weigh(jnp.abs)(*(jnp.abs(a) for a in layer.inputs))
  bias = layer.output - signed
  positive = (signed + absolute) / 2 + jnp.maximum(bias, 0)
  negative = (signed - absolute) / 2 + jnp.minimum(bias, 0)
  return positive, negative


def _by_coefficients(layer, modify):
  ones = [jnp.ones_like(a) for a in layer.inputs]
  share = ratio(layer.relevance, layer.weigh(modify)(*ones))
  return _weighed(layer, modify, share, ones)
