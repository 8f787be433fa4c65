"""Functions of one example, over a batch and over the devices of a mesh.

Methods, metrics, attacks and classifiers are functions of one example. Here is
the one place that maps them over a batch, spreads the batch over devices and
compiles the whole; nothing that is mapped knows of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Int
import numpy as np


def over_batch(
  fn: Callable[..., Any], mesh: jax.sharding.Mesh | None = None
) -> Callable[..., Any]:
  """Returns `run(shared, *batch)`, jitted: `fn(shared, *one)` of each example.

  `shared` is a pytree that all examples have in common, such as parameters;
  each of `batch` is `None`, or a pytree of arrays whose leading axis `n` is
  over the examples, and so is the leading axis of each array that comes back.
  Results do not depend on the mesh. Any `n` works; one that is no multiple of
  the number of devices is filled up for the call. Keep `run`: it compiles once
  for all batches of one shape.

  Args:
    fn: maps `shared` and the parts of one example to a pytree of arrays.
    mesh: devices to spread the batch over, along all of its axes (of type
      `Auto`); `None` stays on one.

  Raises:
    ValueError: for a mesh with other axes; when called, for parts of a batch of
      several lengths, or of none.
  """
  if mesh is not None and set(mesh.axis_types) != {jax.sharding.AxisType.Auto}:
    raise ValueError(
      f'expected a mesh with axes of type Auto, got {mesh.axis_types}'
    )

  def over_rows(shared, batch):
    return jax.vmap(fn, (None, *(0 for _ in batch)))(shared, *batch)

  @jax.jit
  def run(shared, *batch):
    n = length(batch)
    if mesh is None:
      return over_rows(shared, batch)
    whole = -(-n // mesh.size) * mesh.size
    if whole != n:
      rows = fill(range(n), whole)
      batch = jax.tree.map(lambda a: a[rows], batch)
    data = jax.P(mesh.axis_names)
    # The check of replication would sum gradients at values that do not vary
    # over the mesh (a constant baseline, a mask) over the devices.
    out = jax.shard_map(
      over_rows,
      mesh=mesh,
      in_specs=(jax.P(), data),
      out_specs=data,
      check_vma=False,
    )(shared, batch)
    return out if whole == n else jax.tree.map(lambda a: a[:n], out)

  return run


def length(batch: Any) -> int:
  """Returns how many examples a batch holds: the length of its leading axis.

  Raises:
    ValueError: without examples, or where its arrays hold several numbers.
  """
  lengths = {(jnp.shape(a) or (0,))[0] for a in jax.tree.leaves(batch)}
  if len(lengths) != 1 or 0 in lengths:
    shapes = jax.tree.map(jnp.shape, batch)
    raise ValueError(f'expected a batch of examples [n, *x], got {shapes}')
  return lengths.pop()


def fill(
  rows: Sequence[int] | Int[np.ndarray, 'n'], size: int
) -> Int[np.ndarray, 'size']:
  """Returns the rows of a batch filled up to `size`: the last one again.

  What is computed of the filling is cut off again, `out[:len(rows)]`.

  Args:
    rows: which examples a batch holds.
    size: how many it shall hold, so that all batches share a program.

  Raises:
    ValueError: for no rows, or more than `size`.
  """
  if not 1 <= len(rows) <= size:
    raise ValueError(f'expected 1 to {size} rows of a batch, got {len(rows)}')
  return np.asarray(rows)[np.minimum(np.arange(size), len(rows) - 1)]
