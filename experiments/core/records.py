"""What an evaluation keeps in its folder: the config, and one line an example.

Lines are only ever appended, each in one write and flushed to the disk. So a
run that is killed at any instant leaves whole lines and at most one torn one,
which is dropped; the next run goes on with the examples that have no line.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import fcntl
import json
import os
import pathlib
from typing import Any

import jax

from experiments.core import app
from experiments.core import claims
from experiments.core import files

# What a config has made, and no run may take for its own without that config.
_MADE = (
  'records-*.jsonl',
  'metrics.jsonl',
  'checkpoints',
  'trained',
  'model.npz',
)
# What may change between the runs in one folder: no record depends on it.
FREE = (
  'about',
  'batch_size',
  'claims',
  'cluster',
  'launcher',
  'num_examples',
  'num_maps',
)


def keep_config(folder: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Stores the config of a new folder, or compares it with the one there.

  Args:
    folder: of the run.
    config: in JSON's own types, or tuples.

  Raises:
    ValueError: the folder holds the records of another config, or of one that
      is not there.
  """
  path = folder / 'config.json'
  # Looked for first: another process writes its config before its records.
  made = [
    found.name
    for pattern in _MADE
    for found in sorted(folder.glob(pattern))
    if found.is_dir() or found.stat().st_size or found.name == 'trained'
  ]
  if made and not path.is_file():
    raise ValueError(
      f'{str(folder)!r} holds {made[0]} but not the config.json of the run '
      'that made it: put that file back, or take another --workdir'
    )
  new = json.loads(json.dumps(config))
  if path.is_file():
    try:
      old = json.loads(path.read_text())
    except ValueError as e:
      raise ValueError(f'{str(path)!r} is no config: {e}') from e
    changed = _differences(_bound(old), _bound(new))
    if changed:
      raise ValueError(
        f'{str(folder)!r} holds the records of another config, take another '
        f'--workdir: {"; ".join(changed[:4])}'
        + ('; ...' if len(changed) > 4 else '')
      )
  files.write_json(path, new)


def read(folder: pathlib.Path) -> dict[int, dict[str, Any]]:
  """Returns the records of all processes by the index of their example.

  Raises:
    ValueError: a line that is broken and not the last one, or a second line of
      an example.
  """
  found = {}
  for path in sorted(folder.glob('records-*.jsonl')):
    for number, line in enumerate(_whole_lines(path.read_bytes()), start=1):
      where = f'{str(path)!r}, line {number}'
      try:
        record = json.loads(line)
        index = int(record['index'])
      except (ValueError, KeyError, TypeError) as e:
        raise ValueError(f'{where}: no record: {line[:40]!r}') from e
      if index in found:
        raise ValueError(f'{where}: a second record of example {index}')
      found[index] = record
  return dict(sorted(found.items()))


@contextlib.contextmanager
def appending(
  folder: pathlib.Path, process: int = 0
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
  """Opens the records of one process, and gives a function that adds one.

  Args:
    folder: of the run.
    process: each has a file of its own.

  Raises:
    ValueError: another run is writing there.
  """
  path = folder / f'records-{process}.jsonl'
  handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
  try:
    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
      raise ValueError(f'another run is writing to {str(path)!r}') from e
    content = path.read_bytes()
    os.truncate(handle, content.rfind(b'\n') + 1)

    def append(record):
      line = json.dumps(files.plain(record), allow_nan=False) + '\n'
      data = line.encode()
      written = os.write(handle, data)
      if written != len(data):
        raise OSError(f'wrote {written} of {len(data)} bytes to {str(path)!r}')
      os.fsync(handle)

    yield append
  finally:
    os.close(handle)


def complete(
  folder: pathlib.Path,
  config: Mapping[str, Any],
  add: Callable[[list[int], Callable[[Mapping[str, Any]], None]], None],
) -> list[dict[str, Any]] | None:
  """Adds the records that a run still lacks, and returns all.

  Processes share no array: each takes every n-th example, on its own devices.

  Args:
    folder: of the run; it is made where it is missing.
    config: of the run.
    add: takes the indices of the examples that are missing, and a function that
      appends the record of one.

  Returns:
    Those of all examples that judge, in the first process, and `None` in the
    others.

  Raises:
    ValueError: the folder is another config's, or not the one that the other
      processes write to.
  """
  folder.mkdir(parents=True, exist_ok=True)
  keep_config(folder, config)
  process, num = jax.process_index(), jax.process_count()
  with appending(folder, process) as append:
    done = read(folder)
    wanted = claims.judged(config)
    if missing := [i for i in wanted[process::num] if i not in done]:
      add(missing, append)
  app.wait_for_all('records')
  if not app.is_first():
    return None
  found = read(folder)
  lost = [i for i in wanted if i not in found]
  if lost:
    raise ValueError(
      f'{str(folder)!r} has no records of examples {lost[:5]}: expected a '
      '--workdir that all processes share'
    )
  return [found[i] for i in wanted]


def _bound(config: Any) -> Any:
  """Returns the part of a config on which records depend."""
  if not isinstance(config, dict):
    return config
  return {k: v for k, v in config.items() if k not in FREE}


def _whole_lines(content: bytes) -> list[bytes]:
  return content[: content.rfind(b'\n') + 1].splitlines()


def _differences(old: Any, new: Any, where: str = '') -> list[str]:
  """Returns where two JSON values differ, one line a place."""
  if isinstance(old, dict) and isinstance(new, dict):
    dot = f'{where}.' if where else ''
    return [
      line
      for key in dict.fromkeys([*old, *new])
      for line in _differences(
        old.get(key, 'not set'), new.get(key, 'not set'), f'{dot}{key}'
      )
    ]
  same = type(old) is type(new) and old == new
  return [] if same else [f'{where}: {_short(old)} became {_short(new)}']


def _short(value: Any) -> str:
  text = json.dumps(value)
  return text if len(text) <= 40 else text[:37] + '...'
