"""The runs of the reproduction, in the order in which they are made.

A run is a config, `igos_digits`, or one and its argument, `attacks:photos`.
"""

from collections.abc import Sequence
import importlib
import pathlib
import sys
from typing import Any, NamedTuple

# The folder from which launchers are started.
ROOT = pathlib.Path(__file__).parents[2]


class Run(NamedTuple):
  """A run: its name, and how long it takes on two cores, in minutes."""

  name: str
  minutes: float


# What two cores do in some hours, with nothing to fetch; the shortest first.
LAPTOP = (
  Run('igos_toy', 0.2),
  Run('leg_facts', 0.5),
  Run('training_cost', 1),
  Run('certificate_cost', 1),
  Run('certificate_rounds', 1),
  Run('caso_relaxation', 1),
  Run('caso_confidence:digits', 1),
  Run('leg_sensitivity', 1),
  Run('caso_sparsity', 2),
  Run('caso_confidence', 2),
  Run('caso_collages', 2),
  Run('certificates:budget', 2),
  Run('caso_spectrum', 3),
  Run('leg_masked', 3),
  Run('attacks', 4),
  Run('igos_failures', 4),
  Run('igos_pictures', 4),
  Run('leg_solver', 4),
  Run('caso_hessian', 5),
  Run('igos_blur', 5),
  Run('igos_table_3:squeezenet', 6),
  Run('igos_table_4:28/squeezenet', 6),
  Run('leg_graphs', 6),
  Run('leg_sensitivity:photos', 6),
  Run('attacks:photos', 6),
  Run('invariant_pictures', 7),
  Run('caso_row', 8),
  Run('certificate_evidence', 8),
  Run('certificates', 19),
  Run('igos_digits', 20),
  Run('invariant_certified', 8),
  Run('certificate_bounds', 8),
  Run('sanity_cascade', 9),
  Run('leg_known', 9),
  Run('leg_rivals_masked', 10),
  Run('leg_rivals', 20),
  Run('sanity_cascade:vit', 10),
  Run('igos_table_5:squeezenet', 11),
  Run('igos_tables_1_2:28,14,7/squeezenet', 16),
  Run('invariant_bounds', 12),
  Run('leg_photos', 19),
  Run('invariant_digits', 20),
  Run('training_baselines', 21),
  Run('invariant_settings', 23),
  Run('igos_photos', 26),
  Run('shapley_budgets', 36),
  Run('training_digits:seeds', 40),
  Run('invariant_photos', 59),
  Run('training_boxes:seeds', 75),
)
# What wants files of `--data_dir`, or an accelerator.
OTHERS = (
  Run('invariant_digits:mnist', 14),
  Run('training_mnist', 30),
  Run('training_certificates', 24),
  Run('training_fashion', 30),
  Run('training_cifar10', 600),
)
ALL = (*LAPTOP, *OTHERS)


def config_of(name: str) -> dict[str, Any]:
  """Returns the config of a run."""
  module, _, argument = name.partition(':')
  found = importlib.import_module(f'experiments.configs.{module}')
  return found.get_config(*filter(None, [argument])).to_dict()


def folder_of(name: str) -> str:
  """Returns what the folder, or the file, of a run is called."""
  return name.translate(str.maketrans(':/,', '-__'))


def command(
  name: str, workdir: pathlib.Path, flags: Sequence[str] = ()
) -> list[str]:
  """Returns the command of a run, for `ROOT`."""
  module, colon, argument = name.partition(':')
  launcher = config_of(name)['launcher']
  path = f'experiments/configs/{module}.py{colon}{argument}'
  program = [sys.executable, '-m', f'experiments.{launcher}']
  return [*program, f'--config={path}', f'--workdir={workdir}', *flags]
