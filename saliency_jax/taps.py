"""Intermediates of a function, by name.

A classifier names an intermediate with JAX's own marker,
`jax.ad_checkpoint.checkpoint_name(h, 'features')`, and `split` cuts in two any
function that calls it, at that place, whatever framework it is written in.

Layouts say which axes of a layer are an image: `channels_last`,
`channels_first`, `grid` for the tokens of a transformer, or any function to
`[h, w, K]` that only moves or drops entries, and so serves for gradients too.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend import core
import jax.numpy as jnp
from jaxtyping import Array, Float

from saliency_jax.core import checks
from saliency_jax.core import jaxprs
from saliency_jax.core import types


class Split(NamedTuple):
  """A function cut in two: `fn(x) = head(*trunk(x))`.

  Attributes:
    trunk: maps `x` to `(tap, rest)`: the named intermediate, and the other
      values that the head reads (skip connections around the cut).
    head: maps `(tap, rest)` to the function's output.
  """

  trunk: Callable[[types.Example], tuple[Float[Array, '...'], Any]]
  head: Callable[[Float[Array, '...'], Any], Any]


def names(fn: Callable[[types.Example], Any], x: types.Example) -> list[str]:
  """Returns the names that can be tapped in `fn` at `x`, in order."""
  return [
    eqn.params['name']
    for eqn, path in _named(jax.make_jaxpr(fn)(x).jaxpr)
    if not path
  ]


def split(
  fn: Callable[[types.Example], Any], x: types.Example, name: str
) -> Split:
  """Cuts `fn` at the intermediate called `name`.

  Raises:
    ValueError: if `fn` names no such intermediate, several, or one inside a
      loop, a branch or a custom derivative rule, where there is no one value.
  """
  closed, shape = jax.make_jaxpr(fn, return_shape=True)(x)
  found = [path for eqn, path in _named(closed.jaxpr)
           if eqn.params['name'] == name]  # fmt: skip
  if len(found) != 1:
    have = sorted({eqn.params['name'] for eqn, _ in _named(closed.jaxpr)})
    raise ValueError(
      f'expected one intermediate named {name!r}, found {len(found)}; this '
      f'function names {have}: name one where the network has it in hand, '
      f'h = jax.ad_checkpoint.checkpoint_name(h, {name!r})'
    )
  if found[0]:
    raise ValueError(
      f'{name!r} is inside {" > ".join(found[0])}, and cannot be cut out there'
    )
  # Unwrap the jits around the name until it stands at the top.
  while not any(_is_named(eqn, name) for eqn in closed.jaxpr.eqns):
    closed = _unwrap(closed, name)
  jaxpr = closed.jaxpr
  at = next(i for i, e in enumerate(jaxpr.eqns) if _is_named(e, name))
  tap = jaxpr.eqns[at].outvars[0]
  read = {v for eqn in jaxpr.eqns[at + 1 :] for v in _variables(eqn.invars)}
  read |= set(_variables(jaxpr.outvars))
  made = [*jaxpr.invars, *(v for e in jaxpr.eqns[:at] for v in e.outvars)]
  rest = [v for v in made if v in read]

  def part(eqns, invars, outvars):
    cut = jaxpr.replace(eqns=eqns, invars=invars, outvars=outvars)
    return core.ClosedJaxpr(cut, closed.consts)

  first = part(jaxpr.eqns[: at + 1], jaxpr.invars, [tap, *rest])
  second = part(jaxpr.eqns[at + 1 :], [tap, *rest], jaxpr.outvars)

  def trunk(x):
    value, *others = core.jaxpr_as_fun(first)(*jax.tree.leaves(x))
    return value, others

  def head(value, others):
    out = core.jaxpr_as_fun(second)(value, *others)
    return jax.tree.unflatten(jax.tree.structure(shape), out)

  return Split(trunk, head)


def channels_last(value: Float[Array, '...']) -> Float[Array, 'h w K']:
  """Reads a layer `[h, w, K]`, or a batch of one.

  Raises:
    ValueError: for another number of axes.
  """
  return _alone(value, 3, '[h, w, K]')


def channels_first(value: Float[Array, '...']) -> Float[Array, 'h w K']:
  """Reads a layer `[K, h, w]`, or a batch of one.

  Raises:
    ValueError: for another number of axes.
  """
  return jnp.moveaxis(_alone(value, 3, '[K, h, w]'), 0, -1)


def grid(
  value: Float[Array, '...'], *, shape: tuple[int, int], skip: int = 0
) -> Float[Array, 'h w K']:
  """Reads tokens `[N, K]`, or a batch of one, as a grid of patches.

  Args:
    value: the tokens, those of the patches last and row by row.
    shape: rows and columns of patches.
    skip: tokens before them, which stand for no patch: class, registers.

  Raises:
    ValueError: for another number of axes, or of tokens.
  """
  checks.count('skip', skip, 0)
  tokens = _alone(value, 2, '[N, K]')
  if tokens.shape[0] != skip + shape[0] * shape[1]:
    raise ValueError(
      f'shape {shape} after skip={skip} is a grid of {shape[0] * shape[1]} '
      f'tokens, got {tokens.shape[0]} tokens in all'
    )
  return tokens[skip:].reshape(*shape, -1)


def _alone(value, ndim, expected):
  """Returns a layer without the batch axis of a network that wants one."""
  if value.ndim == ndim + 1 and value.shape[0] == 1:
    value = value[0]
  if value.ndim != ndim:
    raise ValueError(
      f'expected a layer {expected}, or a batch of one, got {value.shape}'
    )
  return value


def _named(jaxpr, path=()):
  """Yields the marking equations, with the control flow that they are in."""
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == 'name':
      yield eqn, path
    inner = jaxprs.wrapped(eqn)
    if inner is not None:
      yield from _named(inner.jaxpr, path)
    else:
      for sub in jaxprs.subjaxprs(eqn):
        yield from _named(sub, (*path, eqn.primitive.name))


def _is_named(eqn, name):
  return eqn.primitive.name == 'name' and eqn.params['name'] == name


def _unwrap(closed, name):
  """Inlines, by one level, the call that holds the name."""

  def rule(eqn, *args):
    inner = jaxprs.wrapped(eqn)
    if inner is not None and any(_is_named(e, name)
                                 for e, _ in _named(inner.jaxpr)):  # fmt: skip
      return core.jaxpr_as_fun(inner)(*args)
    return jaxprs.bind(eqn, *args)

  return jax.make_jaxpr(
    lambda *args: jaxprs.evaluate(closed, *args, rule=rule)
  )(*closed.in_avals)


def _variables(atoms):
  return [v for v in atoms if not isinstance(v, core.Literal)]
