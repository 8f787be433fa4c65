"""Cascading randomisation: does a map depend on what the network has learned?

Layers are made random one after the other, from the output down; at each depth
the map is made again and compared with the map of the trained network. A map
that stays as it was shows the image, and not the classifier.

Where the image is black, maps that are multiplied by it are zero whatever the
network is, and agree: ranks are compared on a support that leaves such pixels
out, and both with their signs and by their sizes.

References:
  Adebayo et al., Sanity checks for saliency maps, 2018.
  https://arxiv.org/abs/1810.03292
  Sundararajan and Taly, A note about: local explanation methods for deep neural
  networks lack sensitivity to parameter values, 2018.
  https://arxiv.org/abs/1806.04205
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from saliency_jax import scores as score_functions
from saliency_jax.core import jaxprs
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.metrics import likeness
from saliency_jax.metrics import maps

# Makes an array of parameters random: `(key, leaf) -> like leaf`.
Initialize = Callable[[Key[Array, ''], Float[Array, '...']], Any]


def shuffle(
  key: Key[Array, ''], leaf: Float[Array, '...']
) -> Float[Array, '...']:
  """Puts the entries of an array in a random order.

  Their distribution stays the trained one, so that what changes is what was
  learned and not the scale of the activations.
  """
  return jax.random.permutation(key, leaf.ravel()).reshape(leaf.shape)


def gaussian(
  key: Key[Array, ''], leaf: Float[Array, '...']
) -> Float[Array, '...']:
  """Draws normals of the array's own mean and deviation."""
  return jnp.mean(leaf) + jnp.std(leaf) * sampling.normal(key, leaf)


def cascading_randomization(
  method: types.Method,
  apply: types.Apply,
  params: Any,
  x: Float[Array, 'H W C'],
  *,
  key: Key[Array, ''],
  score: Callable[..., types.ScoreFn] = score_functions.logit,
  label: score_functions.Label | None = None,
  layers: Sequence[str] | None = None,
  support: Bool[Array, 'H W'] | None = None,
  initialize: Initialize = shuffle,
  batch_size: int | None = 1,
) -> likeness.Likeness:
  """Compares the maps of ever more random networks with the trained one's.

  The reference is the trained network's map; entry `d` has `d` random layers.

  Args:
    method: explains one example, its settings bound.
    apply: maps `(params, x)` to the logits of one example.
    params: pytree of parameters.
    x: one image.
    key: consumed; a method that draws gets the same key at each depth.
    score: which score is explained.
    label: class; `None` is the decision of the trained network.
    layers: paths into `params` (keys joined by '/'), in the order in which an
      example passes through them; `None` reads it off `apply`. Parameters
      outside of them stay.
    support: the pixels whose scores are ranked; `None` ranks all.
    initialize: `shuffle` or `gaussian`.
    batch_size: depths explained at once; `None` takes all.

  Raises:
    ValueError: for a path that names no parameter.
  """
  layers = layer_order(apply, params, x) if layers is None else layers
  if label is None:
    label = score_functions.predict(apply, params, x)
  method_key = sampling.key_for(key, sampling.METHOD)
  network_key = sampling.key_for(key, sampling.NETWORK)
  random = _initialize(network_key, params, initialize)

  def explain(depth):
    mixed = randomize_top(params, random, layers, depth)
    out = method(score(apply, mixed, label), x, key=method_key)
    return jnp.broadcast_to(
      maps.matching(out.scores, x), (*x.shape[:2], out.scores.shape[-1])
    )

  depths = jnp.arange(len(layers) + 1)
  made = sampling.batched_map(explain, depths, batch_size=batch_size)
  # Compared when all are made: the method is traced and compiled once.
  compare = lambda scores: likeness.compare(scores, made[0], support=support)
  return sampling.batched_map(compare, made, batch_size=batch_size)


def randomize_top(
  params: Any, random: Any, layers: Sequence[str], depth: Int[Array, ''] | int
) -> Any:
  """Returns the parameters, the last `depth` layers replaced.

  Args:
    params: the trained parameters.
    random: shaped as `params`.
    layers: paths into `params`, in the order of the forward pass.
    depth: number of layers, from the output down.

  Raises:
    ValueError: for a path that names no parameter.
  """
  paths = [_path(p) for p, _ in jax.tree.leaves_with_path(params)]
  for layer in layers:
    if not any(_is_in(path, layer) for path in paths):
      raise ValueError(f'layer {layer!r} is none of the parameters {paths}')

  def choose(path, leaf, other):
    place = [i for i, l in enumerate(layers) if _is_in(_path(path), l)]
    if not place:
      return leaf
    return jnp.where(len(layers) - place[-1] <= depth, other, leaf)

  return jax.tree.map_with_path(choose, params, random)


def layer_order(
  apply: types.Apply, params: Any, x: types.Example
) -> tuple[str, ...]:
  """Returns the layers of a network in the order of its forward pass.

  A layer is what shares all of a parameter's path but the last key. Its place
  is where one of its parameters first meets what was made of the example: the
  order of the keys of a pytree says nothing.

  Raises:
    ValueError: if no parameter meets the example.
  """
  leaves, treedef = jax.tree.flatten(params)
  paths = [_path(p) for p, _ in jax.tree.leaves_with_path(params)]
  closed = jax.make_jaxpr(
    lambda leaves, x: apply(treedef.unflatten(leaves), x)
  )(leaves, x)
  example = len(closed.jaxpr.invars) - len(leaves)
  met: list[int] = []
  made = [_Made(frozenset([i])) for i in range(len(leaves))]
  made += [_Made(None)] * example
  jaxprs.evaluate(closed, *made, rule=functools.partial(_meet, met))
  order = dict.fromkeys(paths[i].rpartition('/')[0] or paths[i] for i in met)
  if not order:
    raise ValueError('no parameter meets the example in this network')
  return tuple(order)


class _Made(NamedTuple):
  """The parameters that a value is made of; `None` once the example is too."""

  params: frozenset[int] | None


def _meet(met, eqn, *args):
  """Notes in `met` the parameters that meet the example, in order."""
  inner = jaxprs.wrapped(eqn)
  if inner is not None:
    rule = functools.partial(_meet, met)
    return jaxprs.evaluate(inner, *args, rule=rule)
  made = [a.params for a in args if isinstance(a, _Made)]
  params = frozenset().union(*(m for m in made if m is not None))
  if None in made:
    met.extend(sorted(params))
    params = None
  return [_Made(params)] * len(eqn.outvars)


def _initialize(key, params, initialize):
  leaves, treedef = jax.tree.flatten(params)
  return treedef.unflatten(
    [initialize(sampling.draw_key(key, i), a) for i, a in enumerate(leaves)]
  )


def _path(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def _is_in(path: str, layer: str) -> bool:
  return path == layer or path.startswith(layer + '/')
