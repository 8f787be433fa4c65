"""One way to look a name up, and to refuse an unknown one."""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

_T = TypeVar('_T')


def check(what: str, name: Any, known: Collection[str]) -> None:
  """Refuses a name that is not among those that are known.

  Args:
    what: is named: a flag, or the path of a config's field.
    name: as it was given.
    known: every name.

  Raises:
    ValueError: it is not known, with all that are.
  """
  if name not in list(known):
    raise ValueError(f'{what} is {name!r}, expected one of {", ".join(known)}')


def find(what: str, name: Any, table: Mapping[str, _T]) -> _T:
  """Returns what a name stands for in a table: see `check`."""
  check(what, name, table)
  return table[name]
