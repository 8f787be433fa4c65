"""Unpickling that runs nothing: a pickle may name only what it is allowed to.

A pickle is a program: it may name any function in the process and call it. Here
it names what a reader allows, each standing for numpy or for a record of this
library, and is refused for any other name.
"""

from collections.abc import Callable, Mapping
import io
import pickle
import pickletools
from typing import Any

import numpy as np

# What numpy itself puts into a pickle, wherever this version of it lives.
_rebuild_array = np.empty(0).__reduce__()[0]
_ARRAYS = {
  # numpy 2 renamed the module.
  'numpy.core.multiarray._reconstruct': _rebuild_array,
  'numpy._core.multiarray._reconstruct': _rebuild_array,
  'numpy.ndarray': np.ndarray,
  'numpy.dtype': np.dtype,
}


class CodeError(pickle.UnpicklingError):
  """A file asks for what is no array."""


def load(
  stream: io.BufferedIOBase,
  allowed: Mapping[str, Any],
  persistent: Callable[[Any], Any] | None = None,
) -> Any:
  """Unpickles one object.

  Args:
    stream: at the start of the pickle; left behind its end.
    allowed: what the pickle may name, as `module.name`, and what it gets.
    persistent: maps the name of an object outside the pickle to the object.

  Returns:
    The object.

  Raises:
    CodeError: for any other name.
    pickle.UnpicklingError: for a table larger than the pickle could fill.
    Exception: of any kind, for bytes that are no pickle.
  """
  _check_sizes(stream)

  class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
      if f'{module}.{name}' not in allowed:
        raise CodeError(f'it asks for {module}.{name}, which is no array')
      return allowed[f'{module}.{name}']

    def persistent_load(self, pid):
      if persistent is None:
        raise pickle.UnpicklingError('it refers to objects outside itself')
      return persistent(pid)

  return Unpickler(stream).load()


def arrays(stream: io.BufferedIOBase) -> dict[str, list[np.ndarray]]:
  """Unpickles a dictionary of lists of numeric arrays.

  Raises:
    Exception: of any kind, for anything else.
  """
  found = load(stream, _ARRAYS)
  if not isinstance(found, dict):
    raise ValueError(f'expected a dictionary, got {type(found).__name__}')
  for name, values in found.items():
    for value in values:
      if not isinstance(value, np.ndarray) or value.dtype.kind not in 'fiu':
        raise ValueError(f'{name!r} holds {value!r:.80}, not a numeric array')
  return found


def _check_sizes(stream):
  """Refuses sizes that Python would make room for before it looks further."""
  start = stream.tell()
  for opcode, value, place in pickletools.genops(stream):
    if 'PUT' in opcode.name and int(value) > place:
      raise pickle.UnpicklingError(f'it numbers an object {value}')
  stream.seek(start)
