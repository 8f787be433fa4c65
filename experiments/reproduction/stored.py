"""What is kept of a run in `experiments/results/`: verdicts, and whence."""

import json
import pathlib
import subprocess
from typing import Any

from experiments.core import files
from experiments.reproduction import runs

FOLDER = runs.ROOT / 'experiments' / 'results'
RESULT = 'result.json'
# One line an attempt: seconds, exit code.
ATTEMPTS = 'attempts.jsonl'


def make(name: str, folder: pathlib.Path) -> dict[str, Any]:
  """Makes the result of a run from its folder, and writes it there."""
  summary = json.loads((folder / 'summary.json').read_text())
  lines = (folder / ATTEMPTS).read_text().splitlines()
  seconds = sum(json.loads(line)['seconds'] for line in lines)
  module, colon, argument = name.partition(':')
  launcher = runs.config_of(name)['launcher']
  result = {
    'name': name,
    'command': (
      f'python -m experiments.{launcher} '
      f'--config=experiments/configs/{module}.py{colon}{argument} '
      f'--workdir=out/{runs.folder_of(name)}'
    ),
    'commit': _commit(),
    'minutes': round(seconds / 60, 1),
    'machine': summary.get('machine', ''),
    'jax': summary.get('jax', ''),
    'verdicts': [_rounded(v) for v in summary['verdicts']],
  }
  files.write_json(folder / RESULT, result)
  return result


def keep(out: pathlib.Path) -> list[str]:
  """Copies the results below a folder to where they are kept.

  Returns:
    The names of their runs.
  """
  kept = []
  for run in runs.ALL:
    path = out / runs.folder_of(run.name) / RESULT
    if path.is_file():
      result = json.loads(path.read_text())
      files.write_json(FOLDER / f'{runs.folder_of(run.name)}.json', result)
      kept.append(run.name)
  return kept


def read() -> dict[str, dict[str, Any]]:
  """Returns the results that are kept, by the names of their runs."""
  found = [json.loads(p.read_text()) for p in sorted(FOLDER.glob('*.json'))]
  return {result['name']: result for result in found}


def _commit() -> str:
  """Returns the commit of the checkout, with a + where files differ from it."""
  git = lambda *args: subprocess.run(
    ['git', *args], cwd=runs.ROOT, capture_output=True, text=True, check=False
  ).stdout.strip()
  changed = git('status', '--porcelain', '--untracked-files=no')
  return git('rev-parse', '--short=10', 'HEAD') + ('+' if changed else '')


def _rounded(value: Any) -> Any:
  """Returns a value with what is measured at four digits."""
  if isinstance(value, dict):
    return {k: _rounded(v) for k, v in value.items()}
  if isinstance(value, list):
    return [_rounded(v) for v in value]
  return float(f'{value:.4g}') if isinstance(value, float) else value
