"""The benchmark's tables, as rows of text."""

from collections.abc import Mapping
from typing import Any

from experiments.benchmarking import programs

MODEL_HEADER = (
  'calls of the model',
  'images',
  'jax',
  'torch',
  'jax / torch',
)
HEADER = (
  'method',
  'calls',
  'first call',
  'later',
  'bare',
  'ratio',
  'of processor time',
  'of a loop',
  'of its processor time',
  'memory at 4',
  'at 32',
  'peers (processor)',
)


def method_row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
  """Returns the line of a method, or of a metric."""
  memory = [
    f'{found["temporary_bytes"][str(b)] / 2**20:.0f} MiB'
    if str(b) in found['temporary_bytes']
    else '-'
    for b in programs.MEMORY_BATCHES
  ]
  return (
    name,
    str(sum(found['calls'].values())),
    f'{found["first_call_seconds"]:.1f} s',
    f'{found["seconds"]:.3f} s',
    f'{found["bare_seconds"]:.3f} s',
    f'{found["ratio"]:.3f}',
    f'{found["processor_ratio"]:.3f}',
    f'{found["loop_ratio"]:.3f}',
    f'{found["loop_processor_ratio"]:.3f}',
    *memory,
    ', '.join(
      f'{k} {v:.3f} s ({found["processor_seconds"][k]:.3f})'
      for k, v in found['peers_seconds'].items()
    )
    or '-',
  )


def model_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
  """Returns a line a batch size, and one for each side at its best."""

  def line(kind, size, times):
    ratio = f'{times["jax"] / times["torch"]:.2f}' if 'torch' in times else '-'
    both = (
      f'{1000 * times[k]:.1f} ms' if k in times else '-'
      for k in ('jax', 'torch')
    )
    return (kind, size, *both, ratio)

  rows = []
  for kind, entries in found.items():
    rows += [line(kind, str(e['batch_size']), e) for e in entries]
    best = {
      k: min(e[k] for e in entries) for k in ('jax', 'torch') if k in entries[0]
    }
    rows.append(line(kind, 'best', best))
  return rows
