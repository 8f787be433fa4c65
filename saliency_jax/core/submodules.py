"""Naming what a submodule of a network returns, whatever it is written in.

The network is copied: where it holds its submodules (nnx, Equinox), the copy
has one whose class names what its call returns; where they are made or found as
it is called (linen, haiku, Keras), the copy names their outputs on the way.

No framework is imported here: who has a network of one has imported it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import difflib
import functools
import sys
import threading
import types
from typing import Any, NamedTuple

import jax
from jax import ad_checkpoint


class Mark(NamedTuple):
  """What is named, and how.

  Attributes:
    path: of the submodule, from the network on: names of attributes, places in
      lists and keys, joined by '/'.
    name: given by `checkpoint_name`.
    item: which of the values that the submodule returns.
  """

  path: str
  name: str
  item: int


def named(network: Any, mark: Mark) -> Any:
  """Returns a network that names what one of its submodules returns.

  Raises:
    ValueError: for a network of no known framework, or a path of no submodule.
  """
  for kind, how in (
    ('flax.nnx.Module', _nnx),
    ('flax.linen.Module', _linen),
    ('equinox.Module', _equinox),
    ('haiku.Transformed', _haiku),
    ('haiku.TransformedWithState', _haiku),
    ('keras.Layer', _keras),
  ):
    package, _, attribute = kind.rpartition('.')
    library = sys.modules.get(package)
    if library and isinstance(network, getattr(library, attribute)):
      return how(library, network, mark)
  raise ValueError(
    'expected a module of nnx, linen, Equinox or Keras, or what haiku '
    f'transformed, got a {type(network).__name__}; a module of torch is tapped '
    f'by scores.from_torch(module, taps={mark.path!r}), and a function of your '
    f'own by h = jax.ad_checkpoint.checkpoint_name(h, {mark.name!r}) inside'
  )


def _nnx(nnx, network, mark):
  network = nnx.clone(network)
  child = _find(network, mark.path, nnx.Module)
  if isinstance(child, nnx.Module):
    child.__class__ = _subclass(type(child), '__call__', _marked, mark)
    return network
  path, _, key = mark.path.rpartition('/')
  parent = _walk(network, path)
  if isinstance(parent, Sequence):
    parent[int(key)] = _function(child, mark)
  elif isinstance(parent, Mapping):
    parent[key] = _function(child, mark)
  else:
    setattr(parent, key, _function(child, mark))
  return network


def _equinox(equinox, network, mark):
  child = _find(network, mark.path, equinox.Module)
  if isinstance(child, equinox.Module):
    other = _like(child, '__call__', _marked, mark)
  else:
    other = _function(child, mark)
  return equinox.tree_at(lambda n: _walk(n, mark.path), network, other)


def _linen(linen, network, mark):
  cls = _subclass(type(network), 'apply', _linen_apply, mark, linen.nowrap)
  fields = {
    f.name: getattr(network, f.name)
    for f in dataclasses.fields(network)
    if f.init and f.name != 'parent'
  }
  return cls(**fields, parent=None)


def _linen_apply(_, call, mark):
  intercept = sys.modules['flax.linen'].intercept_methods
  with _intercepting(intercept, lambda m: '/'.join(m.path), mark):
    return call()


def _haiku(haiku, network, mark):
  @functools.wraps(network.apply)
  def apply(*args, **kwargs):
    with _intercepting(haiku.intercept_methods, lambda m: m.module_name, mark):
      return network.apply(*args, **kwargs)

  return network._replace(apply=apply)


def _keras(keras, network, mark):
  _find(network, mark.path, keras.Layer)
  return _like(network, 'call', _keras_call, mark)


# Keras looks up what a layer's call is as it calls it: there it is replaced for
# as long as the network around it runs.
_REPLACING = threading.RLock()


def _keras_call(network, call, mark):
  layer = _walk(network, mark.path)
  with _REPLACING:
    own, inner = vars(layer), layer.call
    before = {'call': own['call']} if 'call' in own else {}

    @functools.wraps(inner)
    def marked(*args, **kwargs):
      return _mark(inner(*args, **kwargs), mark)

    own['call'] = marked
    try:
      return call()
    finally:
      del own['call']
      own.update(before)


def _mark(outputs, mark):
  """Returns what a submodule returned, one value of it named."""
  values, treedef = jax.tree.flatten(outputs, lambda v: v is not outputs)
  arrays = [hasattr(value, 'dtype') for value in values]
  if not 0 <= mark.item < len(values) or not arrays[mark.item]:
    kinds = [
      'array' if array else type(value).__name__
      for array, value in zip(arrays, values, strict=True)
    ]
    raise ValueError(
      f'{mark.path!r} returns [{", ".join(kinds)}]: expected an array as '
      f'item={mark.item}'
    )
  values[mark.item] = ad_checkpoint.checkpoint_name(
    values[mark.item], mark.name
  )
  return treedef.unflatten(values)


def _marked(_, call, mark):
  return _mark(call(), mark)


# Each once: of another class, or another function, JAX compiles anew.
@functools.cache
def _subclass(cls, method, around, mark, decorate=lambda f: f):
  """Returns a class with `around(self, call, mark)` in a method's place."""

  @functools.wraps(getattr(cls, method))
  def run(self, *args, **kwargs):
    call = getattr(super(other, self), method)
    return around(self, functools.partial(call, *args, **kwargs), mark)

  body = {'__module__': cls.__module__, '__doc__': cls.__doc__}
  body[method] = decorate(run)
  other = types.new_class(
    cls.__name__, (cls,), exec_body=lambda space: space.update(body)
  )
  return other


@functools.cache
def _function(fn, mark):
  @functools.wraps(fn)
  def marked(*args, **kwargs):
    return _mark(fn(*args, **kwargs), mark)

  return marked


def _like(module, method, around, mark):
  """Returns a module of a `_subclass`, which shares all that a module has."""
  other = object.__new__(_subclass(type(module), method, around, mark))
  vars(other).update(vars(module))
  return other


@contextlib.contextmanager
def _intercepting(
  intercept: Callable[..., Any], path_of: Callable[[Any], str], mark: Mark
) -> Iterator[None]:
  """Names what a module returns, by a framework's interceptors of methods."""
  called = []

  def interceptor(call, args, kwargs, context):
    outputs = call(*args, **kwargs)
    if context.method_name != '__call__':
      return outputs
    called.append(path_of(context.module))
    return _mark(outputs, mark) if called[-1] == mark.path else outputs

  with intercept(interceptor):
    yield
  if mark.path not in called:
    raise _missing(mark.path, called)


def _find(network, path, kind):
  """Returns what can be called at a path; raises where there is nothing."""
  child = _walk(network, path)
  function = callable(child) and not hasattr(child, 'dtype')
  if not (callable(child) if isinstance(child, kind) else function):
    raise _missing(path, _paths(network, kind))
  return child


def _walk(network, path):
  for part in filter(None, path.split('/')):
    network = _children(network).get(part)
  return network


def _children(node):
  """Returns what a module, a list or a dictionary holds, by keys as text."""
  if isinstance(node, Mapping):
    return {str(key): value for key, value in node.items()}
  if isinstance(node, Sequence) and not isinstance(node, str):
    return {str(i): value for i, value in enumerate(node)}
  own = {k: v for k, v in getattr(node, '__dict__', {}).items() if k[0] != '_'}
  # Layers of Keras go by their names as well.
  layers = getattr(node, 'layers', ())
  if isinstance(layers, Sequence):
    names = [getattr(layer, 'name', None) for layer in layers]
    pairs = zip(names, layers, strict=True)
    own.update({k: v for k, v in pairs if isinstance(k, str)})
  return own


def _paths(node, kind, above=(), path=()):
  """Yields the path of every submodule that can be called."""
  for key, child in _children(node).items():
    if any(child is other for other in above):
      continue
    held = isinstance(child, kind)
    if held and callable(child):
      yield '/'.join((*path, key))
    if held or isinstance(child, Mapping | list | tuple):
      yield from _paths(child, kind, (*above, child), (*path, key))


def _missing(path, paths):
  paths = sorted(set(paths) - {''})
  near = difflib.get_close_matches(path, paths, 8, 0.0)
  return ValueError(
    f'no submodule at {path!r}; the nearest of {len(paths)} are '
    f'{", ".join(map(repr, near))}'
  )
