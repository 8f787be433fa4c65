"""Intermediates of a function, by name.

A classifier names an intermediate with JAX's own marker,
`jax.ad_checkpoint.checkpoint_name(h, 'features')`, and `split` cuts in two any
function that calls it, at that place, whatever framework it is written in. In a
network that nobody can edit, `of` names what one of its submodules returns.

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
from saliency_jax.core import submodules
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


def of(
  network: Any, path: str, *, name: str | None = None, item: int = 0
) -> Any:
  """Returns the network with a name for what one of its submodules returns.

  The given network stays as it is; the one returned has the same parameters at
  the same paths, and is used in its place, as in
  `models.from_nnx(taps.of(module, 'blocks/3'), spec)`.

  Args:
    network: a module of nnx, linen, Equinox or Keras, or what haiku
      transformed.
    path: of the submodule, keys joined by '/'. In nnx and Equinox these are
      attributes, places in lists and keys: 'blocks/3' is `blocks[3]`, and may
      be a function; Keras takes names of layers too. In linen and haiku they
      are the names that modules have among the parameters: 'blocks_3'.
    name: to tap it by; the path, unless another is given.
    item: which value is meant, where the submodule returns several.

  Raises:
    ValueError: for a path of no submodule, here, or in linen and haiku as the
      network is called.

  Examples:
    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> import saliency_jax
    >>> from saliency_jax import models, scores, taps
    >>> layer = nnx.Conv(3, 5, (3, 3), rngs=nnx.Rngs(0))
    >>> pool = lambda h: h.mean((1, 2))
    >>> net = taps.of(nnx.Sequential(layer, nnx.relu, pool), 'layers/1')
    >>> model = models.from_nnx(net, models.Spec('mine', (8, 8, 3)))
    >>> fn = scores.logit(model.apply, model.params, 2)
    >>> found = saliency_jax.grad_cam(fn, jnp.ones((8, 8, 3)), name='layers/1')
    >>> found.scores.shape
    (8, 8, 1)
  """
  mark = submodules.Mark(path, path if name is None else name, item)
  return submodules.named(network, mark)


def names(fn: Callable[[types.Example], Any], x: types.Example) -> list[str]:
  """Returns the names that can be tapped in `fn` at `x`, in order."""
  return [
    eqn.params['name']
    for eqn, path in jaxprs.walk(jax.make_jaxpr(fn)(x).jaxpr)
    if eqn.primitive.name == 'name' and not path
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
  named = [
    (eqn.params['name'], path)
    for eqn, path in jaxprs.walk(closed.jaxpr)
    if eqn.primitive.name == 'name'
  ]
  found = [path for have, path in named if have == name]
  if len(found) != 1:
    raise ValueError(
      f'expected one intermediate named {name!r}, found {len(found)}; this '
      f'function names {sorted({have for have, _ in named})}: name one where '
      f'the network has it in hand, '
      f'h = jax.ad_checkpoint.checkpoint_name(h, {name!r}), or where one of '
      f'its submodules returns it, taps.of(network, path, name={name!r})'
    )
  if found[0]:
    raise ValueError(
      f'{name!r} is inside {" > ".join(found[0])}, and cannot be cut out there'
    )
  # Only the calls around the name are opened: others keep their remat.
  closed = jaxprs.inline(closed, lambda eqn: _holds(eqn, name))
  first, second = jaxprs.cut(closed, lambda eqn: _is_named(eqn, name))

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
    value: the tokens; the tokens of patches come last, row by row.
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


def _is_named(eqn, name):
  return eqn.primitive.name == 'name' and eqn.params['name'] == name


def _holds(eqn, name):
  inside = (e for j in jaxprs.subjaxprs(eqn) for e in jaxprs.equations(j))
  return any(_is_named(e, name) for e in inside)
