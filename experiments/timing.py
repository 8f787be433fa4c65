"""Times on a machine that others use too: in turns, and again and again."""

from collections.abc import Callable, Mapping
import time
from typing import Any

import jax


def seconds(run: Callable[[], Any]) -> float:
  """Returns how long a call takes, its arrays included."""
  start = time.perf_counter()
  jax.block_until_ready(run())
  return time.perf_counter() - start


def in_turns(
  runs: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
  """Times functions one after the other, `repeats` times, after a warm-up."""
  for run in runs.values():
    jax.block_until_ready(run())
  found = {name: [] for name in runs}
  for _ in range(repeats):
    for name, run in runs.items():
      found[name].append(seconds(run))
  return found
