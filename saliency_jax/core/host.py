"""Black boxes: a function of the host, called from inside a program.

One batched call leaves the program for all the examples that `vmap` brings
together, through every level of nesting. Outside of a program the function is
called directly, and its errors are Python's own.
"""

from collections.abc import Callable, Iterator
import contextlib
from typing import Any

import jax
from jaxtyping import Array, Float

from saliency_jax.core import callbacks
from saliency_jax.core import host_functions


def from_host(
  predict: Callable[[Any], Any],
  output_shape: tuple[int, ...] = (),
  *,
  gradient: Callable[..., Any] | None = None,
  hvp: Callable[..., Any] | None = None,
  jvp: Callable[..., Any] | None = None,
) -> Callable[..., Float[Array, '...']]:
  """Returns a function of one example that calls `predict` on the host.

  The result can be passed to any method that asks for scores (occlusion, RISE,
  LEG), jitted, vmapped and sharded; with `gradient` to methods of first order
  too (integrated gradients, I-GOS), and with `hvp` to those of second order
  (CASO). It is floating: of the example's dtype, or float32 for whole numbers.
  Like a classifier's `apply` it takes parameters as well, of which it has none:
  `scores.prob(fn, None, label)`, `explainer.build(method, fn)(None, xs)`.

  Batches are trees of arrays where examples are. They are the host's own, to
  write into or to keep. With `J` the Jacobian at an example:

  Args:
    predict: maps a batch `[n, *x]` to real numbers `[n, *output_shape]`: a
      scikit-learn model's `predict_proba`, a remote service.
    output_shape: shape of the output for one example; `()` for a score,
      `(k,)` for logits.
    gradient: maps a batch to the gradients `[n, *x]` of scores; of other
      outputs, a batch and cotangents `u` `[n, *output_shape]` to `J' u`.
    hvp: maps a batch and vectors `v` `[n, *x]` to the products `[n, *x]` of
      Hessians with them; of other outputs, a batch, `u` and `v` to products
      with the Hessians of `u' predict`.
    jvp: maps a batch and vectors `v` to `J v` `[n, *output_shape]`; only of
      outputs that are not one score, and only asked for beside `hvp`.

  Raises:
    ValueError: if a function of the host returns another shape, or no real
      numbers; in the user's own jitted program it is the last line of a
      `JaxRuntimeError`, as is whatever the function raises. While tracing, if a
      derivative is asked for that was not given.
  """
  output_shape = tuple(output_shape)
  if jvp is not None and output_shape == ():
    raise ValueError(
      'jvp is for several outputs, and output_shape is (): leave it out, the '
      'gradient says it all'
    )
  for name, given in (('hvp', hvp), ('jvp', jvp)):
    if given is not None and gradient is None:
      raise ValueError(f'{name} was given without gradient: pass gradient too')
  functions = host_functions.Functions(predict, gradient, hvp, jvp)
  return of_one_example(lambda x: callbacks.call(functions, output_shape, x))


def of_one_example(fn: Callable[[Any], Any]) -> Callable[..., Any]:
  """Returns `fn` as a function of an example, or of no parameters and one."""

  def call(*args):
    *params, x = args
    if len(params) > 1 or jax.tree.leaves(params):
      raise ValueError(
        'a black box has parameters of its own: call it with an example, or '
        'with None and an example'
      )
    return fn(x)

  return call


def failure(error: BaseException) -> BaseException | None:
  """Returns what a black box raised, where a program hands it on as its own."""
  if isinstance(error, jax.errors.JaxRuntimeError):
    for own in reversed(callbacks.failures):
      if str(error).endswith(f'{type(own).__name__}: {own}'):
        return own
  return None


@contextlib.contextmanager
def own_errors() -> Iterator[None]:
  """Raises what a black box raised, Ctrl-C too, and not JAX's report of it.

  Raises:
    TypeError: of a function that is numpy's, and is no black box yet.
  """
  try:
    yield
  except jax.errors.TracerArrayConversionError as e:
    raise TypeError(
      'fn hands its example to numpy, which cannot be traced: explain '
      'scores.from_host(predict), whose predict takes a batch [n, *x] of numpy'
    ) from e
  except jax.errors.JaxRuntimeError as e:
    if own := failure(e):
      raise own from None
    raise
