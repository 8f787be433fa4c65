"""The programs of `explain`: compiled beside each other, the quickest first.

Methods that can share a program, a family, are compiled together, in a thread
of their own, while the next family is traced and the maps of others are made.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent import futures
import functools
import os
import time
from typing import Any
import zlib

import jax
import jax.numpy as jnp
import jaxlib
from jaxtyping import Array, Key
import numpy as np

from experiments.core import app
from experiments.core import results
from experiments.explanation import families
from experiments.explanation import sheets
from experiments.tables import costs
from experiments.tables import methods
from saliency_jax import explainer
from saliency_jax import models
from saliency_jax.core import describing
from saliency_jax.core import types

# Methods of gradients, by what they cost.
_GRADIENTS = (
  costs.one_gradient,
  costs.samples,
  costs.var_grad,
  costs.integrated,
  costs.adaptive,
  costs.expected,
)


def maps(
  model: models.Model,
  settings: Mapping[str, Mapping[str, Any]],
  x: types.Example,
  label: int,
  *,
  key: Key[Array, ''],
  bar: Any,
  may_lack: Collection[str],
) -> Iterator[tuple[str, sheets.Map | str]]:
  """Makes the maps of one family after the other, as soon as it is compiled.

  While a family is traced here, LLVM compiles those before it: the times of
  runs are those of a busy machine, and `benchmark` measures others.

  Args:
    model: the network, jitted, so that it is traced once.
    settings: of each method, by its name in `methods.METHODS`.
    x: the image.
    label: its class.
    key: from which each method has one of its own.
    bar: of the progress, one a method.
    may_lack: names of the methods that may refuse the network.

  Yields:
    The name of a method with its map; or, of one of `may_lack`, with why there
    is none.

  Raises:
    ValueError: another method refuses the network.
  """
  args = {
    name: (
      model.params,
      x[None],
      jnp.array([label]),
      # A method's draws do not depend on which others there are.
      jax.random.fold_in(key, zlib.crc32(name.encode()))[None],
    )
    for name in settings
  }
  # Half of the cores stay for the maps, whose threads would wait in a spin.
  pool = futures.ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2))
  try:
    waiting = {}
    for names in group(settings):
      bar.set_postfix_str(f'tracing {", ".join(names)}')
      explainers, refusals = _build(names, settings, model.apply, args)
      for name, why in refusals.items():
        if name not in may_lack:
          raise ValueError(f'{name}: {why}')
        bar.update()
        yield name, why
      if explainers:
        joined = families.join([*explainers.values()])
        traced = joined.trace(np.int32(0), *args[names[0]])
        waiting[pool.submit(_compile, traced)] = [*explainers]
      for done in [f for f in waiting if f.done()]:
        yield from _run(waiting.pop(done), done.result(), settings, args, bar)
    while waiting:
      todo = '; '.join(', '.join(names) for names in waiting.values())
      bar.set_postfix_str(f'compiling {todo}')
      # With a time to look up, that a log may be told how long it takes.
      ready, _ = futures.wait(waiting, 5, futures.FIRST_COMPLETED)
      for done in ready:
        yield from _run(waiting.pop(done), done.result(), settings, args, bar)
  finally:
    # An error is told at once, and not when all is compiled.
    pool.shutdown(wait=False, cancel_futures=True)


def group(names: Iterable[str]) -> list[list[str]]:
  """Returns the methods that share a program, the quickest first.

  Those that ask for gradients of one score, and for little else: at one point,
  or at many. The others have little in common to compile.
  """
  found = {}
  for name in names:
    entry = methods.METHODS[name]
    shares = entry.cost in _GRADIENTS
    at_one = entry.cost is costs.one_gradient
    key = (entry.score, at_one) if shares else name
    found.setdefault(key, []).append(name)
  first = lambda family: methods.METHODS[family[0]].cost is costs.one_gradient
  return sorted(found.values(), key=lambda family: not first(family))


def _build(names, settings, apply, args):
  """Returns the explainers of a family; and of others, why there is none.

  They are traced, which takes seconds, and not compiled: a method that has no
  rule for a part of the network says so then, and so does a bad setting.
  """
  explainers, refusals = {}, {}
  for name in names:
    entry = methods.METHODS[name]
    # A method that asks for the name of a tap looks into the classifier.
    inside = not settings[name].keys().isdisjoint(('at', 'name'))
    shares = len(names) > 1 and not inside
    score = families.shared(entry.score) if shares else entry.score
    method = functools.partial(entry.method, **settings[name])
    explain = explainer.build(method, apply, score)
    try:
      jax.eval_shape(explain, *args[name])
    except ValueError as e:
      refusals[name] = app.one_line(e)
    else:
      explainers[name] = explain
  return explainers, refusals


def _compile(traced) -> tuple[Any, float]:
  """Returns a program, and the seconds that it took to make."""
  start = time.perf_counter()
  program = traced.lower().compile(compiler_options=_compiler_options())
  return program, time.perf_counter() - start


def _compiler_options() -> dict[str, bool]:
  """Returns what makes compiling for CPUs quicker, and runs no slower.

  XLA's newer way to write fused loops takes a fifth more time to compile these
  programs. Other versions may not know the flag.
  """
  newer = not jaxlib.__version__.startswith('0.10.')
  if newer or jax.default_backend() != 'cpu':
    return {}
  return {'xla_cpu_use_fusion_emitters': False}


def _run(
  names, compiled, settings, args, bar
) -> Iterator[tuple[str, sheets.Map]]:
  """Makes the maps of a family."""
  program, compile_seconds = compiled
  for i, name in enumerate(names):
    bar.set_postfix_str(name)
    start = time.perf_counter()
    batch = jax.block_until_ready(program(np.int32(i), *args[name]))[i]
    seconds = time.perf_counter() - start
    one = jax.tree.map(lambda a: np.asarray(a[0]), batch)
    entry = methods.METHODS[name]
    info = {
      'quality': describing.facts(one),
      'compiled_with': names,
      'compile_seconds': compile_seconds,
      'run_seconds': seconds,
      'calls': entry.cost(settings[name], one.info)._asdict(),
      'settings': {k: results.brief(v) for k, v in settings[name].items()},
      'scores': results.brief(one.scores),
      'info': jax.tree.map(results.brief, results.fields(one.info)),
    }
    bar.update()
    yield name, sheets.Map(one, info)
