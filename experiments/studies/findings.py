"""What a study returns."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Findings(NamedTuple):
  """What a study found.

  Attributes:
    header: of the table that is printed.
    rows: of that table.
    numbers: all that was measured, for JSON.
    figures: matplotlib figures by name.
    columns: what the config's claims are judged by: numbers, one an example, by
      metric and label, paired by their places.
    clusters: by metric: of each place, where examples depend on one another.
  """

  header: tuple[str, ...]
  rows: Sequence[tuple[str, ...]]
  numbers: Mapping[str, Any]
  figures: Mapping[str, Any]
  columns: Mapping[str, Mapping[str, np.ndarray]] = {}
  clusters: Mapping[str, Sequence[Any]] = {}
