"""What a study returns."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Findings(NamedTuple):
  """What a study found.

  Attributes:
    header: of the table that is printed.
    rows: of that table.
    numbers: all that was measured, for JSON.
    figures: matplotlib figures by name.
  """

  header: tuple[str, ...]
  rows: Sequence[tuple[str, ...]]
  numbers: Mapping[str, Any]
  figures: Mapping[str, Any]
