"""From a method to a compiled program over a batch and over all devices.

This is the one place of `jit`, `vmap` and `shard_map`: a method explains one
example, a classifier maps one example to logits, and a score says which number
is explained. Build a program once, and call it with every batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from saliency_jax import scores
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

  `explain` takes a batch of examples `[n, *x]`, their classes `[n]` (`None`
  explains what the classifier predicts) and one key an example `[n]` (`None`
  suits methods that draw nothing). Results do not depend on the mesh. Any `n`
  works; one that is no multiple of the number of devices is filled up.

  Args:
    method: explains one example, with its settings bound.
    apply: maps `(params, x)` to the logits of one example.
    score: makes the function to explain of `(apply, params, label)`.
    mesh: devices to spread the batch over, along all of its axes (of type
      `Auto`); `None` stays on one.

  Raises:
    ValueError: for a mesh with other axes, labels or keys of another length,
      or an empty batch.
  """
  if mesh is not None and set(mesh.axis_types) != {jax.sharding.AxisType.Auto}:
    raise ValueError(
      f'expected a mesh with axes of type Auto, got {mesh.axis_types}'
    )

  def explain_one(params, x, label, key):
    label = scores.predict(apply, params, x) if label is None else label
    return method(score(apply, params, label), x, key=key)

  def explain_batch(params, batch):
    xs, labels, keys = batch
    axes = (None, 0, *(None if a is None else 0 for a in (labels, keys)))
    return jax.vmap(explain_one, in_axes=axes)(params, xs, labels, keys)

  def explain(
    params: Any,
    xs: types.Example,
    labels: Array | None = None,
    keys: Array | None = None,
  ) -> types.Attribution:
    n = _batch_length(xs, labels, keys)
    batch = (xs, labels, keys)
    if mesh is None:
      return explain_batch(params, batch)
    whole = -(-n // mesh.size) * mesh.size
    if whole != n:
      rows = jnp.minimum(jnp.arange(whole), n - 1)
      batch = jax.tree.map(lambda a: a[rows], batch)
    data = jax.P(mesh.axis_names)
    # The check of replication would sum gradients at values that do not vary
    # over the mesh (a constant baseline, a mask) over the devices.
    out = jax.shard_map(
      explain_batch,
      mesh=mesh,
      in_specs=(jax.P(), data),
      out_specs=data,
      check_vma=False,
    )(params, batch)
    return out if whole == n else jax.tree.map(lambda a: a[:n], out)

  return jax.jit(explain)


def _batch_length(xs, labels, keys):
  lengths = {a.shape[0] if a.ndim else 0 for a in jax.tree.leaves(xs)}
  if len(lengths) != 1 or 0 in lengths:
    shapes = jax.tree.map(jnp.shape, xs)
    raise ValueError(f'expected a batch of examples [n, *x], got {shapes}')
  (n,) = lengths
  for name, values in (('labels', labels), ('keys', keys)):
    if values is not None and values.shape != (n,):
      raise ValueError(
        f'expected one of {name} for each of {n} examples, got {values.shape}'
      )
  return n
