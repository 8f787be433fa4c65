"""Times every method against the bare model calls that it makes.

  python -m experiments.benchmark
  python -m experiments.benchmark --model=squeezenet --methods=smooth_grad,rise

For each method, in one run: the first call (tracing and compiling, with no
help of the compilation cache), a later call, the same number of bare model
calls at the same batch size, their ratio, and the temporary memory of the
compiled program at two batch sizes; and the same of the measures whose every
point is one call. Where the `peers` extra is installed, captum and PAIR's
saliency make the same maps, and torch the same model calls. What is compared is
timed in turns, and medians are told. Writes `<model>.json` to --out.
"""

from collections.abc import Mapping
import functools
import importlib.util
import math
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments import app
from experiments import files
from experiments import inputs
from experiments import methods
from experiments import timing
from experiments.evaluation import metrics
from saliency_jax import models
from saliency_jax import scores
from saliency_jax.core import curvature

_REPEATS = flags.DEFINE_integer(
  'repeats', 5, 'Timed calls, of which the median counts.', lower_bound=1
)
_MEMORY = flags.DEFINE_bool(
  'memory', True, 'Compile each method at two batch sizes to compare memory.'
)
_BATCHES = flags.DEFINE_list(
  'batches', ['1', '2', '4', '8', '16', '32'], 'Images a call of the model.'
)
_MEASURES = flags.DEFINE_list(
  'measures',
  ['igos_protocol'],
  'Measures of maps to time: igos_protocol, rise_protocol.',
)
_PEERS = flags.DEFINE_bool(
  'peers', None, 'Time captum, PAIR and torch too; if they are installed.'
)
# Enough for a ratio; what a map needs takes minutes to repeat.
_FEW = {
  'smooth_grad': {'num_samples': 32},
  'smooth_grad_squared': {'num_samples': 32},
  'var_grad': {'num_samples': 32},
  'integrated_gradients': {'num_steps': 32},
  'expected_gradients': {'num_samples': 32},
  'rise': {'num_masks': 128},
  'mask': {'num_steps': 32},
  'sparsified_map': {'num_samples': 64},
  'relaxed_map': {'num_samples': 64},
  'median_rank': {'num_samples': 64},
}
# A batch of 32 needs that many draws; these programs are not run.
_DRAWS = ('num_samples', 'num_masks', 'num_steps', 'path_steps')
_MEMORY_BATCHES, _MEMORY_COUNT = (4, 32), 64
_CURVES = ('igos_protocol', 'rise_protocol')
_PEER_PACKAGES = ('torch', 'captum', 'saliency', 'efficientnet_lite_pytorch')


def main(setup: app.Setup) -> None:
  """Times the methods on one network."""
  # A cached program would make the first call look cheap.
  jax.config.update('jax_enable_compilation_cache', False)
  out = app.out_dir('benchmark')
  names = methods.choose(methods.NAMES.value)
  measures = [name for name in _MEASURES.value if name]
  if not set(measures) <= set(_CURVES):
    raise ValueError(
      f'--measures {",".join(measures)!r}: expected some of '
      + ', '.join(_CURVES)
    )
  missing = [p for p in _PEER_PACKAGES if importlib.util.find_spec(p) is None]
  if _PEERS.value and missing:
    raise ValueError(
      f"--peers needs {', '.join(missing)}: pip install 'saliency-jax[peers]'"
    )
  with_peers = not missing if _PEERS.value is None else _PEERS.value
  sizes = _batch_sizes(_BATCHES.value)
  model = models.load(inputs.MODEL.value)
  settings = _settings(names, model.spec)
  where = app.machine()
  print(f'{model.spec.name} on {where["machine"]}, JAX {where["jax"]}')
  x = jnp.asarray(inputs.read_image(inputs.IMAGE.value, model.spec))
  label = int(jnp.argmax(jax.jit(model.apply)(model.params, x)))
  others, network = {}, None
  if with_peers:
    # Slow to import, and an extra.
    from experiments import peers
    from experiments import torch_networks

    network = torch_networks.load(model.spec.name)
    others = peers.explainers(network, np.asarray(x), label, settings)
  found = {}
  for name in (bar := app.progress(names, what='methods')):
    bar.set_postfix_str(name)
    try:
      found[name] = _time_method(
        setup.key, model, name, settings[name], x, label, others.get(name, {})
      )
    except ValueError as e:
      raise ValueError(f'{name}: {app.one_line(e)}') from e
  judged = {
    name: _time_measure(setup.key, model, name, x, label) for name in measures
  }
  rows = [_row(n, f) for n, f in {**found, **judged}.items()]
  print(app.table(_HEADER, rows))
  calls = _time_model(model, np.asarray(x), label, network, sizes)
  header = ('calls of the model', 'images', 'jax', 'torch', 'jax / torch')
  print(f'\n{app.table(header, _model_rows(calls))}')
  if app.is_first():
    report = {
      'model': model.spec.name,
      **where,
      'methods': found,
      'measures': judged,
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
  return methods.settings_of(names, [*counts, *methods.SETTINGS.value], spec)


def _time_method(key, model, name, settings, x, label, others):
  """Times one method, its bare model calls and its peers, in turns."""
  args = (model.params, x[None], jnp.array([label], jnp.int32), key[None])
  explain = methods.build(name, settings, model.apply)
  entry = methods.METHODS[name]
  found = _time(
    explain,
    args,
    lambda info: entry.calls(settings, info),
    _bare(model, entry.score, settings.get('batch_size', 1), x, label),
    others,
  )
  return {
    **found,
    'settings': {
      k: v for k, v in settings.items() if not isinstance(v, jax.Array)
    },
    'temporary_bytes': _temporary_bytes(model, name, settings, args),
  }


def _time_measure(key, model, name, x, label):
  """Times a measure of a random map, and its bare model calls, in turns."""
  settings = metrics.settings_of(name, {})
  shown = jax.random.uniform(key, (1, *x.shape[:2], 1))
  args = (model.params, (x[None], shown), jnp.array([label]), key[None])

  def calls(measured):
    points = sum(curve.values.size for curve in measured.curves.values())
    return methods.Calls(forwards=points)

  found = _time(
    metrics.build(name, settings, model.apply),
    args,
    calls,
    _bare(model, scores.prob, settings['batch_size'], x, label),
    {},
  )
  return {**found, 'settings': settings, 'temporary_bytes': {}}


def _time(program, args, calls, bare, others):
  """Times a program, the model calls that its `info` tells of, and others."""
  first, batch = timing.timed(lambda: program(*args))
  made = calls(jax.tree.map(lambda a: np.asarray(a[0]), batch.info))
  timed = {'ours': lambda: program(*args), 'bare': bare(made), **others}
  seconds = timing.in_turns(timed, _REPEATS.value)
  ratios = np.divide(seconds['ours'], seconds['bare'])
  medians = {who: float(np.median(s)) for who, s in seconds.items()}
  return {
    'first_call_seconds': first,
    'seconds': medians.pop('ours'),
    'bare_seconds': medians.pop('bare'),
    'ratio': float(np.median(ratios)),
    'peers_seconds': medians,
    'calls': made._asdict(),
  }


def _bare(model, score_of, batch_size, x, label):
  """Returns what makes, of a number of calls, a function that does them."""

  def score(params, x):
    # The gradient of several margins is that of a sum of them.
    return jnp.sum(score_of(model.apply, params, label)(x))

  programs = {
    'gradients': jax.value_and_grad(score, argnums=1),
    'forwards': score,
    'products': lambda params, x: curvature.hvp(
      functools.partial(score, params), x, jnp.ones_like(x)
    ),
  }

  def bare(calls):
    plans = []
    for kind, num in calls._asdict().items():
      if num:
        # The batches of `core.sampling`: as few as possible, of equal size.
        num_batches = math.ceil(num / min(batch_size or num, num))
        size = math.ceil(num / num_batches)
        batch = jnp.broadcast_to(x, (size, *x.shape)) + 0.0
        run = jax.jit(jax.vmap(programs[kind], (None, 0)))
        plans.append((functools.partial(run, model.params, batch), num_batches))

    def repeat():
      for run, num_batches in plans:
        for _ in range(num_batches):
          jax.block_until_ready(run())

    return repeat

  return bare


def _temporary_bytes(model, name, settings, args) -> dict[str, int]:
  """Returns the peak temporary memory of the program, by batch size."""
  if not _MEMORY.value or 'batch_size' not in settings:
    return {}
  counts = {k: _MEMORY_COUNT for k in _DRAWS if k in settings}
  found = {}
  for batch_size in _MEMORY_BATCHES:
    smaller = {**settings, **counts, 'batch_size': batch_size}
    explain = methods.build(name, smaller, model.apply)
    analysis = explain.lower(*args).compile().memory_analysis()
    found[str(batch_size)] = analysis.temp_size_in_bytes
  return found


def _time_model(model, x, label, network, sizes) -> dict[str, Any]:
  """Times the network alone at several batch sizes, torch beside it."""

  def logit(params, x):
    return model.apply(params, x)[label]

  programs = {
    'forward': jax.jit(jax.vmap(model.apply, (None, 0))),
    'gradient': jax.jit(jax.vmap(jax.value_and_grad(logit, 1), (None, 0))),
  }
  found = {kind: [] for kind in programs}
  for size in app.progress(sizes, what='calls of the model'):
    batch = np.repeat(x[None], size, 0)
    theirs = (None, None)
    if network is not None:
      from experiments import peers

      theirs = peers.model_calls(network, batch, label)
    ours = jnp.asarray(batch)
    for (kind, program), other in zip(programs.items(), theirs, strict=True):
      runs = {'jax': functools.partial(program, model.params, ours)}
      if other is not None:
        runs['torch'] = other
      seconds = timing.in_turns(runs, 2 * _REPEATS.value)
      per_image = {k: float(np.median(v)) / size for k, v in seconds.items()}
      found[kind].append({'batch_size': size, **per_image})
  return found


_HEADER = (
  'method',
  'calls',
  'first call',
  'later',
  'bare',
  'ratio',
  'memory at 4',
  'at 32',
  'peers',
)


def _row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
  memory = [
    f'{found["temporary_bytes"][str(b)] / 2**20:.0f} MiB'
    if str(b) in found['temporary_bytes']
    else '-'
    for b in _MEMORY_BATCHES
  ]
  return (
    name,
    str(sum(found['calls'].values())),
    f'{found["first_call_seconds"]:.1f} s',
    f'{found["seconds"]:.3f} s',
    f'{found["bare_seconds"]:.3f} s',
    f'{found["ratio"]:.3f}',
    *memory,
    ', '.join(f'{k} {v:.3f} s' for k, v in found['peers_seconds'].items())
    or '-',
  )


def _model_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
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


if __name__ == '__main__':
  app.run(main)
