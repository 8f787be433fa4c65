"""From a config to records: every method and every metric on some examples."""

from collections.abc import Callable, Mapping, Sequence
import time
from typing import Any
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from experiments.core import app
from experiments.core import examples
from experiments.core import results
from experiments.evaluation import own_programs
from experiments.tables import contenders
from experiments.tables import diagnostics
from experiments.tables import metrics
from saliency_jax import data
from saliency_jax.core import batching
from saliency_jax.core import describing
from saliency_jax.core import sampling
from saliency_jax.models import types as model_types

# A record, and the arrays from which its maps are drawn.
Found = tuple[dict[str, Any], dict[str, np.ndarray]]
# Takes indices, and a function that is told what is under way.
Runner = Callable[[Sequence[int], Callable[[str], None]], list[Found]]


def build(
  config: Mapping[str, Any],
  model: model_types.Model,
  source: data.Source,
  mesh: jax.sharding.Mesh,
) -> Runner:
  """Returns what explains and measures a batch of examples.

  All that is drawn depends on the seed, the method's or metric's name and the
  example's index alone: neither on the batch nor on what else is compared, and
  two settings of one method share their draws.

  Raises:
    ValueError: a bad setting, before anything is run.
  """
  spec = model.spec
  size = mesh.size * config['batch_size']
  chosen = contenders.choose(config['methods'], spec)
  chosen_metrics = {
    label: (m['name'], _settings(label, m))
    for label, m in config['metrics'].items()
  }
  # By the label of a metric: when it has no value, in words.
  undefined = {
    label: f' where {why}' if (why := metrics.entry(name).undefined) else ''
    for label, (name, _) in chosen_metrics.items()
  }
  traced = _trace(model, chosen, chosen_metrics, mesh, size)
  along = jax.NamedSharding(mesh, jax.P(mesh.axis_names))
  params = jax.device_put(model.params, jax.NamedSharding(mesh, jax.P()))
  seed = jax.random.key(config['seed'])
  compiled = {}

  def call(place, tell, *batch):
    # Only what is run is compiled, and that once.
    if place not in compiled:
      tell('compiling ' + ' '.join(filter(None, place)))
      compiled[place] = traced[place].lower().compile()
    tell(' '.join(filter(None, place)))
    batch = jax.device_put(batch, along)
    start = time.perf_counter()
    out = jax.block_until_ready(compiled[place](params, *batch))
    return out, time.perf_counter() - start

  def keys_of(name, rows):
    key = jax.random.fold_in(seed, zlib.crc32(name.encode()))
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.asarray(rows))

  def measure(contender, label, xs, labels, rows, tell):
    """Returns the maps of a batch, their importances, and what is measured."""
    keys = keys_of(contender.name, rows)
    of_map = lambda key: sampling.key_for(key, sampling.METHOD)
    batch = (xs, labels, jax.vmap(of_map)(keys))
    if ('map', label) in traced:
      out, seconds = call(('map', label), tell, *batch)
    else:
      out, seconds = own_programs.explain(
        contender, model, batch, rows, lambda: tell(f'compiling map {label}')
      )
      out = jax.device_put(out, along)
    pixels = contenders.importance(contender, out.scores, xs)
    found = {}
    for metric, (name, settings) in chosen_metrics.items():
      entry = metrics.METRICS[name]
      shown = entry.reads(contender, out.scores, xs, settings)
      place = ('metric', metric, label if entry.by_method else '')
      own = keys if entry.by_method else keys_of(name, rows)
      found[metric], _ = call(place, tell, xs, shown, labels, own)
    return jax.tree.map(np.asarray, (out, pixels)), found, seconds

  def run(indices, tell):
    rows = batching.fill(indices, size)
    read = [examples.prepare(source, i, spec) for i in rows]
    xs = jax.device_put(np.stack([e.image for e in read]), along)
    logits, _ = call(('logits',), tell, xs)
    logits = np.asarray(logits, np.float64)
    labels = jax.device_put(logits.argmax(-1).astype(np.int32), along)
    records, maps = [], []
    for i, example, z in zip(indices, read, logits, strict=False):
      records.append(_start(i, example, z, spec))
      maps.append({'image': example.image})
    for label, contender in chosen.items():
      (out, pixels), measured, seconds = measure(
        contender, label, xs, labels, rows, tell
      )
      for j, record in enumerate(records):
        one = jax.tree.map(lambda a, j=j: a[j], out)
        found = {
          metric: jax.tree.map(lambda a, j=j: np.asarray(a[j]), m)
          for metric, m in measured.items()
        }
        time_of_one = seconds / len(indices)
        record['maps'][label] = _row(
          contender, one, found, time_of_one, record['prob'], undefined
        )
        maps[j][label] = pixels[j]
    return list(zip(records, maps, strict=True))

  return run


def _settings(label, metric):
  """Returns every setting of a metric of the config."""
  try:
    return metrics.settings_of(metric['name'], metric['settings'])
  except ValueError as e:
    raise ValueError(f'config.metrics.{label}: {e}') from e


def _trace(model, chosen, chosen_metrics, mesh, size):
  """Traces every program: a bad setting is told within seconds."""
  along, whole = (
    jax.NamedSharding(mesh, p) for p in (jax.P(mesh.axis_names), jax.P())
  )

  def like(shape, dtype):
    return jax.ShapeDtypeStruct((size, *shape), dtype, sharding=along)

  shape = model.spec.input_shape
  xs, labels = like(shape, jnp.float32), like((), jnp.int32)
  keys = like((), jax.random.key(0).dtype)
  params = jax.tree.map(
    lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole),
    model.params,
  )
  traced = {}

  def trace(place, where, program, *batch):
    try:
      traced[place] = program.trace(params, *batch)
    except ValueError as e:
      raise ValueError(f'{where}: {app.one_line(e)}') from e

  logits = batching.over_batch(model.apply, mesh)
  trace(('logits',), model.spec.name, logits, xs)
  for label, contender in chosen.items():
    where = f'config.methods.{label}'
    own = _with_some_players(contender, where, shape)
    program = contenders.build(own or contender, model.apply, mesh)
    trace(('map', label), where, program, xs, labels, keys)
    if own is not None:  # Its programs are those of its images.
      del traced['map', label]
  for metric, (name, settings) in chosen_metrics.items():
    entry = metrics.METRICS[name]
    try:
      read = [_read(entry, c, settings, xs) for c in chosen.values()]
    except ValueError as e:
      raise ValueError(f'config.metrics.{metric}: {app.one_line(e)}') from e
    shown = like(read[0].shape[1:], read[0].dtype)
    # A program for all methods, unless the metric asks who made the map.
    asked = chosen if entry.by_method else {'': next(iter(chosen.values()))}
    for label, contender in asked.items():
      program = metrics.build(
        name,
        settings,
        model.apply,
        method=contender.method,
        score=contender.entry.score,
        by_size=contender.entry.reading.by_size,
        mesh=mesh,
      )
      place, where = ('metric', metric, label), f'config.metrics.{metric}'
      trace(place, where, program, xs, shown, labels, keys)
  return traced


def _with_some_players(contender, where, shape):
  """Returns what `contenders.on_image` does of an image of nothing."""
  try:
    return contenders.on_image(contender, np.zeros(shape))
  except ValueError as e:
    raise ValueError(f'{where}: {app.one_line(e)}') from e


def _read(entry, contender, settings, xs):
  """Returns the shape of what a metric takes of a contender's maps."""
  like = jax.ShapeDtypeStruct(xs.shape, xs.dtype)
  reads = lambda scores, xs: entry.reads(contender, scores, xs, settings)
  return jax.eval_shape(reads, like, like)


def _start(index, example, logits, spec):
  """Returns the part of a record that no method makes."""
  if not np.isfinite(logits).all():
    raise ValueError(f'{spec.name} gives NaN on {example.name!r}')
  probs = np.exp(logits - np.logaddexp.reduce(logits))
  explained = int(logits.argmax())
  names = spec.class_names or tuple(map(str, range(logits.size)))
  return {
    'index': index,
    'name': example.name,
    'label': example.label,
    'explained': explained,
    'class': names[explained],
    'prob': float(probs[explained]),
    'right': None if example.label is None else example.label == explained,
    'maps': {},
  }


def _row(contender, one, measured, seconds, prob, undefined):
  """Returns what a record says of one map."""
  refused = results.trouble(one)
  row = {'seconds': seconds, 'refused': refused, 'warnings': []}
  if refused:
    return {**row, 'quality': '', 'values': {}, 'curves': {}}
  values, curves = {}, {}
  for metric, found in measured.items():
    values |= {f'{metric}.{k}': float(v) for k, v in found.values.items()}
    curves |= {
      f'{metric}.{k}': {'x': _short(c.fractions), 'y': _short(c.values)}
      for k, c in found.curves.items()
    }
  missing = [
    f'{k} is not finite{undefined[k.rpartition(".")[0]]}'
    for k, v in values.items()
    if not np.isfinite(v)
  ]
  said = diagnostics.warnings(one, score=contender.entry.score, prob=prob)
  row['warnings'] = [*said, *missing]
  quality = describing.facts(one)
  return {**row, 'quality': quality, 'values': values, 'curves': curves}


def _short(values: np.ndarray) -> list[float]:
  return [float(f'{v:.5g}') for v in values]
