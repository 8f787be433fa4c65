"""Which maps of a config share their draws, and the programs that make them.

Maps whose base, noise and batches are the same are made in one pass. Where they
differ in the number of draws, the pass stops at each number, and what follows
is merged with what there is: it costs the most of them, not their sum.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import inspect
import itertools
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.tables import contenders
from saliency_jax import certificates
from saliency_jax import explainer
from saliency_jax.certificates import draws
from saliency_jax.core import types

# The methods whose attributions hold what a certificate needs: what a draw of
# each is, of the settings that are its own.
KINDS = {
  'scaled_map': draws.scaled,
  'quadratic_map': draws.quadratic,
  'sparsified_map': draws.sparsified,
  'relaxed_map': draws.relaxed,
}
_OWN = ('tau', 'gamma')


class Pass(NamedTuple):
  """Draws that several maps share.

  Attributes:
    labels: of the maps.
    parts: programs, each of the draws that follow those of the one before, and
      the labels of the maps that are complete after it.
  """

  labels: tuple[str, ...]
  parts: tuple[tuple[Callable[..., Any], tuple[str, ...]], ...]

  def run(
    self, params: Any, images: Any, keys: Any
  ) -> dict[str, list[types.Attribution]]:
    """Returns the maps of a batch, by label, one an example."""
    found, sofar = {}, {}
    for program, complete in self.parts:
      out = jax.tree.map(np.asarray, program(params, images, keys=keys))
      for label, batch in out.items():
        new = [
          jax.tree.map(lambda a, i=i: a[i], batch) for i in range(len(images))
        ]
        sofar[label] = [*map(_joined, sofar.get(label, [None] * len(new)), new)]
      found |= {label: sofar[label] for label in complete}
    return found


def plan(
  chosen: Mapping[str, contenders.Contender],
  apply: types.Apply,
  mesh: jax.sharding.Mesh,
) -> list[Pass]:
  """Returns the passes in which all maps are made, by their settings."""
  groups = {}
  for label, contender in chosen.items():
    groups.setdefault(_shared(contender), []).append(label)
  return [_pass(labels, chosen, apply, mesh) for labels in groups.values()]


def _pass(
  labels: Sequence[str],
  chosen: Mapping[str, contenders.Contender],
  apply: types.Apply,
  mesh: jax.sharding.Mesh,
) -> Pass:
  number = lambda label: _setting(chosen[label], 'num_samples')
  first = chosen[labels[0]]
  parts = []
  cuts = [0, *sorted({number(label) for label in labels})]
  for start, stop in itertools.pairwise(cuts):
    method = functools.partial(
      certificates.several,
      kinds={n: _kind(chosen[n]) for n in labels if number(n) >= stop},
      base=_setting(first, 'base'),
      sigma=_setting(first, 'sigma'),
      batch_size=_setting(first, 'batch_size'),
      first=start,
      num_samples=stop - start,
    )
    program = explainer.build(method, apply, first.entry.score, mesh=mesh)
    complete = tuple(n for n in labels if number(n) == stop)
    parts.append((program, complete))
  return Pass(tuple(labels), tuple(parts))


def _kind(contender):
  own = {k: v for k, v in contender.settings.items() if k in _OWN}
  return KINDS[contender.name](**own)


def _setting(contender, name):
  """Returns a setting of a contender, or its method's default."""
  default = inspect.signature(contender.entry.method).parameters[name].default
  return contender.settings.get(name, default)


def _shared(contender):
  """Returns what maps of the same draws have in common."""
  names = ('base', 'sigma', 'batch_size')
  return (contender.entry.score, *(_setting(contender, n) for n in names))


def _joined(before, new):
  """Merges draws that follow others; draws that are not finite stay so."""
  if before is None or new.info.num_nonfinite:
    return new
  if before.info.num_nonfinite:
    return before
  return certificates.merged(before, new)
