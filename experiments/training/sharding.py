"""Where training keeps what: batches by device, parameters whole or in parts.

A batch lies over all devices, of all processes. Parameters and the optimiser's
state are copied to each, or split over them, as fully sharded data parallelism
does: a step gathers what it needs and keeps its part of what comes out.
"""

from typing import Any

import jax

from saliency_jax import training

# Smaller arrays cost more to gather than to keep.
_SMALLEST = 1024


def over_devices(total: training.Total, mesh: jax.sharding.Mesh) -> Any:
  """Returns `total`, each device summing its part of the batch."""
  (axis,) = mesh.axis_names

  def part(params, batch, key):
    return jax.lax.psum(total(params, batch, key), axis)

  # The check of replication would sum the gradients twice: see
  # `core.batching`.
  return jax.shard_map(
    part,
    mesh=mesh,
    in_specs=(jax.P(), jax.P(axis), jax.P()),
    out_specs=jax.P(),
    check_vma=False,
  )


def of_batch(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """Returns where a batch lies: its leading axis over the devices."""
  return jax.sharding.NamedSharding(mesh, jax.P(mesh.axis_names))


def of_state(tree: Any, mesh: jax.sharding.Mesh, *, split: bool) -> Any:
  """Returns where each array of a state lies.

  Args:
    tree: of arrays, or of their shapes.
    mesh: all devices.
    split: whether large arrays are split along the longest of their axes that
      the number of devices divides; the others are copied.
  """
  (axis,) = mesh.axis_names

  def place(leaf):
    axes = [i for i, n in enumerate(leaf.shape) if n % mesh.size == 0 and n]
    spec = jax.P()
    if split and axes and leaf.size >= _SMALLEST:
      longest = max(axes, key=lambda i: leaf.shape[i])
      spec = jax.P(*(axis if i == longest else None for i in range(leaf.ndim)))
    return jax.sharding.NamedSharding(mesh, spec)

  return jax.tree.map(place, tree)
