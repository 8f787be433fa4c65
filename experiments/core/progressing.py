"""How far a loop is: a bar on a terminal, a line now and then in a log."""

from collections.abc import Iterable, Iterator
import sys
import time
from typing import Any

import tqdm

# Seconds between two lines of a log, and the share of the time that has passed:
# a run of hours needs no more lines than one of minutes.
_SECONDS, _SHARE = 5.0, 0.02


def over(
  items: Iterable[Any],
  *,
  what: str,
  total: int | None = None,
  hidden: bool = False,
) -> 'tqdm.tqdm | Lines':
  """Wraps a loop, and shows on stderr how far it is.

  Both kinds know `update(n)` and `set_postfix_str(text)`, and are contexts, for
  a loop that is not over the items themselves.

  Args:
    items: of the loop.
    what: they are.
    total: number of them, where they have no length.
    hidden: show nothing.
  """
  if hidden or sys.stderr.isatty():
    return tqdm.tqdm(
      items, desc=what, total=total, disable=hidden, leave=False, delay=0.2
    )
  return Lines(items, what, total)


class Lines:
  """A loop that prints a line where some time has passed since the last."""

  def __init__(self, items: Iterable[Any], what: str, total: int | None = None):
    self._items, self._what, self._note, self._done = items, what, '', 0
    self._total = len(items) if total is None else total
    self._begin = self._told = time.monotonic()

  def __iter__(self) -> Iterator[Any]:
    for item in self._items:
      yield item
      self.update()

  def __enter__(self) -> 'Lines':
    return self

  def __exit__(self, *error: Any) -> None:
    pass

  def update(self, n: int = 1) -> None:
    """Counts `n` items as done."""
    self._done += n
    self._tell()

  def set_postfix_str(self, note: str) -> None:
    """Says what is under way."""
    self._note = note
    self._tell()

  def _tell(self) -> None:
    now = time.monotonic()
    passed = now - self._begin
    if now - self._told < max(_SECONDS, _SHARE * passed):
      return
    self._told = now
    times = f'{passed:.0f} s'
    if 0 < self._done < self._total:
      left = passed / self._done * (self._total - self._done)
      times += f', about {left:.0f} s to go'
    note = f': {self._note}' if self._note else ''
    print(
      f'{self._what}: {self._done} of {self._total} after {times}{note}',
      file=sys.stderr,
      flush=True,
    )
