"""Times on a machine that others use too: in turns, and again and again."""

from collections.abc import Callable, Mapping
import time
from typing import Any, NamedTuple

import jax


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
  """Returns the seconds that a call takes, its arrays included, and these."""
  start = time.perf_counter()
  result = jax.block_until_ready(run())
  return time.perf_counter() - start, result


class Seconds(NamedTuple):
  """What a call takes.

  Attributes:
    wall: until it returns.
    processor: of all threads of this process, which others on the machine move
      less.
  """

  wall: float
  processor: float


def in_turns(
  runs: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
  """Times functions one after the other, `repeats` times, after a warm-up."""
  return {
    name: [seconds.wall for seconds in found]
    for name, found in by_both_clocks(runs, repeats).items()
  }


def by_both_clocks(
  runs: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[Seconds]]:
  """Times functions as `in_turns` does, in seconds of the processor, too."""
  for run in runs.values():
    jax.block_until_ready(run())
  found = {name: [] for name in runs}
  for _ in range(repeats):
    for name, run in runs.items():
      start = time.process_time()
      wall, _ = timed(run)
      found[name].append(Seconds(wall, time.process_time() - start))
  return found
