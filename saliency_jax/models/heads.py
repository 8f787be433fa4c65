"""Linear heads on a network's outputs: of an embedding, scores of classes.

With embeddings `e(x)` of length one, the head whose columns are embeddings too
has the cosines for logits: `similarity` is one such column, and several, one a
description of a class, make a classifier that nothing was fitted for.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer, Num
import numpy as np
import optax

from saliency_jax.models import types


def attach(
  model: types.Model,
  kernel: Num[Array | np.ndarray, 'd k'],
  bias: Num[Array | np.ndarray, ' m'] | None = None,
  *,
  class_names: tuple[str, ...] = (),
) -> types.Model:
  """Returns the model whose logits are `apply(params, x) @ kernel + bias`.

  Args:
    model: the network.
    kernel: of the head.
    bias: of the head; `None` is zero.
    class_names: one name a column, or none.

  Raises:
    ValueError: if kernel, bias and names do not fit together.
  """
  dtype = jnp.result_type(*jax.tree.leaves(model.params))
  kernel = jnp.asarray(kernel, dtype)
  num = kernel.shape[1]
  bias = jnp.zeros(num, dtype) if bias is None else jnp.asarray(bias, dtype)
  if bias.shape != (num,) or len(class_names) not in (0, num):
    raise ValueError(
      f'a kernel of {num} classes has a bias of shape {bias.shape} and '
      f'{len(class_names)} class_names'
    )

  def apply(params, x):
    head = params['head']
    embedding = model.apply(params['network'], x)
    return embedding @ head['kernel'] + head['bias']

  spec = model.spec._replace(
    class_names=class_names,
    layers=(*(f'network/{path}' for path in model.spec.layers), 'head'),
  )
  params = {'network': model.params, 'head': {'kernel': kernel, 'bias': bias}}
  return types.Model(apply, params, spec)


def similarity(
  model: types.Model, *others: Any, class_names: tuple[str, ...] = ()
) -> types.Model:
  """Returns the model of one logit for each other example: its similarity.

  Args:
    model: its outputs are embeddings of length one.
    *others: examples, each of its own shape.
    class_names: one name each, or none.
  """
  columns = [model.apply(model.params, x) for x in others]
  return attach(model, jnp.stack(columns, 1), class_names=class_names)


def fit(
  model: types.Model,
  xs: Any,
  labels: Integer[Array | np.ndarray, ' n'] | Sequence[int],
  *,
  weight_decay: float = 1e-3,
  num_steps: int = 300,
  learning_rate: float = 0.3,
  class_names: tuple[str, ...] = (),
) -> types.Model:
  """Fits a head to embeddings: logistic regression, by Adam from zero.

  The kernel minimises the mean cross-entropy plus `weight_decay |kernel|^2 / 2`
  up to what is left after `num_steps`, a convex problem.

  Args:
    model: the network, which stays as it is.
    xs: examples, along a leading axis.
    labels: from 0.
    weight_decay: of the kernel.
    num_steps: of Adam, each with all examples.
    learning_rate: its first, which falls to zero along a cosine.
    class_names: one name a class, or none.

  Raises:
    ValueError: for labels below zero, or not one an example.
  """
  labels = np.asarray(labels, np.int32)
  values = jax.vmap(model.apply, (None, 0))(model.params, xs)
  if labels.shape != values.shape[:1] or labels.min(initial=0) < 0:
    raise ValueError(
      f'expected {len(values)} labels from 0, got shape {labels.shape}, from '
      f'{labels.min(initial=0)}'
    )
  num = len(class_names) or int(labels.max(initial=0)) + 1
  schedule = optax.cosine_decay_schedule(learning_rate, num_steps)
  optimizer = optax.adam(schedule)

  def loss(head):
    logits = values @ head['kernel'] + head['bias'][None]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.mean(losses) + weight_decay * jnp.sum(head['kernel'] ** 2) / 2

  def step(carry, _):
    head, state = carry
    updates, state = optimizer.update(jax.grad(loss)(head), state, head)
    return (optax.apply_updates(head, updates), state), None

  head = {
    'kernel': jnp.zeros((values.shape[1], num), values.dtype),
    'bias': jnp.zeros(num, values.dtype),
  }
  # optax mixes Python and array scalars, which strict promotion refuses.
  with jax.numpy_dtype_promotion('standard'):
    start = (head, optimizer.init(head))
    (head, _), _ = jax.lax.scan(step, start, length=num_steps)
  return attach(model, head['kernel'], head['bias'], class_names=class_names)
