"""From a method to a compiled program over a batch and over all devices.

A method explains one example, a classifier maps one example to logits, and a
score says which number is explained; `core.batching` spreads them over a batch.
Build a program once, and call it with every batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import scores
from saliency_jax.core import batching
from saliency_jax.core import classes
from saliency_jax.core import host
from saliency_jax.core import types

# `scores.prob` and its like: a classifier, parameters and a class in, the
# function to explain out.
Score = Callable[[types.Apply, Any, Any], Callable[[types.Example], Any]]


def build(
  method: types.Method,
  apply: types.Apply,
  score: Score = scores.logit,
  *,
  mesh: jax.sharding.Mesh | None = None,
) -> Callable[..., types.Attribution]:
  """Returns `explain(params, xs, labels=None, keys=None)`, jitted.

  `explain` takes a batch of examples `[n, *x]`, their classes `[n]` or one for
  all (`None` explains what the classifier predicts), and one key an example
  `[n]` (`None` suits methods that draw nothing). Results do not depend on the
  mesh. Any `n` works; one that is no multiple of the number of devices is
  filled up. Like any jitted function it has `.trace` and `.lower`.

  Args:
    method: explains one example, with its settings bound.
    apply: maps `(params, x)` to the logits of one example.
    score: makes the function to explain of `(apply, params, label)`.
    mesh: devices to spread the batch over, along all of its axes (of type
      `Auto`); `None` stays on one.

  Raises:
    ValueError: for a mesh with other axes, labels or keys of another length or
      kind, a label that is no class, one example instead of a batch, or none.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> from saliency_jax import explainer
    >>> apply = lambda params, x: params @ x  # Logits of three classes.
    >>> explain = explainer.build(saliency_jax.gradient, apply)
    >>> maps, info = explain(jnp.eye(3, 4), jnp.ones((2, 4)), labels=1)
    >>> print(maps)
    [[0. 1. 0. 0.]
     [0. 1. 0. 0.]]
  """
  counts = {}  # Of classes, as tracing finds them, by the shapes they come of.

  def logits_of(params, x):
    logits = apply(params, x)
    if jnp.ndim(logits) == 1:
      counts[_shapes(params), _shapes(x)] = logits.size
    return logits

  def explain_one(params, x, label, key):
    if label is None:
      label = scores.predict(logits_of, params, x)
    return method(score(logits_of, params, label), x, key=key)

  explain = batching.over_batch(explain_one, mesh)

  def checked(run):
    def call(
      params: Any, xs: Any, labels: Any = None, keys: Any = None, **other: Any
    ):
      if other:
        raise TypeError(
          f'expected params, xs, labels and keys, got {", ".join(other)}; one '
          'key an example is keys=jax.random.split(key, n)'
        )
      if isinstance(xs, list):
        raise ValueError(
          f'expected a batch in one array, got a list of {len(xs)}: pass '
          'jnp.stack(xs); several inputs of a network are a tuple or a dict'
        )
      try:
        n = batching.length(xs)
        labels = _as_labels(labels, n)
        _check_keys(keys, n)
        if labels is not None:
          shapes = _shapes(params), _shapes(jax.tree.map(_first, xs))
          if shapes not in counts:
            explain.trace(params, xs, labels, keys)  # Kept for the call.
          if shapes in counts:
            classes.check(labels, counts[shapes])
        with host.own_errors():
          return run(params, xs, labels, keys)
      except Exception as e:
        if _is_one_example(apply, params, xs):
          shapes = jax.tree.map(jnp.shape, xs)
          raise ValueError(
            f'expected a batch of examples [n, *x], got one of {shapes}: pass '
            'x[None]'
          ) from e
        raise

    return call

  program = checked(explain)
  program.trace, program.lower = checked(explain.trace), checked(explain.lower)
  return program


def _shapes(tree):
  """Returns what tells apart the networks that one function may stand for."""
  return tuple(map(jnp.shape, jax.tree.leaves(tree)))


def _first(a):
  """Returns one example of a batch, by its shape and dtype alone."""
  return jax.ShapeDtypeStruct(jnp.shape(a)[1:], jnp.result_type(a))


def _as_labels(labels, n):
  """Returns the classes `[n]` of a batch, or `None`."""
  if labels is None:
    return None
  if not isinstance(labels, jax.Array | jax.ShapeDtypeStruct):
    labels = classes.numbers(labels)
    labels = np.full(n, labels) if labels.ndim == 0 else labels
  if labels.shape != (n,):
    raise ValueError(
      f'expected one of labels for each of {n} examples, got {labels.shape}'
    )
  return labels


def _check_keys(keys, n):
  if keys is None:
    return
  remedy = f'pass keys=jax.random.split(jax.random.key(seed), {n})'
  dtype = getattr(keys, 'dtype', None)
  if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
    got = f'an array of {dtype}'
    if dtype is None:
      got = ' '.join(repr(keys).split())[:40]
    old = ' (of jax.random.PRNGKey, the old kind)' if dtype == np.uint32 else ''
    raise ValueError(f'expected keys, got {got}{old}: {remedy}')
  if keys.shape != (n,):
    raise ValueError(
      f'expected one of keys for each of {n} examples, got {keys.shape}: '
      f'{remedy}'
    )


def _is_one_example(apply, params, xs):
  """Returns whether the classifier takes `xs` itself, and not its rows."""

  def takes(x):
    try:
      jax.eval_shape(apply, params, x)
    except Exception:
      return False
    return True

  try:
    first = jax.tree.map(_first, xs)
  except (TypeError, ValueError):
    return False
  return not takes(first) and takes(xs)
