"""Times every method against the bare model calls that it makes.

  python -m experiments.benchmark
  python -m experiments.benchmark --model=squeezenet --methods=smooth_grad,rise

For each method, in one run: the first call (tracing and compiling, with no
help of the compilation cache), a later call, the same number of bare model
calls at the same batch size, their ratio, and the ratio of processor time,
which others on the machine move less; the same ratios to a loop of bare calls
in one program; the temporary memory of the compiled program at two batch sizes;
and the same of the metrics whose every point is one call. Where the `peers`
extra is installed, captum, PAIR's saliency, shap and lime make the same maps,
and torch the same model calls, alone and, beside coalitions, as many as they
take. What is compared is timed in turns, and medians are told. Writes
`<model>.json` to --out; and with --profile `profile/<method>/`, whose
`perfetto_trace.json.gz` ui.perfetto.dev opens, and whose whole TensorBoard.
"""

import importlib.util
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarking import networks
from experiments.benchmarking import programs
from experiments.benchmarking import tables
from experiments.core import app
from experiments.core import choices
from experiments.core import files
from experiments.core import inputs
from experiments.core import naming
from experiments.core import subsets
from experiments.core import weights
from experiments.tables import methods

_REPEATS = flags.DEFINE_integer(
  'repeats', 5, 'Timed calls, of which the median counts.', lower_bound=1
)
_MEMORY = flags.DEFINE_bool(
  'memory', True, 'Compile each method at two batch sizes to compare memory.'
)
_BATCHES = flags.DEFINE_list(
  'batches', ['1', '2', '4', '8', '16', '32'], 'Images a call of the model.'
)
_METRICS = flags.DEFINE_list(
  'metrics',
  ['igos_protocol'],
  'Measures of maps to time: igos_protocol, rise_protocol.',
)
_PEERS = flags.DEFINE_bool(
  'peers', None, 'Time captum, PAIR and torch too; if they are installed.'
)
_PROFILE = flags.DEFINE_bool(
  'profile', False, 'Trace one more call of each method, by jax.profiler.'
)
# Enough for a ratio; what a map needs takes minutes to repeat.
_FEW = {
  'smooth_grad': {'num_samples': 32},
  'smooth_grad_squared': {'num_samples': 32},
  'var_grad': {'num_samples': 32},
  'integrated_gradients': {'num_steps': 32},
  'expected_gradients': {'num_samples': 32},
  'rise': {'num_masks': 128},
  # 49 cells, the least of photos, and few draws beside them.
  'ablation': {'cells': 7},
  'kernel_shap': {'cells': 7, 'num_samples': 480, 'num_fresh': 9},
  'lime': {'cells': 7, 'num_samples': 480, 'num_fresh': 18},
  'mask': {'num_steps': 32},
  'invariant_perturbation': {'num_steps': 16},
  'sparsified_map': {'num_samples': 64},
  'relaxed_map': {'num_samples': 64},
  'median_rank': {'num_samples': 64},
}
_CURVES = ('igos_protocol', 'rise_protocol')
_PEER_PACKAGES = ('torch', 'captum', 'saliency', 'efficientnet_lite_pytorch')


def main(setup: app.Setup) -> None:
  """Times the methods on one network."""
  app.alone('benchmark')
  # A cached program would make the first call look cheap.
  jax.config.update('jax_enable_compilation_cache', False)
  out = app.out_dir('benchmark')
  names = methods.choose(subsets.METHODS.value or ['quick'])
  curves = [name for name in _METRICS.value if name]
  for name in curves:
    naming.check('--metrics', name, _CURVES)
  missing = [p for p in _PEER_PACKAGES if importlib.util.find_spec(p) is None]
  if _PEERS.value and missing:
    raise ValueError(
      f"--peers needs {', '.join(missing)}: pip install 'saliency-jax[peers]'"
    )
  with_peers = not missing if _PEERS.value is None else _PEERS.value
  sizes = _batch_sizes(_BATCHES.value)
  model = weights.load(choices.MODEL.value)
  settings = _settings(names, model.spec)
  where = app.machine()
  print(f'{model.spec.name} on {where["machine"]}, JAX {where["jax"]}')
  image = inputs.image_name(choices.IMAGE.value, model.spec)
  x = jnp.asarray(inputs.read_image(image, model.spec, fit=choices.FIT.value))
  label = int(jnp.argmax(jax.jit(model.apply)(model.params, x)))
  others, network = {}, None
  if with_peers:
    # Slow to import, and an extra.
    from experiments.benchmarking import peers
    from experiments.benchmarking import torch_networks

    network = torch_networks.load(model.spec.name)
    others = peers.explainers(network, np.asarray(x), label, settings)
  subject = programs.Subject(model, x, label, setup.key, _REPEATS.value)
  found = {}
  for name in (bar := app.progress(names, what='methods')):
    bar.set_postfix_str(name)
    try:
      found[name] = programs.time_method(
        subject,
        name,
        settings[name],
        others.get(name, {}),
        memory=_MEMORY.value,
        profile=out / 'profile' / name if _PROFILE.value else None,
      )
    except ValueError as e:
      raise ValueError(f'{name}: {app.one_line(e)}') from e
  judged = {name: programs.time_metric(subject, name) for name in curves}
  timed = {**found, **judged}
  print(
    app.table(
      tables.HEADER, [tables.method_row(n, f) for n, f in timed.items()]
    )
  )
  calls = networks.time_model(
    model,
    np.asarray(x),
    label,
    network,
    sizes=sizes,
    repeats=2 * _REPEATS.value,
  )
  print()
  print(app.table(tables.MODEL_HEADER, tables.model_rows(calls)))
  report = {
    'model': model.spec.name,
    **where,
    'methods': found,
    'metrics': judged,
    'model_calls': calls,
  }
  files.write_json(out / f'{model.spec.name}.json', report)
  print(f'wrote {out}/{model.spec.name}.json')


def _batch_sizes(texts) -> list[int]:
  if not texts or not all(t.isdecimal() and int(t) > 0 for t in texts):
    raise ValueError(
      f'--batches {",".join(texts)!r}: expected whole numbers from 1'
    )
  return [int(t) for t in texts]


def _settings(names, spec) -> dict[str, dict[str, Any]]:
  """Returns the settings of methods, with few draws unless a flag asks."""
  counts = [
    f'{name}.{setting}={count}'
    for name in names
    for setting, count in _FEW.get(name, {}).items()
  ]
  # What a flag says comes later, and wins.
  return methods.settings_of(names, [*counts, *choices.SETTINGS.value], spec)


if __name__ == '__main__':
  app.run(main)
