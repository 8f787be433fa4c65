"""Losses that train for certificates: of boxes, and of smoothed classifiers.

`interval_bounds` mixes the cross-entropy of an example with its bound over the
box of radius `eps` about it,

    kappa CE(x) + (1 - kappa) log(1 + sum_j exp(-low_j)),

`low_j` a number that the margin against class j nowhere in the box falls below,
by intervals of all values. The second part is the cross-entropy of logits that
are the worst in the box, those of the class against those of all others at
once. `eps` and `kappa` are ramped up over the training, which fails otherwise:
see `experiments/training/recipes.py`.

`smoothed` trains `mean_i softmax f(x + sigma z_i)`, what randomised smoothing
and smoothed maps are made of, at the example or at the neighbour that makes its
cross-entropy large.

Linear bounds in the place of intervals (CROWN-IBP, Zhang et al., 2020) are not
offered. A step for a network of one hidden layer took 95 times as long as a
plain one with them, in float32 on two busy cores, against 3 times with
intervals, and 43 s to compile.

References:
  Gowal et al., On the effectiveness of interval bound propagation for training
  verifiably robust models, 2018. https://arxiv.org/abs/1810.12715
  Cohen, Rosenfeld and Kolter, Certified adversarial robustness via randomized
  smoothing, 2019. https://arxiv.org/abs/1902.02918
  Salman et al., Provably robust deep learning via adversarially trained
  smoothed classifiers, 2019. https://arxiv.org/abs/1906.04584
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax import attacks
from saliency_jax import scores
from saliency_jax.core import checks
from saliency_jax.core import classes
from saliency_jax.core import examples
from saliency_jax.core import intervals
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.training import losses


def interval_bounds(
  apply: types.Apply,
  params: Any,
  x: Float[Array, '...'],
  label: Int[Array, ''],
  key: Key[Array, ''],
  *,
  eps: types.Scalar,
  kappa: types.Scalar = 0.5,
  box: Sequence[float | int] | None = (0, 1),
) -> losses.Terms:
  """Returns the cross-entropy, mixed with its bound over a box.

  Args:
    apply: maps `(params, x)` to logits, by what `core.intervals` has rules for.
    params: of the network.
    x: the example.
    label: its class.
    key: not used.
    eps: how far each entry may move, in units of `x`, at least 0.
    kappa: weight of the cross-entropy at the example, in [0, 1]; the bound's is
      `1 - kappa`.
    box: least and largest value of an entry; `None` for no box.

  Returns:
    `Terms`, with the bound of the cross-entropy as the penalty.

  Raises:
    ValueError: for a primitive that intervals do not know, by its name.
  """
  del key  # Nothing is drawn.
  x = examples.floats(x)
  checks.within('eps', eps, '[0, inf)')
  checks.within('kappa', kappa, '[0, 1]')
  around = intervals.around(x, jnp.asarray(eps, x.dtype))
  if box is not None:
    around = intervals.Interval(*(jnp.clip(end, *box) for end in around))
  # Of margins, whose last layer is subtracted before it is bounded.
  low = intervals.bounds(scores.margins(apply, params, label), around).low
  bound = jax.nn.logsumexp(jnp.append(-low, jnp.zeros((), low.dtype)))
  terms = losses.terms(apply(params, x), label, penalty=bound)
  kappa = jnp.asarray(kappa, bound.dtype)
  mixed = kappa * terms.cross_entropy + (1 - kappa) * bound
  return terms._replace(loss=mixed)


def smoothed(
  apply: types.Apply,
  params: Any,
  x: Float[Array, '...'],
  label: Int[Array, ''],
  key: Key[Array, ''],
  *,
  sigma: types.Scalar,
  rho: types.Scalar | None = None,
  num_samples: int = 2,
  num_steps: int = 2,
) -> losses.Terms:
  """Returns the cross-entropy under noise, where an attack makes it large.

  The attack climbs the cross-entropy of the mean probability of a few draws,
  and the loss is the mean of their own, at the same draws, as Salman et al.
  have it.

  Args:
    apply: maps `(params, x)` to logits.
    params: of the network.
    x: the example.
    label: its class.
    key: of the noise and of the attack; consumed.
    sigma: deviation of the noise, in units of `x`.
    rho: radius of the attack, in units of `x`; `None` trains under noise alone.
    num_samples: draws of noise.
    num_steps: of the attack.

  Returns:
    `Terms`, with the rise from the cross-entropy at the example as the penalty.
  """
  x = examples.floats(x)
  checks.within('sigma', sigma, '(0, inf)')
  checks.count('num_samples', num_samples)

  def log_probs(params, point):
    """Returns the logarithm of the label's probability at each draw."""

    def at(i):
      z = sampling.normal(sampling.draw_key(key, i), x)
      logits = apply(params, point + jnp.asarray(sigma, x.dtype) * z)
      return classes.at(jax.nn.log_softmax(logits), label)

    return jax.vmap(at)(jnp.arange(num_samples))

  point, fixed = x, jax.lax.stop_gradient(params)
  if rho is not None:
    # The mean probability, but for a constant.
    mean = lambda point: -jax.nn.logsumexp(log_probs(fixed, point))
    point = attacks.pgd(
      mean,
      x,
      rho=rho,
      key=sampling.key_for(key, sampling.ATTACK, num_samples),
      box=None,
      num_steps=num_steps,
      from_example=True,
    ).x
  noisy = -jnp.mean(log_probs(params, jax.lax.stop_gradient(point)))
  terms = losses.terms(apply(params, x), label)
  rise = noisy - terms.cross_entropy
  return terms._replace(loss=noisy, penalty=rise)
