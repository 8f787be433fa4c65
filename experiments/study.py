"""Runs a study: a figure or a table of a paper that no evaluation makes.

  python -m experiments.study --config=experiments/configs/leg_known.py \\
      --workdir=out/leg_known

`config.study` names a module of `experiments/studies/`, whose `run` does the
work; the other fields are its settings. `--workdir` then holds `config.json`,
`study.json` with every number, `summary.json` with the verdicts on the config's
claims, and the figures.
"""

import importlib
import time

from experiments.core import app
from experiments.core import files
from experiments.core import records
from experiments.core import verdicts
from experiments.core import weights
from experiments.core import workdir


def main(setup: app.Setup) -> None:
  """Runs the study of `--config`."""
  del setup  # The seed is the config's.
  app.alone('study')
  config, folder = workdir.read()
  config = weights.recorded(config)
  folder.mkdir(parents=True, exist_ok=True)
  records.keep_config(folder, config)
  begin = time.perf_counter()
  study = importlib.import_module(f'experiments.studies.{config["study"]}')
  found = study.run(config, folder)
  print(app.table(found.header, found.rows))
  judged = verdicts.judge(config['claims'], found.columns, found.clusters)
  if judged:
    print(verdicts.table(judged))
  for name, figure in found.figures.items():
    files.write_figure(folder / f'{name}.png', figure)
  seconds = time.perf_counter() - begin
  about = {
    'about': config['about'],
    'numbers': found.numbers,
    'table': [dict(zip(found.header, row, strict=True)) for row in found.rows],
    'seconds': seconds,
    **app.machine(),
  }
  files.write_json(folder / 'study.json', about)
  summary = {'verdicts': judged, **app.machine()}
  files.write_json(folder / 'summary.json', summary)
  names = ', '.join(
    ['study.json', 'summary.json', *(f'{n}.png' for n in found.figures)]
  )
  print(f'wrote {folder}/: {names}, after {seconds:.0f} s')


if __name__ == '__main__':
  app.run(main)
