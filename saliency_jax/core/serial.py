"""Batches that a processor goes through in turn.

`vmap` makes one operation of a batch. On CPUs that is worse for calls of LAPACK
(see `lapack.py`), and for a search that passes over one array many times: alone
the array stays in the cache, and its search ends with what it looks for. On
other platforms a batch stays a batch.
"""

from collections.abc import Callable
from typing import Any

import jax


def in_turn(fn: Callable[..., Any]) -> Callable[..., Any]:
  """Returns `fn`, which under `vmap` sees one example at a time on CPUs.

  Its derivatives are those of `fn`, in batches.

  Args:
    fn: maps arrays to a pytree of arrays.
  """

  @jax.custom_batching.sequential_vmap
  def alone(*arrays):
    return fn(*arrays)

  @jax.custom_jvp
  def run(*arrays):
    return jax.lax.platform_dependent(*arrays, cpu=alone, default=fn)

  # What is batched in its own way has no derivative backwards.
  run.defjvp(lambda arrays, tangents: jax.jvp(fn, arrays, tangents))
  return run
