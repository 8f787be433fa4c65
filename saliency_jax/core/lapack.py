"""Dense linear algebra whose batches are gone through in turn on a processor.

On CPUs JAX factors matrices by LAPACK. jaxlib (0.10) shares the matrices of a
batch out to the very threads that run the program, and the thread that called
waits for them: where as many such calls are waiting as there are threads, none
is left to do the work, and the program stands still for ever. Two batches that
do not need each other are enough on two cores. One matrix alone is factored by
the thread that calls. On other platforms a batch stays a batch.
"""

import jax
import jax.numpy as jnp

from saliency_jax.core import serial


def _cho_solve(factor, b):
  return jax.scipy.linalg.cho_solve((factor, True), b)


def _solve_triangular(factor, b):
  return jax.scipy.linalg.solve_triangular(factor, b, lower=True)


# The functions of `jnp.linalg` and `jax.scipy.linalg` under their own names, of
# arrays alone; a factor is that of `cholesky`, lower.
cholesky = serial.in_turn(jnp.linalg.cholesky)
cho_solve = serial.in_turn(_cho_solve)
eigh = serial.in_turn(jnp.linalg.eigh)
eigvalsh = serial.in_turn(jnp.linalg.eigvalsh)
solve = serial.in_turn(jnp.linalg.solve)
solve_triangular = serial.in_turn(_solve_triangular)
