"""Dense linear algebra whose batches are gone through in turn on a processor.

On CPUs JAX factors matrices by LAPACK. jaxlib (0.10) shares the matrices of a
batch out to the very threads that run the program, and the thread that called
waits for them: where as many such calls are waiting as there are threads, none
is left to do the work, and the program stands still for ever. Two batches that
do not need each other are enough on two cores. One matrix alone is factored by
the thread that calls. On other platforms a batch stays a batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def in_turn(fn: Callable[..., Any]) -> Callable[..., Any]:
  """Returns `fn`, which under `vmap` sees one example at a time on CPUs.

  Its derivatives are those of `fn`, in batches.

  Args:
    fn: maps arrays to a pytree of arrays, by calls of LAPACK.
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


def _cho_solve(factor, b):
  return jax.scipy.linalg.cho_solve((factor, True), b)


def _solve_triangular(factor, b):
  return jax.scipy.linalg.solve_triangular(factor, b, lower=True)


# The functions of `jnp.linalg` and `jax.scipy.linalg` under their own names, of
# arrays alone; a factor is that of `cholesky`, lower.
cholesky = in_turn(jnp.linalg.cholesky)
cho_solve = in_turn(_cho_solve)
eigh = in_turn(jnp.linalg.eigh)
eigvalsh = in_turn(jnp.linalg.eigvalsh)
solve = in_turn(jnp.linalg.solve)
solve_triangular = in_turn(_solve_triangular)
