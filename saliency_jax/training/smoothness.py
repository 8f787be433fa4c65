"""Penalties without an attack: small, or steady, gradients of the loss.

With `l(x)` the cross-entropy,

    input_gradient:  lam |grad l(x)|^2                     (double backprop)
    curvature:       lam |grad l(x + h z) - grad l(x)|^2   (CURE)

`z` the signs of `grad l(x)` at unit L2 norm. Neither needs more than three
gradients, where an attack needs dozens.

References:
  Drucker and LeCun, Improving generalization performance using double
  backpropagation, 1992. https://doi.org/10.1109/72.165600
  Ross and Doshi-Velez, Improving the adversarial robustness and
  interpretability of deep neural networks by regularizing their input
  gradients, 2018. https://arxiv.org/abs/1711.09404
  Moosavi-Dezfooli et al., Robustness via curvature regularization, and vice
  versa, 2019. https://arxiv.org/abs/1811.09716
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax.core import checks
from saliency_jax.core import classes
from saliency_jax.core import examples
from saliency_jax.core import types
from saliency_jax.training import losses


def input_gradient(
  apply: types.Apply,
  params: Any,
  x: Float[Array, '...'],
  label: Int[Array, ''],
  key: Key[Array, ''],
  *,
  lam: types.Scalar,
) -> losses.Terms:
  """Returns the cross-entropy, and the squared norm of its input gradient.

  Args:
    apply: maps `(params, x)` to logits.
    params: of the network.
    x: the example.
    label: its class.
    key: not used.
    lam: weight of the penalty, at least 0.
  """
  del key  # Nothing is drawn.
  x = examples.floats(x)
  grad, logits = _loss_gradient(apply, params, label)(x)
  return losses.terms(logits, label, penalty=jnp.sum(grad**2), weight=lam)


def curvature(
  apply: types.Apply,
  params: Any,
  x: Float[Array, '...'],
  label: Int[Array, ''],
  key: Key[Array, ''],
  *,
  lam: types.Scalar = 4.0,
  h: types.Scalar = 1.5,
) -> losses.Terms:
  """Returns the cross-entropy, and how its gradient turns along its signs.

  Args:
    apply: maps `(params, x)` to logits.
    params: of the network.
    x: the example.
    label: its class.
    key: not used.
    lam: weight of the penalty, at least 0.
    h: length of the step, in units of `x`.
  """
  del key  # Nothing is drawn.
  x = examples.floats(x)
  checks.within('h', h, '(0, inf)')
  gradient = _loss_gradient(apply, params, label)
  grad, logits = gradient(x)
  signs = jnp.sign(jax.lax.stop_gradient(grad))
  norm = jnp.linalg.norm(signs.ravel())
  z = signs / jnp.where(norm > 0, norm, 1)
  ahead, _ = gradient(x + jnp.asarray(h, x.dtype) * z)
  turned = jnp.sum((ahead - grad) ** 2)
  return losses.terms(logits, label, penalty=turned, weight=lam)


def _loss_gradient(apply, params, label):
  def loss(x):
    logits = apply(params, x)
    return -classes.at(jax.nn.log_softmax(logits), label), logits

  return jax.grad(loss, has_aux=True)
