"""Times on a machine that others use too: in turns, and again and again."""

from collections.abc import Callable, Mapping
import time
from typing import Any

import jax


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
  """Returns the seconds that a call takes, its arrays included, and these."""
  start = time.perf_counter()
  result = jax.block_until_ready(run())
  return time.perf_counter() - start, result


def in_turns(
  runs: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
  """Times functions one after the other, `repeats` times, after a warm-up."""
  for run in runs.values():
    jax.block_until_ready(run())
  found = {name: [] for name in runs}
  for _ in range(repeats):
    for name, run in runs.items():
      found[name].append(timed(run)[0])
  return found
