"""Judges methods by metrics over a data set, as a config says.

  python -m experiments.evaluate --config=experiments/configs/igos_photos.py \\
      --workdir=out/igos_photos
  python -m experiments.evaluate --config=experiments/configs/igos_photos.py \\
      --config.num_examples=4 --methods=igos,mask --workdir=out/try

`--methods` takes some of the config's methods, by label, and drops the
comparisons of the others; `--segments=50` gives methods of coalitions that many
superpixels of each image for players, in the place of the config's cells; those
that ask for neighbours (`l_shapley`, `c_shapley`) then compile a program for
every image. A run that was stopped, or killed, goes on where it was when its
command is given again. `--workdir` then holds `config.json`; `records-0.jsonl`,
a line an example; `maps/`; `summary.json`, the means with their intervals, the
paired differences and the verdicts; figures of the mean curves; and
`report.html`, all of that in one file that opens from disk. Where a config
tunes its methods, by its first examples, what that measures is in `tuning/`.
Several processes share the folder, and each writes a file of records.
"""

import functools
import pathlib
from typing import Any

import numpy as np

from experiments.core import app
from experiments.core import claims
from experiments.core import examples
from experiments.core import files
from experiments.core import records
from experiments.core import segments
from experiments.core import subsets
from experiments.core import weights
from experiments.core import workdir
from experiments.evaluation import report
from experiments.evaluation import runner
from experiments.evaluation import summaries
from experiments.evaluation import tuning
from experiments.tables import contenders
from experiments.tables import diagnostics
from experiments.tables import metrics


def main(setup: app.Setup) -> None:
  """Evaluates `--config` in `--workdir`."""
  del setup  # The seed is the config's, and devices are taken by process.
  config, folder = workdir.read()
  config = weights.recorded(subsets.restrict(config))
  if segments.SEGMENTS.value is not None:
    chosen = contenders.on_segments(config['methods'], segments.SEGMENTS.value)
    config = {**config, 'methods': chosen}
  _check(config)
  # As it was given: what is chosen depends on nothing else.
  folder.mkdir(parents=True, exist_ok=True)
  records.keep_config(folder, config)
  tuned, choices = tuning.run(config, folder, _measure)
  found = records.complete(
    folder, config, functools.partial(_measure, tuned, folder)
  )
  if found is not None:
    _summarize(tuned, folder, found, choices)


def _measure(config, folder, missing, append) -> None:
  """Adds the records of some examples, a batch at a time."""
  mesh = app.local_mesh()
  source = examples.load_source(config)
  model = examples.load_model(config)
  run = runner.build(config, model, source, mesh)
  size = mesh.size * config['batch_size']
  (folder / 'maps').mkdir(exist_ok=True)
  with app.progress(missing, what='examples') as bar:
    for start in range(0, len(missing), size):
      batch = missing[start : start + size]
      for record, maps in run(batch, bar.set_postfix_str):
        # The maps come first: a record is the sign that all is there.
        if record['index'] < config['num_maps']:
          path = folder / 'maps' / f'{record["index"]:05d}.npz'
          files.write_npz(path, _small(maps))
        append(record)
      bar.update(len(batch))


def _summarize(
  config: dict[str, Any],
  folder: pathlib.Path,
  found: list[dict[str, Any]],
  choices: dict[str, tuning.Choice],
) -> None:
  """Writes and prints what all the records say."""
  summary = {**summaries.summarize(found, config), **app.machine()}
  summary['tuned'] = {k: v._asdict() for k, v in choices.items()}
  files.write_json(folder / 'summary.json', summary)
  report.write(folder, config, found, summary)
  print(report.tables(config, summary))
  chosen = {label: choice.settings for label, choice in choices.items()}
  for line in [*diagnostics.counted(found), *tuning.told(config, chosen)]:
    print(f'! {line}')
  print(f'wrote {folder}/: report.html, summary.json and figures')
  refused = [
    f'{record["name"]}: {label}: {row["refused"]}'
    for record in found
    for label, row in record['maps'].items()
    if row['refused']
  ]
  if refused:
    raise ValueError(f'left out of the means: {"; ".join(refused)}')


def _small(maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns maps for the eye: bytes for the image, half floats, scaled."""
  small = {'image': np.rint(255 * maps['image']).astype(np.uint8)}
  for label, scores in maps.items():
    if label != 'image' and np.isfinite(scores).all():
      small[label] = (scores / (np.abs(scores).max() or 1)).astype(np.float16)
  return small


def _check(config: dict[str, Any]) -> None:
  """Refuses a config in which a word is wrong, before any work."""
  for name in ('num_examples', 'batch_size'):
    if config[name] < 1:
      raise ValueError(f'config.{name} is {config[name]}, expected at least 1')
  columns = [*metrics.columns(config['metrics']), summaries.SECONDS]
  if 'image' in config['methods']:
    raise ValueError('config.methods.image: expected another label')
  claims.check(config, columns)
  tuning.check(config)


if __name__ == '__main__':
  app.run(main)
