"""The step of training: sums over a batch, their mean, one update.

    params <- params + update( sum_i w_i grad loss_i / sum_i w_i )

Sums of the parts of a batch add up, and that is all that devices, processes and
accumulation need to know: each makes a function `(params, batch, key) -> Sums`
of another one. Example i of a batch draws from `fold_in(key_of_step, index_i)`,
wherever it lies.
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import optax

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.training import augmentation
from saliency_jax.training import losses


class Batch(NamedTuple):
  """Examples that make one update.

  Attributes:
    x: the examples.
    label: their classes.
    index: the place of each in the batch, which names its draws.
    weight: 1, or 0 for what only fills up the batch.
  """

  x: Any
  label: Int[Array, 'n']
  index: Int[Array, 'n']
  weight: Float[Array, 'n']


class State(NamedTuple):
  """What training carries from step to step.

  Attributes:
    step: updates done.
    params: of the network.
    optimizer: the optimiser's own state.
  """

  step: Int[Array, '']
  params: Any
  optimizer: Any


class Sums(NamedTuple):
  """Sums over examples: the sums of two parts of a batch add up.

  Attributes:
    weight: of the examples.
    terms: of the loss.
    grads: of the loss in the parameters.
    statistics: of a network with batch normalisation, the batch's, times
      the weight.
  """

  weight: Float[Array, '']
  terms: losses.Terms
  grads: Any
  statistics: Any = ()


class Metrics(NamedTuple):
  """Means over the batch of a step, before its update; see `losses.Terms`.

  Attributes:
    loss: what is minimised.
    cross_entropy: at the examples.
    penalty: over all examples, before its weight.
    accuracy: part of the examples that are put into their class.
    feasible: part for which the penalty counts.
    grad_norm: L2 norm of the mean gradient.
  """

  loss: Float[Array, '']
  cross_entropy: Float[Array, '']
  penalty: Float[Array, '']
  accuracy: Float[Array, '']
  feasible: Float[Array, '']
  grad_norm: Float[Array, '']


# `(params, batch, key) -> Sums`.
Total = Callable[[Any, Batch, Key[Array, '']], Sums]


def init(params: Any, optimizer: optax.GradientTransformation) -> State:
  """Returns the state before the first step."""
  # optax mixes Python and array scalars, which strict promotion refuses.
  with jax.numpy_dtype_promotion('standard'):
    return State(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def total(
  loss: losses.Loss,
  apply: types.Apply,
  *,
  augment: augmentation.Augment | None = None,
  statistics: types.Statistics | None = None,
) -> Total:
  """Returns the function that sums a loss and its gradient over a batch.

  Args:
    loss: of one example, with its settings bound.
    apply: maps `(params, x)` to logits.
    augment: changes each example before all else; `None` changes nothing.
    statistics: of a network with batch normalisation: all that the loss asks of
      the network, its maps and attacks too, is normalised by the statistics of
      the batch, which are differentiated in the parameters. `None` takes the
      parameters as they are.
  """

  measured = measure(loss, apply)

  def sums(params, batch, key):
    if augment is not None:
      xs = augmentation.applied(augment, batch.x, _keys(batch, key))
      batch = batch._replace(x=xs)

    def objective(params):
      found = ()
      if statistics is not None:
        found = statistics.of_batch(params, batch.x, batch.weight)
        params = statistics.write(params, found)
      sums = measured(params, batch, key)
      found = jax.tree.map(lambda a: sums.weight * a, found)
      return sums.terms.loss, sums._replace(statistics=found)

    grads, sums = jax.grad(objective, has_aux=True)(params)
    return sums._replace(grads=grads)

  return sums


def measure(loss: losses.Loss, apply: types.Apply) -> Total:
  """Returns the function that sums a loss over a batch, without its gradient.

  Args:
    loss: of one example, with its settings bound.
    apply: maps `(params, x)` to logits.
  """

  def sums(params, batch, key):
    one = functools.partial(loss, apply, params)
    terms = jax.vmap(one)(batch.x, batch.label, _keys(batch, key))
    terms = jax.tree.map(lambda t: jnp.sum(batch.weight * t), terms)
    return Sums(jnp.sum(batch.weight), terms, ())

  return sums


def _keys(batch, key):
  """Returns the key of each example, by its place in the whole batch."""
  return jax.vmap(functools.partial(sampling.draw_key, key))(batch.index)


def accumulate(total: Total, num_parts: int) -> Total:
  """Returns `total`, taken of the parts of a batch in turn: less memory.

  Args:
    total: sums over a batch.
    num_parts: divides the number of examples.

  Raises:
    ValueError: if it does not.
  """
  checks.count('num_parts', num_parts)
  if num_parts == 1:
    return total

  def sums(params, batch, key):
    n = batch.label.shape[0]
    if n % num_parts:
      raise ValueError(
        f'expected a batch of a multiple of {num_parts} examples, got {n}'
      )
    parts = jax.tree.map(
      lambda a: a.reshape(num_parts, n // num_parts, *a.shape[1:]), batch
    )

    def add(carry, part):
      sums = examples.wide(total(params, part, key))
      return jax.tree.map(jnp.add, carry, sums), None

    first = jax.tree.map(lambda a: a[0], parts)
    shapes = jax.eval_shape(total, params, first, key)
    zeros = examples.wide(
      jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    )
    return examples.like(jax.lax.scan(add, zeros, parts)[0], shapes)

  return sums


def step(
  total: Total,
  optimizer: optax.GradientTransformation,
  state: State,
  batch: Batch,
  key: Key[Array, ''],
  *,
  statistics: types.Statistics | None = None,
) -> tuple[State, Metrics]:
  """Makes one update.

  Bind the first two arguments, and jit the rest:
  `jax.jit(functools.partial(step, total, optimizer))`.

  Args:
    total: sums over a batch.
    optimizer: any optax transformation.
    state: before the step.
    batch: of the step.
    key: of the whole training; a step has the key of draw `state.step`.
    statistics: those that `total` was given: the running ones move towards the
      batch's, by their momentum and not by the optimiser.

  Returns:
    The state after the step, and the means of its batch.
  """
  sums = total(state.params, batch, sampling.draw_key(key, state.step))
  weight = jnp.maximum(sums.weight, 1)
  mean = functools.partial(jax.tree.map, lambda a: a / weight.astype(a.dtype))
  grads, terms = mean(sums.grads), mean(sums.terms)
  with jax.numpy_dtype_promotion('standard'):
    updates, inner = optimizer.update(grads, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
  if statistics is not None:
    params = statistics.write(
      params,
      jax.tree.map(
        lambda old, new: old + (1 - statistics.momentum) * (new - old),
        statistics.read(state.params),
        mean(sums.statistics),
      ),
    )
  squares = [
    jnp.sum(g.astype(jnp.float32) ** 2) for g in jax.tree.leaves(grads)
  ]
  metrics = Metrics(
    loss=terms.loss,
    cross_entropy=terms.cross_entropy,
    penalty=terms.penalty,
    accuracy=terms.correct,
    feasible=terms.feasible,
    grad_norm=jnp.sqrt(sum(squares)),
  )
  return State(state.step + 1, params, inner), metrics
