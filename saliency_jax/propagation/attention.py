"""Composites of layer-wise relevance propagation for transformers.

With plain rules much of the relevance of a transformer is lost, or blown up, in
its norms and softmaxes. Both composites take the deviation that a norm divides
by for a constant, which leaves it linear, and differ in attention, `O = A V`
with weights `A = softmax(x)`:

  `attn_lrp`  gives half to `A` and half to `V`, and by the softmax
              `x_i (R_i - s_i sum_j R_j)` to the logits;
  `cp_lrp`    takes `A` for a constant, and `V` gets all.

Gates, and other products of two factors, give half to each; activations pass
relevance. Nothing is looked up by a name: a softmax divides exponentials by
their sum, and a deviation is a square root.

References:
  Achtibat et al., AttnLRP: attention-aware layer-wise relevance propagation for
  transformers, 2024. https://arxiv.org/abs/2402.05602
  Ali et al., XAI for transformers: better explanations through conservative
  propagation, 2022. https://arxiv.org/abs/2202.07304
"""

from jax.extend import core

from saliency_jax.core import tapes
from saliency_jax.core import types
from saliency_jax.core import units
from saliency_jax.propagation import composites
from saliency_jax.propagation import nonlinear


def attn_lrp(
  place: composites.Place, *, epsilon: types.Scalar = 1e-6
) -> tapes.Rule:
  """AttnLRP: attention weights and values have half of the relevance each.

  The mean that a norm takes off stays a part of it, as in the authors' code:
  nothing is absorbed there.
  """
  if _is_root(composites.equation_at(place).eqn):
    return nonlinear.constant
  return composites.epsilon(place, epsilon=epsilon)


def cp_lrp(
  place: composites.Place, *, epsilon: types.Scalar = 1e-6
) -> tapes.Rule:
  """CP-LRP: attention weights are constants, and values get all."""
  if composites.equation_at(place).eqn.primitive.name == units.SOFTMAX:
    return nonlinear.constant
  return attn_lrp(place, epsilon=epsilon)


def _is_root(eqn):
  """Returns whether an equation is a square root, or one over it."""
  if eqn.primitive.name == 'pow':
    power = eqn.invars[1]
    return isinstance(power, core.Literal) and abs(power.val) == 0.5
  return eqn.primitive.name in ('sqrt', 'rsqrt')
