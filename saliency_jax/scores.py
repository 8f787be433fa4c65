"""What is explained: one number made of a classifier's logits.

A score closes over a classifier, its parameters and a class, and leaves a
function of one example: `scores.prob(apply, params, label)(x)`. A label out of
range raises where it is known while tracing, and gives NaN where it is not.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int
import numpy as np

from saliency_jax.core import host
from saliency_jax.core import types

from_host = host.from_host

Label = int | Int[Array, ''] | np.integer


def logit(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> z_c`, the logit of class `c = label`."""
  return lambda x: _at(apply(params, x), label)


def max_logit(
  apply: types.Apply, params: Any, label: Label | None = None
) -> types.ScoreFn:
  """Returns `x -> max_j z_j`, of whatever class that is at `x`."""
  del label
  return lambda x: jnp.max(apply(params, x))


def prob(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> softmax(z)_c`, the probability of class `c = label`."""
  return lambda x: _at(jax.nn.softmax(apply(params, x)), label)


def log_prob(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> log softmax(z)_c`, the log-probability of `c = label`."""
  return lambda x: _at(jax.nn.log_softmax(apply(params, x)), label)


def margin(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> z_c - max_{j != c} z_j`: positive while `c` is predicted."""

  def fn(x):
    z = apply(params, x)
    others = jnp.where(jnp.arange(z.size) == label, -jnp.inf, z)
    return _at(z, label) - jnp.max(others)

  return fn


def margins(apply: types.Apply, params: Any, label: Label) -> types.MarginsFn:
  """Returns `x -> z_c - z_j` for every other class `j`, of logits."""
  return lambda x: _against(apply(params, x), label)


def prob_margins(
  apply: types.Apply, params: Any, label: Label
) -> types.MarginsFn:
  """Returns `x -> p_c - p_j` for every other class `j`, of probabilities."""
  return lambda x: _against(jax.nn.softmax(apply(params, x)), label)


def loss(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> -log softmax(z)_c`, the cross-entropy at `c = label`."""
  log_prob_fn = log_prob(apply, params, label)
  return lambda x: -log_prob_fn(x)


def predict(
  apply: types.Apply, params: Any, x: types.Example
) -> Int[Array, '']:
  """Returns the class of the largest logit: the decision being explained."""
  return jnp.argmax(apply(params, x)).astype(jnp.int32)


def _at(values: Array, label: Label) -> Array:
  if values.ndim != 1:
    raise ValueError(f'expected logits [k] of one example, got {values.shape}')
  if isinstance(label, int | np.integer) and not 0 <= label < values.size:
    raise ValueError(f'label {label} is not one of {values.size} classes')
  return values.at[label].get(
    mode='fill', fill_value=jnp.nan, wrap_negative_indices=False
  )


def _against(values: Array, label: Label) -> Array:
  """Returns `values[label] - values[j]` for all other `j`, from the next on."""
  own, k = _at(values, label), values.size
  label = jnp.asarray(label, jnp.int32)
  return own[None] - values[(label + jnp.arange(1, k, dtype=jnp.int32)) % k]
