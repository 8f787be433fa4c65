"""Times methods and metrics against the bare model calls that they make."""

from collections.abc import Callable, Mapping
import functools
import math
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
import numpy as np

from experiments.core import timing
from experiments.tables import costs
from experiments.tables import methods
from experiments.tables import metrics
from saliency_jax import explainer
from saliency_jax import scores
from saliency_jax.core import curvature
from saliency_jax.models import types

# A batch of 32 needs that many draws; these programs are not run.
_DRAWS = ('num_samples', 'num_masks', 'num_steps', 'path_steps')
MEMORY_BATCHES, _MEMORY_COUNT = (4, 32), 64


class Subject(NamedTuple):
  """What is explained, and in how many turns that is timed."""

  model: types.Model
  x: Float[Array, 'H W C']
  label: int
  key: Key[Array, '']
  repeats: int


def time_method(
  subject: Subject,
  name: str,
  settings: Mapping[str, Any],
  others: Mapping[str, Callable[[], Any]],
  *,
  memory: bool,
  profile: pathlib.Path | None = None,
) -> dict[str, Any]:
  """Times one method, its bare model calls and its peers, in turns.

  Args:
    subject: what is explained.
    name: of the method.
    settings: all of them.
    others: what peers run for the same map.
    memory: whether to compile it at two batch sizes, to tell its memory.
    profile: folder for a trace of one more call, of `jax.profiler`.
  """
  model, entry = subject.model, methods.METHODS[name]
  label = jnp.array([subject.label], jnp.int32)
  args = (model.params, subject.x[None], label, subject.key[None])
  run = functools.partial(methods.build(name, settings, model.apply), *args)
  found = _time(
    subject,
    run,
    lambda out: entry.cost(settings, out.info),
    functools.partial(
      bare, subject, entry.score, settings.get('batch_size', 1)
    ),
    others,
  )
  if profile is not None:
    with jax.profiler.trace(profile, create_perfetto_trace=True):
      jax.block_until_ready(run())
  return {
    **found,
    'settings': {
      k: v for k, v in settings.items() if not isinstance(v, jax.Array)
    },
    'temporary_bytes': (
      _temporary_bytes(model, name, settings, args)
      if memory and 'batch_size' in settings
      else {}
    ),
  }


def time_metric(subject: Subject, name: str) -> dict[str, Any]:
  """Times a metric of a random map, and its bare model calls, in turns."""
  settings = metrics.settings_of(name, {})
  x, key, model = subject.x, subject.key, subject.model
  shown = jax.random.uniform(key, (1, *x.shape[:2], 1))
  label = jnp.array([subject.label])
  args = (model.params, x[None], shown, label, key[None])

  def calls(measured):
    points = sum(curve.values.size for curve in measured.curves.values())
    return costs.Calls(forwards=points)

  found = _time(
    subject,
    functools.partial(metrics.build(name, settings, model.apply), *args),
    calls,
    functools.partial(bare, subject, scores.prob, settings['batch_size']),
    {},
  )
  return {**found, 'settings': settings, 'temporary_bytes': {}}


def _time(subject, run, calls, bare_of, others):
  """Times a program, the model calls that its results tell of, and others."""
  first, batch = timing.timed(run)
  made = calls(jax.tree.map(lambda a: np.asarray(a[0]), batch))
  bares = {'bare': bare_of()(made), 'loop': bare_of(looped=True)(made)}
  timed = {'ours': run, **bares, **others}
  found = timing.by_both_clocks(timed, subject.repeats)
  wall, processor = (
    {who: np.array([s[clock] for s in turns]) for who, turns in found.items()}
    for clock in range(2)
  )
  medians = {who: float(np.median(s)) for who, s in wall.items()}
  return {
    'first_call_seconds': first,
    'seconds': medians.pop('ours'),
    'bare_seconds': medians.pop('bare'),
    'loop_seconds': medians.pop('loop'),
    'ratio': float(np.median(wall['ours'] / wall['bare'])),
    'processor_ratio': float(np.median(processor['ours'] / processor['bare'])),
    'loop_ratio': float(np.median(wall['ours'] / wall['loop'])),
    'loop_processor_ratio': float(
      np.median(processor['ours'] / processor['loop'])
    ),
    'peers_seconds': medians,
    'processor_seconds': {
      who: float(np.median(s)) for who, s in processor.items()
    },
    'calls': made._asdict(),
  }


def bare(
  subject: Subject,
  score_of: explainer.Score,
  batch_size: int | None,
  *,
  looped: bool = False,
) -> Callable[[costs.Calls], Callable[[], None]]:
  """Returns what makes, of a number of calls, a function that does them.

  Args:
    subject: what is explained.
    score_of: what is called, of a classifier.
    batch_size: of the calls; `None` is one batch.
    looped: whether the batches are a loop of one program, as a method has
      them, whose every batch is another one; or calls of a program each.
  """
  model, x = subject.model, subject.x

  def score(params, x):
    # The gradient of several margins is the gradient of their sum.
    return jnp.sum(score_of(model.apply, params, subject.label)(x))

  programs = {
    'gradients': jax.value_and_grad(score, argnums=1),
    'forwards': score,
    'products': lambda params, x: curvature.hvp(
      functools.partial(score, params), x, jnp.ones_like(x)
    ),
  }

  def of(calls):
    plans = []
    for kind, num in calls._asdict().items():
      if num:
        # The batches of `core.sampling`: as few as possible, of equal size.
        num_batches = math.ceil(num / min(batch_size or num, num))
        size = math.ceil(num / num_batches)
        batch = jnp.broadcast_to(x, (size, *x.shape)) + 0.0
        run = jax.jit(jax.vmap(programs[kind], (None, 0)))
        if looped:
          run, num_batches = _loop(run, num_batches), 1
        plans.append((functools.partial(run, model.params, batch), num_batches))

    def repeat():
      for run, num_batches in plans:
        for _ in range(num_batches):
          jax.block_until_ready(run())

    return repeat

  return of


def _loop(run, num_batches):
  """Returns a program that sums what so many batches give."""

  def loop(params, batch):
    def add(total, i):
      moved = batch + 1e-3 * i.astype(batch.dtype)
      return jax.tree.map(jnp.add, total, run(params, moved)), None

    zeros = jax.tree.map(
      lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(run, params, batch)
    )
    return jax.lax.scan(add, zeros, jnp.arange(num_batches))[0]

  return jax.jit(loop)


def _temporary_bytes(model, name, settings, args) -> dict[str, int]:
  """Returns the peak temporary memory of the program, by batch size."""
  counts = {k: _MEMORY_COUNT for k in _DRAWS if k in settings}
  found = {}
  for batch_size in MEMORY_BATCHES:
    smaller = {**settings, **counts, 'batch_size': batch_size}
    explain = methods.build(name, smaller, model.apply)
    analysis = explain.lower(*args).compile().memory_analysis()
    found[str(batch_size)] = analysis.temp_size_in_bytes
  return found
