"""Arrays of a published file into a module: whose name is whose.

A family of files calls the parts of a network by names of its own. `Names` is
this as data: patterns that turn the path of a part here into the file's name
for it. What a file must hold, then, follows from the module, and so does what
is missing of it, what is too many, and which network it fits best.
"""

from collections.abc import Callable, Mapping, Sequence
import math
import re
from typing import Any, NamedTuple

from flax import nnx
import jax.numpy as jnp
import numpy as np

# What torch calls a variable of a layer.
_LEAVES = {
  'kernel': 'weight',
  'scale': 'weight',
  'bias': 'bias',
  'mean': 'running_mean',
  'var': 'running_var',
}
# From torch's order of axes (out, in, down, across) to a kernel's here, of a
# dense layer, a depthwise convolution and a convolution.
_AXES = {2: (1, 0), 3: (1, 2, 0), 4: (2, 3, 1, 0)}
_HEAD = 'classifier.bias'  # Of any network here: a number a class.
_SHOWN = 3  # Names in a message.


class Names(NamedTuple):
  """What the files of one origin call the parts of a network.

  Attributes:
    origin: of the files.
    patterns: each a regular expression and what replaces it, applied in turn to
      the path of a layer, such as 'layer1.0.conv1.norm'. A result that ends in
      '#i' is the `i`-th third of an array, as queries, keys and values are of
      one; one that ends in '_' is followed by the variable's name without a
      dot; and a table's is the whole name of its array. `None` for files whose
      names and order of axes are this library's.
  """

  origin: str
  patterns: Sequence[tuple[str, Any]] | None


OWN = Names('this library', None)


class Network(NamedTuple):
  """A network that published files fit.

  Attributes:
    build: returns the module, its arrays shapes only; takes `num_classes`.
    names: of its files, of each origin.
  """

  build: Callable[..., nnx.Module]
  names: Sequence[Names]


class _Place(NamedTuple):
  """Where in a file the array of a variable is, and how it lies there."""

  path: str
  variable: nnx.Variable
  name: str
  shape: tuple[int, ...]
  third: int | None
  axes: tuple[int, ...] | None


class _Fit(NamedTuple):
  """How a file fits what a module needs, with the arrays by those names."""

  names: Names
  arrays: Mapping[str, np.ndarray]
  places: list[_Place]
  num_right: int
  missing: list[str]
  shapes: list[str]
  extra: list[str]

  def worth(self):
    return self.num_right - len(self.missing + self.shapes + self.extra)


def fill(
  name: str,
  arrays: Mapping[str, np.ndarray],
  networks: Mapping[str, Network],
) -> nnx.Module:
  """Makes a network whose variables are the arrays of a file.

  Args:
    name: of the network.
    arrays: of the file. Integers are passed over, and counts of batches, which
      are floats where all of a file was cast; so is what lies beside a part
      that holds all of the network: 'criterion.weight' beside 'backbone.'. The
      last layer's bias says how many classes there are.
    networks: by name; also those that the file may fit better.

  Returns:
    The module, in float32.

  Raises:
    ValueError: if arrays are missing, have other shapes, are too many, or are
      not finite; the message names the network that the file fits best.
  """
  arrays = {
    key: array
    for key, array in arrays.items()
    if jnp.issubdtype(array.dtype, jnp.floating)
    and not key.endswith('num_batches_tracked')
  }
  module, fit = _fit(networks[name], arrays)
  if fit.missing or fit.shapes or fit.extra:
    raise ValueError(_message(name, fit, arrays, networks))
  for place in fit.places:
    array = np.asarray(fit.arrays[place.name], np.float32)
    if not np.isfinite(array).all():
      raise ValueError(f'it holds NaN or infinity in {place.name!r}')
    array = array.reshape(place.shape)
    if place.third is not None:
      array = np.split(array, 3)[place.third]
    if place.axes is not None:
      array = array.transpose(place.axes)
    place.variable.set_value(jnp.asarray(array))
  return module


def shapes(module: nnx.Module, names: Names) -> dict[str, tuple[int, ...]]:
  """Returns the names and shapes of what a file of a module holds."""
  return {place.name: place.shape for place in _places(module, names)}


def _fit(network, arrays):
  """Returns a module with as many classes as a file has, and how it fits."""
  module = network.build()
  fit = _closest(module, network, arrays)
  (head,) = (place for place in fit.places if place.path == _HEAD)
  bias = fit.arrays.get(head.name)
  if bias is not None and bias.ndim == 1 and bias.shape != head.shape:
    module = network.build(num_classes=bias.shape[0])
    fit = _closest(module, network, arrays)
  return module, fit


def _closest(module, network, arrays):
  fits = [_compare(module, names, arrays) for names in network.names]
  return max(fits, key=_Fit.worth)


def _compare(module, names, arrays):
  places = _places(module, names)
  want = {place.name: place.shape for place in places}
  arrays = _within(arrays, list(want))
  missing = [f'{n} {shape}' for n, shape in want.items() if n not in arrays]
  wrong = [
    f'{n} {arrays[n].shape}, not {shape}'
    for n, shape in want.items()
    if n in arrays and not _is_same(arrays[n].shape, shape)
  ]
  extra = [f'{n} {a.shape}' for n, a in arrays.items() if n not in want]
  right = len(want) - len(missing) - len(wrong)
  return _Fit(names, arrays, places, right, missing, wrong, extra)


def _within(arrays, wanted):
  """Returns the arrays of the part of a file that holds all wanted names."""
  first = wanted[0]
  ends = [key for key in arrays if key.endswith(f'.{first}')]
  found = []
  for prefix in (key.removesuffix(first) for key in ends):
    part = {
      key.removeprefix(prefix): array
      for key, array in arrays.items()
      if key.startswith(prefix)
    }
    if all(name in part for name in wanted):
      found.append(part)
  # Of two such parts none is the network's more than the other.
  return found[0] if len(found) == 1 and first not in arrays else arrays


def _is_same(have, want):
  """Returns whether shapes are equal, but for axes of one or flattened ones."""
  have, want = ([n for n in shape if n != 1] for shape in (have, want))
  flat = lambda shape: [*shape[:1], math.prod(shape[1:])]
  return have == want or (
    min(len(have), len(want)) == 2 and flat(have) == flat(want)
  )


def _places(module, names):
  return [
    _place('.'.join(map(str, path)), variable, names)
    for path, variable in nnx.to_flat_state(nnx.state(module))
    if isinstance(variable, nnx.Param | nnx.BatchStat)
  ]


def _place(path, variable, names):
  shape = variable.get_value().shape
  if names.patterns is None:
    return _Place(path, variable, path, shape, None, None)
  name, leaf = path.rsplit('.', 1)
  for pattern, replacement in names.patterns:
    name = re.sub(pattern, replacement, name)
  name, _, third = name.partition('#')
  if leaf in _LEAVES:
    name += ('' if name.endswith('_') else '.') + _LEAVES[leaf]
  axes = _AXES[len(shape)] if leaf == 'kernel' else None
  if axes is not None:
    shape = tuple(shape[axes.index(i)] for i in range(len(axes)))
  if third:
    shape = (3 * shape[0], *shape[1:])
  third = int(third) if third else None
  return _Place(path, variable, name, shape, third, axes)


def _message(name, fit, arrays, networks):
  """Says what of a file does not fit, and which network would."""
  parts = [
    f'{len(found)} {what} ({"; ".join(found[:_SHOWN])}'
    f'{"; ..." if len(found) > _SHOWN else ""})'
    for found, what in (
      (fit.missing, 'missing'),
      (fit.shapes, 'of another shape'),
      (fit.extra, 'too many'),
    )
    if found
  ]
  best = max(
    networks,
    key=lambda n: _closest(networks[n].build(), networks[n], arrays).worth(),
  )
  found = _fit(networks[best], arrays)[1]
  share = f'{found.num_right} of its {len(found.places)} arrays are there'
  nearest = f'{best} fits it best: {share}'
  as_it_is = 'a module of torch is explained as it is by scores.from_torch'
  if 2 * found.num_right < len(found.places):
    nearest = f'nor does any of {", ".join(networks)}: {as_it_is}'
  elif best == name:
    nearest = f'{share}: write a file with what this network has, or {as_it_is}'
  return (
    f'{name} does not fit it, by the names of {fit.names.origin}: '
    f'{", ".join(parts)}; {nearest}'
  )
