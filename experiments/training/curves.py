"""The metrics of a training: lines of JSON, and event files for TensorBoard.

A run that goes on from a checkpoint drops what the killed one wrote after it:
the file is the one of a run that was never killed.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import json
import os
import pathlib
from typing import Any

import tensorboardX

from experiments.core import app
from experiments.core import files

FILE = 'metrics.jsonl'

# `(step, kind, values)`.
Write = Callable[[int, str, Mapping[str, Any]], None]


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the lines of a run; the torn last one of a killed run is dropped.

  Raises:
    ValueError: a broken line before the last one.
  """
  path = folder / FILE
  if not path.is_file():
    return []
  content = path.read_bytes()
  lines = content[: content.rfind(b'\n') + 1].splitlines()
  try:
    return [json.loads(line) for line in lines]
  except ValueError as e:
    raise ValueError(f'{str(path)!r} holds a broken line: {e}') from e


@contextlib.contextmanager
def writing(folder: pathlib.Path, step: int) -> Iterator[Write]:
  """Opens the metrics of a run that goes on after `step`.

  Args:
    folder: of the run.
    step: what was written of later ones is dropped.
  """
  if not app.is_first():
    yield lambda step, kind, values: None
    return
  kept = [line for line in read(folder) if line['step'] <= step]
  text = ''.join(json.dumps(line) + '\n' for line in kept)
  files.write_bytes(folder / FILE, text.encode())
  with (
    (folder / FILE).open('a') as f,
    contextlib.closing(
      tensorboardX.SummaryWriter(
        str(folder / 'events'), purge_step=step + 1, max_queue=100
      )
    ) as events,
  ):

    def write(step, kind, values):
      values = files.plain(dict(values))
      f.write(json.dumps({'step': step, 'kind': kind, **values}) + '\n')
      f.flush()
      os.fsync(f.fileno())
      for name, value in values.items():
        if isinstance(value, int | float):
          events.add_scalar(f'{kind}/{name}', value, step)

    yield write
