"""A small report of records that are made up."""

import numpy as np

from experiments.core import files
from experiments.evaluation import report
from experiments.evaluation import summaries
from tests.experiments import tiny_config


def write(folder, num=3):
  """Writes the report of records that are made up; returns config, summary."""
  config = tiny_config.get_config().to_dict()
  rng = np.random.default_rng(0)
  (folder / 'maps').mkdir()
  records = []
  for i in range(num):
    maps = {}
    for place, label in enumerate(config['methods']):
      refused = '3 of 9 scores are NaN' if (i, place) == (1, 0) else None
      area = 0.1 * place + 0.01 * rng.random()
      curve = {'x': [0.0, 0.5, 1.0], 'y': [0.9, area, 0.1]}
      values = {
        'igos_protocol.deletion': area,
        'igos_protocol.insertion': 1 - area,
        'flipping.flipped': float(place == 2),
      }
      maps[label] = {
        'seconds': 10.0 ** (place - 1),
        'refused': refused,
        'quality': 'good',
        'values': {} if refused else values,
        'curves': {} if refused else {'igos_protocol.deletion': curve},
      }
    kept = {m: rng.random((28, 28, 1)) for m in maps if not maps[m]['refused']}
    image = rng.integers(0, 256, (28, 28, 1), np.uint8)
    files.write_npz(folder / 'maps' / f'{i:05d}.npz', {'image': image, **kept})
    records.append(
      {
        'index': i,
        'name': f'digit <{i}>',
        'label': 3,
        'explained': 3 + i % 2,
        'class': 'a & b',
        'prob': 0.75,
        'right': i % 2 == 0,
        'maps': maps,
      }
    )
  summary = {
    **summaries.summarize(records, config),
    'machine': 'a machine',
    'jax': '0',
  }
  report.write(folder, config, records, summary)
  return config, summary
