"""Several methods as one program, in which their network is compiled once.

A first run spends most of its time in compiling, and most of that goes to the
network, anew for each method. So methods of gradients of one score can be a
family: one program whose first argument says which of them is run, and in which
the score, and its gradient, are functions that XLA is told to keep whole. Of
EfficientNet-Lite0, four methods of gradients then take 16 s of a processor to
compile and 2 s to trace, where one program each takes 24 and 6.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
from jax.experimental import xla_metadata
import jax.numpy as jnp

from saliency_jax import explainer
from saliency_jax.core import types


def join(explainers: Sequence[Callable[..., types.Attribution]]) -> Callable:
  """Returns `run(i, *args)`, which calls the i-th; its results are a tuple.

  Only the i-th element of the tuple is a result, and the others are zeros.

  Args:
    explainers: of `explainer.build`, which take the same arguments.
  """

  def run(i, *args):
    if len(explainers) == 1:
      return (explainers[0](*args),)
    empty = [
      jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(explain, *args)
      )
      for explain in explainers
    ]

    def branch(place):
      return lambda *args: tuple(
        explainers[place](*args) if place == j else zeros
        for j, zeros in enumerate(empty)
      )

    return jax.lax.switch(i, [*map(branch, range(len(empty)))], *args)

  return jax.jit(run)


def shared(score: explainer.Score) -> explainer.Score:
  """Returns a score whose value and gradient are two functions of a program.

  Its value and derivatives of every order are those of `score`. A method that
  looks into the classifier (`taps`) sees nothing of it, and a score of several
  numbers is returned as it is.
  """

  def build(apply, params, label):
    value, packed = _functions(score, apply)

    @jax.custom_jvp
    def whole(x):
      return _kept(value(params, label, x))

    @whole.defjvp
    def derive(primals, tangents):
      (x,), (t,) = primals, tangents
      out = _kept(packed(params, label, x))
      return out[-1], jnp.sum(out[:-1].reshape(x.shape) * t)

    def fn(x):
      if jax.eval_shape(value, params, label, x).shape:
        return value(params, label, x)
      return whole(x)

    return fn

  return build


@functools.lru_cache(maxsize=16)
def _functions(score, apply):
  """Returns a score, and its gradient with its value behind it, both jitted.

  In one array, since JAX drops a result that is not used: of two results there
  would be three functions to compile.
  """

  @jax.jit
  def value(params, label, x):
    return score(apply, params, label)(x)

  @jax.jit
  def packed(params, label, x):
    out, grad = jax.value_and_grad(lambda x: value(params, label, x))(x)
    return jnp.append(grad, out)

  return value, packed


def _kept(out: Any) -> Any:
  """Marks the call that returns `out`: XLA must not write it out in place."""
  return xla_metadata.set_xla_metadata(out, inlineable='false')
