"""What a loss is here: the terms of one example.

    loss = -log softmax(apply(params, x))_label + lam penalty

References:
  Micikevicius et al., Mixed precision training, 2018.
  https://arxiv.org/abs/1710.03740
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax.core import checks
from saliency_jax.core import classes
from saliency_jax.core import types


class Terms(NamedTuple):
  """The loss of one example, and what it is made of.

  Attributes:
    loss: what is minimised.
    cross_entropy: at the example itself.
    penalty: what is added to it, before its weight `lam`.
    correct: 1 where the example is put into its class, else 0.
    feasible: 1 where the penalty counts, 0 where an attack found no neighbour.
  """

  loss: Float[Array, '']
  cross_entropy: Float[Array, '']
  penalty: Float[Array, '']
  correct: Float[Array, '']
  feasible: Float[Array, '']


# `(apply, params, x, label, key) -> Terms`, with all settings bound.
Loss = Callable[..., Terms]


def terms(
  logits: Float[Array, 'k'],
  label: Int[Array, ''],
  *,
  penalty: Float[Array, ''] | None = None,
  weight: types.Scalar = 1,
  feasible: Array | bool = True,
) -> Terms:
  """Returns the terms of one example; no penalty counts where none is found.

  Args:
    logits: of the example.
    label: its class.
    penalty: added to the cross-entropy; `None` adds nothing.
    weight: of the penalty, at least 0.
    feasible: whether the penalty counts.
  """
  checks.within('lam', weight, '[0, inf)')
  cross_entropy = -classes.at(jax.nn.log_softmax(logits), label)
  penalty = jnp.zeros((), logits.dtype) if penalty is None else penalty
  penalty = jnp.where(feasible, penalty, 0)
  return Terms(
    loss=cross_entropy + jnp.asarray(weight, logits.dtype) * penalty,
    cross_entropy=cross_entropy,
    penalty=penalty,
    correct=(jnp.argmax(logits) == label).astype(logits.dtype),
    feasible=jnp.asarray(feasible, logits.dtype),
  )


def plain(
  apply: types.Apply,
  params: Any,
  x: types.Example,
  label: Int[Array, ''],
  key: Key[Array, ''],
) -> Terms:
  """Returns the cross-entropy of one example.

  Args:
    apply: maps `(params, x)` to logits.
    params: of the network.
    x: the example.
    label: its class.
    key: not used.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from saliency_jax import training
    >>> apply = lambda params, x: params @ x
    >>> found = training.plain(
    ...   apply, jnp.zeros((4, 2)), jnp.ones(2), jnp.array(1), jax.random.key(0)
    ... )
    >>> f'{found.loss:.3f}'  # The logarithm of 4.
    '1.386'
  """
  del key  # Nothing is drawn.
  return terms(apply(params, x), label)


def compute_in(apply: types.Apply, dtype: Any) -> types.Apply:
  """Returns `apply`, computed in another precision: mixed precision training.

  Parameters, logits, losses and updates keep their own precision. bfloat16 has
  the range of float32, so that losses need no scale; float16 has not.

  Args:
    apply: maps `(params, x)` to logits.
    dtype: of the parameters and the example inside, such as `jnp.bfloat16`.

  Raises:
    ValueError: `dtype` is no floating type.
  """
  if not jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
    raise ValueError(f'expected a floating dtype, got {jnp.dtype(dtype)}')

  def lower(tree):
    return jax.tree.map(lambda a: a.astype(dtype), tree)

  def lowered(params, x, *more):
    out = apply(lower(params), lower(x), *more)
    return jax.tree.map(lambda a: a.astype(x.dtype), out)

  return lowered
