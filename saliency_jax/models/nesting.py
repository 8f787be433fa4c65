"""What a file of weights wraps around the arrays of a network, taken off.

Training runs save more than a network, and save it within other modules: a
dictionary 'state_dict' beside an optimiser's, and 'module.' before each name.
"""

from collections.abc import Mapping
from typing import Any

# A file may hold one of these dictionaries: the first that it has is taken.
_KEYS = ('state_dict', 'model_state_dict', 'model', 'net', 'network')
_PREFIXES = ('module.', 'model.', '_orig_mod.', 'net.', 'network.')
_DEPTH = 8


def arrays(found: Any, kind: type) -> dict[str, Any]:
  """Returns the arrays of a network by their names in it.

  Args:
    found: what a file holds.
    kind: of an array.

  Raises:
    ValueError: if there are none.
  """
  for _ in range(_DEPTH):
    inner = [found[k] for k in _KEYS if _is_dict(found) and k in found]
    inner = [value for value in inner if _is_dict(value)]
    if not inner:
      break
    found = inner[0]
  if not _is_dict(found):
    raise ValueError(
      f'it holds a {type(found).__name__}, expected a dictionary of arrays: '
      "save the network's weights alone, as torch.save(net.state_dict(), ...)"
    )
  own = {str(n): v for n, v in found.items() if isinstance(v, kind)}
  if not own:
    held = ', '.join(map(str, found))[:80]
    raise ValueError(
      f'it holds no arrays by name, but {held or "nothing"}: of several '
      'networks save one alone'
    )
  while prefix := _shared(own):
    own = {name.removeprefix(prefix): value for name, value in own.items()}
  return own


def flat(tree: Any, kind: type) -> dict[str, Any]:
  """Returns the arrays of nested dictionaries, the keys joined by dots."""
  found = {}

  def walk(value, path):
    if isinstance(value, kind):
      found['.'.join(path)] = value
    elif _is_dict(value):
      for key, inner in value.items():
        walk(inner, (*path, str(key)))

  walk(tree, ())
  return found


def _is_dict(value):
  return isinstance(value, Mapping)


def _shared(names):
  """Returns a known prefix that all names have, if there is one."""
  shared = (p for p in _PREFIXES if all(n.startswith(p) for n in names))
  return next(shared, None)
