"""What is explained: one number made of a classifier's outputs.

A score closes over a classifier, its parameters and a class `c`, and leaves a
function of one example: `scores.prob(apply, params, c)(x)`. With outputs `z`:

| score | number | explains |
|---|---|---|
| `logit` | `z_c` | the evidence for `c` alone |
| `prob` | `p_c = softmax(z)_c` | confidence in `c`: flat near 0 and 1 |
| `log_prob`, `loss` | `log p_c`, `-log p_c` | the same, steep at 0 |
| `log_odds` | `log(p_c / (1 - p_c))` | the same, flat nowhere |
| `margin` | `z_c - max_{j != c} z_j` | the decision: it changes with the sign |
| `margins`, `prob_margins` | `z_c - z_j`, `p_c - p_j` | the same, all classes |
| `contrast` | `p_c - p_o` | why `c`, and not a class `o` |
| `sigmoid` | `sigmoid(z_c)` | one output, or labels that go together |
| `max_logit` | `max_j z_j` | whatever class is on top at `x` |

What is no function of JAX becomes one here: any function of batches by
`from_host`, a module of torch by `from_torch`. Both are called as an `apply`
whose parameters are `None`.

Where the outputs are probabilities already, as a black box's often are, `logit`
takes one of them as it is. A label that is no class raises where it is known;
where it is traced the score is NaN, and so is its gradient.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from saliency_jax.core import classes
from saliency_jax.core import host
from saliency_jax.core import torch_modules
from saliency_jax.core import types

from_host = host.from_host
from_torch = torch_modules.from_torch

Label = classes.Label


def logit(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> z_c`, the logit of class `c = label`.

  Examples:
    >>> import jax.numpy as jnp
    >>> from saliency_jax import scores
    >>> apply = lambda params, x: params @ x
    >>> fn = scores.logit(apply, 2 * jnp.eye(3), 1)
    >>> float(fn(jnp.arange(3.0)))
    2.0
  """
  return lambda x: classes.at(_outputs(apply(params, x)), label)


def max_logit(
  apply: types.Apply, params: Any, label: Label | None = None
) -> types.ScoreFn:
  """Returns `x -> max_j z_j`, of whatever class that is at `x`."""
  del label
  return lambda x: jnp.max(apply(params, x))


def prob(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> softmax(z)_c`, the probability of class `c = label`."""
  return lambda x: classes.at(jax.nn.softmax(_classes(apply(params, x))), label)


def log_prob(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> log softmax(z)_c`, the log-probability of `c = label`."""
  return lambda x: classes.at(
    jax.nn.log_softmax(_classes(apply(params, x))), label
  )


def log_odds(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> log(p_c / (1 - p_c)) = z_c - log sum_{j != c} exp(z_j)`.

  It is made of the logits: of a probability that rounds to 1 it would be lost.
  """

  def fn(x):
    z = _classes(apply(params, x))
    return classes.at(z, label) - jax.nn.logsumexp(_others(z, label))

  return fn


def margin(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> z_c - max_{j != c} z_j`: positive while `c` is predicted."""

  def fn(x):
    z = _classes(apply(params, x))
    return classes.at(z, label) - jnp.max(_others(z, label))

  return fn


def margins(apply: types.Apply, params: Any, label: Label) -> types.MarginsFn:
  """Returns `x -> z_c - z_j` for every other class `j`, of logits."""
  return lambda x: _against(_classes(apply(params, x)), label)


def prob_margins(
  apply: types.Apply, params: Any, label: Label
) -> types.MarginsFn:
  """Returns `x -> p_c - p_j` for every other class `j`, of probabilities."""
  return lambda x: _against(jax.nn.softmax(_classes(apply(params, x))), label)


def loss(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> -log softmax(z)_c`, the cross-entropy at `c = label`."""
  log_prob_fn = log_prob(apply, params, label)
  return lambda x: -log_prob_fn(x)


def contrast(
  apply: types.Apply, params: Any, label: Label, other: Label
) -> types.ScoreFn:
  """Returns `x -> softmax(z)_c - softmax(z)_o`, `c = label` and `o = other`.

  It is equation 1 of LEG (Luo et al. 2021). With `explainer.build`, bind the
  other class: `functools.partial(scores.contrast, other=281)`.
  """

  def fn(x):
    probs = jax.nn.softmax(_classes(apply(params, x)))
    return classes.at(probs, label) - classes.at(probs, other)

  return fn


def sigmoid(apply: types.Apply, params: Any, label: Label) -> types.ScoreFn:
  """Returns `x -> sigmoid(z_c)`, the probability of a label that may be alone.

  It is for classifiers whose labels go together (multi-label), and for
  classifiers of one output, whose only label is 0; the other side of a binary
  decision has the same map with the other sign.
  """
  return lambda x: jax.nn.sigmoid(classes.at(_outputs(apply(params, x)), label))


def predict(
  apply: types.Apply, params: Any, x: types.Example
) -> Int[Array, '']:
  """Returns the class of the largest logit: the decision being explained."""
  return jnp.argmax(apply(params, x)).astype(jnp.int32)


def _outputs(values: Array) -> Array:
  if values.ndim != 1:
    raise ValueError(
      f'expected logits [k] of one example, got {values.shape}: a network of '
      'one number returns z[None], one that keeps a batch of one returns z[0]'
    )
  return values


def _classes(values: Array) -> Array:
  if _outputs(values).size < 2:
    raise ValueError(
      f'expected the logits of two classes or more, got {values.size}: of one '
      'output a softmax is always 1, and there is no other class; use '
      'scores.sigmoid for its probability, or scores.logit'
    )
  return values


def _others(values: Array, label: Label) -> Array:
  """Returns the values with minus infinity in the place of the label's."""
  label = jnp.asarray(label, jnp.int32)
  own = jnp.arange(values.size, dtype=jnp.int32) == label
  return jnp.where(own, -jnp.inf, values)


def _against(values: Array, label: Label) -> Array:
  """Returns `values[label] - values[j]` for all other `j`, from the next on."""
  own, k = classes.at(values, label), values.size
  label = jnp.asarray(label, jnp.int32)
  return own[None] - values[(label + jnp.arange(1, k, dtype=jnp.int32)) % k]
