"""Runs the reproduction of the papers, config by config, and writes its tables.

  python -m experiments.reproduce --out=out/reproduce
  python -m experiments.reproduce --out=out/reproduce --configs=igos_digits
  python -m experiments.reproduce --out=out/reproduce --store

Each config is a process of its own, with a folder below `--out` that holds what
its launcher writes; `output.txt`, what it prints; and, when it has ended,
`result.json`, its verdicts with the command, the commit and the minutes. Given
again, the command goes on where it was killed; what has a result is not run
again. At last it prints what every claim came to. `--store` runs nothing: it
copies the results to `experiments/results/`, and writes the tables of
`experiments/README.md` and `README.md` from all that are there.
"""

from collections.abc import Iterator
import contextlib
import json
import pathlib
import signal
import subprocess
import time

from absl import flags

from experiments.core import app
from experiments.core import examples  # noqa: F401, for its flag --data_dir.
from experiments.core import naming
from experiments.core import verdicts
from experiments.reproduction import runs
from experiments.reproduction import stored
from experiments.reproduction import table

_CONFIGS = flags.DEFINE_list(
  'configs',
  None,
  'Comma list of runs, igos_digits or attacks:photos; a run with commas in its '
  'argument in double quotes. All that fit a laptop by default.',
)
_STORE = flags.DEFINE_bool(
  'store', False, 'Keep the results of --out, and write the tables; no runs.'
)


def main(setup: app.Setup) -> None:
  """Runs the configs of `--configs`, one after the other."""
  del setup  # Each config has a seed.
  app.alone('reproduce')
  out = app.out_dir('reproduce').resolve()
  if _STORE.value:
    kept = stored.keep(out)
    table.write()
    print(f'kept {len(kept)} results, and wrote the tables: {", ".join(kept)}')
    return
  known = {run.name: run for run in runs.ALL}
  names = _CONFIGS.value or [run.name for run in runs.LAPTOP]
  for name in names:
    naming.check('--configs', name, known)
  failed = []
  for i, name in enumerate(names, start=1):
    folder = out / runs.folder_of(name)
    told = f'{i} of {len(names)}: {name}'
    if (folder / stored.RESULT).is_file():
      print(f'{told}: is done', flush=True)
      continue
    print(f'{told}, about {known[name].minutes:g} min', flush=True)
    with _stopped_as_by_hand():
      ended = _run(name, folder)
    if not ended:
      failed.append(name)
      print(f'  failed: see {folder}/output.txt', flush=True)
  _tell(out, names)
  if failed:
    raise ValueError(
      f'{", ".join(failed)} failed: see output.txt in their folders below '
      f'{out}, and give the command again'
    )


@contextlib.contextmanager
def _stopped_as_by_hand() -> Iterator[None]:
  """Lets a termination end the process of a config too, as Ctrl-C does."""
  before = signal.signal(signal.SIGTERM, signal.default_int_handler)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


def _run(name: str, folder: pathlib.Path) -> bool:
  """Runs a config, and returns whether there is a result."""
  folder.mkdir(parents=True, exist_ok=True)
  data_dir = flags.FLAGS['data_dir'].value
  passed = [] if data_dir is None else [f'--data_dir={data_dir}']
  begin = time.time()
  with (folder / 'output.txt').open('ab') as output:
    process = subprocess.Popen(
      runs.command(name, folder, passed),
      cwd=runs.ROOT,
      stdout=output,
      stderr=subprocess.STDOUT,
    )
    try:
      process.wait()
    finally:
      code = process.poll()
      if code is None:
        # What it has written is whole, or not there.
        process.kill()
        process.wait()
      line = json.dumps({'seconds': time.time() - begin, 'code': code})
      with (folder / stored.ATTEMPTS).open('a') as f:
        f.write(f'{line}\n')
  summary = folder / 'summary.json'
  # A launcher that left examples out has an exit code, and a summary.
  if not summary.is_file() or summary.stat().st_mtime < begin:
    return False
  stored.make(name, folder)
  return True


def _tell(out: pathlib.Path, names: list[str]) -> None:
  """Prints the verdicts of the runs that have ended."""
  for name in names:
    path = out / runs.folder_of(name) / stored.RESULT
    if path.is_file():
      result = json.loads(path.read_text())
      print(f'\n{name}, {result["minutes"]} min')
      print(verdicts.table(result['verdicts']))


if __name__ == '__main__':
  app.run(main)
