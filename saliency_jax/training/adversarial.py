"""Training against attacks: on the map of an example, and on its class.

With `u(x) = |m(x)| / |m(x)|_2`, the map `m` of the largest logit at unit norm,
and `x~` the neighbour that the attack on maps finds for the current network,

    min_params E[ CE(x) + lam mean_i (u(x~) - u(x))_i^2 ]   (4.1)

Both maps are differentiated in the parameters, the attack is not. An example
for which no neighbour of its class is found adds nothing to the second term,
whose mean is over all examples. `classification` is what the paper compares
with: the cross-entropy at the neighbour that makes it largest (Madry et al.).

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
  Madry et al., Towards deep learning models resistant to adversarial attacks,
  2018. https://arxiv.org/abs/1706.06083
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax import attacks
from saliency_jax import transforms
from saliency_jax.attacks import balls
from saliency_jax.core import classes
from saliency_jax.core import examples
from saliency_jax.core import types
from saliency_jax.gradients import gradient
from saliency_jax.training import losses

# The attack of the paper's training on MNIST.
_attack = functools.partial(
  attacks.top_k_attack, num_restarts=3, num_steps=15, batch_size=None
)


def interpretation(
  apply: types.Apply,
  params: Any,
  x: Float[Array, '...'],
  label: Int[Array, ''],
  key: Key[Array, ''],
  *,
  lam: types.Scalar,
  rho: types.Scalar,
  method: types.Method = gradient.gradient,
  attack: Callable[..., attacks.Adversary] = _attack,
) -> losses.Terms:
  """Returns the cross-entropy, and how far an attack moves the map.

  Args:
    apply: maps `(params, x)` to logits, twice differentiable in `x`.
    params: of the network.
    x: the example.
    label: its class.
    key: consumed by the attack.
    lam: weight of the penalty, at least 0; the paper's are 0 to 1000.
    rho: radius of the attack, in units of `x`; the paper's is 3.08 on MNIST.
    method: makes the map, and is differentiated; it gets no key.
    attack: `(logits_fn, x, *, rho, key, method) -> Adversary`.
  """
  x = examples.floats(x)
  fixed = jax.lax.stop_gradient(params)
  adversary = attack(
    functools.partial(apply, fixed),
    x,
    rho=rho,
    key=key,
    method=transforms.absolute(method),
  )
  logits = apply(params, x)
  # The neighbour has the class of the example.
  top = jnp.argmax(logits)

  def u(point):
    fn = lambda x: apply(params, x)[top]
    return balls.l2.steepest(jnp.abs(method(fn, point, key=None).scores))

  neighbour = jax.lax.stop_gradient(adversary.x)
  moved = jnp.mean((u(neighbour) - u(x)) ** 2)
  return losses.terms(
    logits, label, penalty=moved, weight=lam, feasible=adversary.feasible
  )


def classification(
  apply: types.Apply,
  params: Any,
  x: Float[Array, '...'],
  label: Int[Array, ''],
  key: Key[Array, ''],
  *,
  rho: types.Scalar,
  num_steps: int = 40,
  box: Sequence[float | int] | None = (0, 1),
) -> losses.Terms:
  """Returns the cross-entropy where L2 PGD makes it large.

  Args:
    apply: maps `(params, x)` to logits.
    params: of the network.
    x: the example.
    label: its class.
    key: consumed by the attack.
    rho: radius, in units of `x`.
    num_steps: of the attack.
    box: least and largest value of an entry; `None` for no box.

  Returns:
    `Terms`, with the rise of the cross-entropy as the penalty.
  """
  x = examples.floats(x)
  fixed = jax.lax.stop_gradient(params)
  loss = lambda params, x: (
    -classes.at(jax.nn.log_softmax(apply(params, x)), label)
  )
  adversary = attacks.pgd(
    functools.partial(loss, fixed),
    x,
    rho=rho,
    key=key,
    num_steps=num_steps,
    box=box,
  )
  logits = apply(params, x)
  clean = -classes.at(jax.nn.log_softmax(logits), label)
  attacked = loss(params, jax.lax.stop_gradient(adversary.x))
  terms = losses.terms(logits, label, penalty=attacked - clean)
  return terms._replace(loss=attacked)
