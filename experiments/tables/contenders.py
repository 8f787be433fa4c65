"""What an evaluation compares: methods with their settings, and chance.

A contender is an entry of a config, `{'name': ..., 'settings': {...}}`, its
name one of `methods.METHODS` or 'random'; two of them may share a name. Where
it has `explains`, that score is explained in the place of the method's own.
"""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
import numpy as np

from experiments.core import naming
from experiments.tables import costs
from experiments.tables import entries
from experiments.tables import methods
from experiments.tables import players
from experiments.tables import settings
from saliency_jax import explainer
from saliency_jax import viz
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.metrics import fidelity
from saliency_jax.metrics import maps
from saliency_jax.models import types as model_types


class Contender(NamedTuple):
  """One row of an evaluation's tables."""

  name: str
  settings: Mapping[str, Any]
  entry: entries.Entry
  method: types.Method  # Its settings bound.


def random_map(
  fn: types.ScoreFn, x: Float[Array, 'H W C'], *, key: Key[Array, '']
) -> types.Attribution:
  """Draws uniform scores, one a pixel: what a map is worth that knows nothing.

  Args:
    fn: not called.
    x: one image.
    key: consumed.
  """
  del fn
  key = sampling.draw_key(key, 0)
  return types.Attribution(
    jax.random.uniform(key, (*x.shape[:2], 1), x.dtype), ()
  )


_RANDOM = entries.Entry(
  random_map,
  costs.nothing,
  viz.HEAT,
)


def choose(
  config: Mapping[str, Mapping[str, Any]], spec: model_types.Spec
) -> dict[str, Contender]:
  """Returns the contenders of a config, by label.

  Raises:
    ValueError: none, or an unknown name or setting, by the contender's label.
  """
  if not config:
    raise ValueError('config.methods is empty, expected at least one')
  found = {}
  for label, chosen in config.items():
    given = check(label, chosen)
    contender = _contender(chosen['name'], given, spec)
    if 'explains' in chosen:
      score = settings.FUNCTIONS['score'][chosen['explains']]
      contender = contender._replace(
        entry=contender.entry._replace(score=score)
      )
    found[label] = contender
  return found


def check(label: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the settings of a contender, checked: see `settings.check`.

  Args:
    label: of the contender.
    chosen: its `name` and `settings`.

  Raises:
    ValueError: an unknown name or setting, or a value that it does not take.
  """
  where, name = f'config.methods.{label}', chosen['name']
  naming.check(f'{where}: name', name, ('random', *methods.METHODS))
  if 'explains' in chosen:
    known = settings.FUNCTIONS['score']
    naming.check(f'{where}: explains', chosen['explains'], known)
  fn = random_map if name == 'random' else methods.METHODS[name].method
  try:
    return settings.check(name, fn, chosen['settings'])
  except ValueError as e:
    raise ValueError(f'{where}: {e}') from e


def on_segments(
  config: Mapping[str, Mapping[str, Any]], num: int
) -> dict[str, Mapping[str, Any]]:
  """Returns a config's methods with superpixels in the place of cells.

  Those that have no such players are as they were.

  Args:
    config: the methods, by label.
    num: superpixels of an image.

  Raises:
    ValueError: there is no method that takes superpixels.
  """
  changed = {}
  for label, chosen in config.items():
    entry = methods.METHODS.get(chosen['name'])
    if entry is not None and players.takes_segments(entry.method):
      kept = {k: v for k, v in chosen['settings'].items() if k != 'cells'}
      changed[label] = {**chosen, 'settings': {**kept, 'segments': num}}
  if not changed:
    able = [
      n for n, e in methods.METHODS.items() if players.takes_segments(e.method)
    ]
    raise ValueError(
      f'--segments={num}: expected a config with one of {", ".join(able)}'
    )
  return {**config, **changed}


def on_image(
  contender: Contender, image: Float[np.ndarray, 'H W C']
) -> Contender | None:
  """Returns a contender with the superpixels of one image, if it wants them.

  Where superpixels have neighbours there are as many programs as images.

  Args:
    contender: of any image.
    image: in [0, 1].

  Raises:
    ValueError: for more superpixels than pixels.
  """
  num = players.by_image(contender.entry.method, contender.settings)
  if num is None:
    return None
  found = players.labels(image, {'': {'segments': num}}, None, {})['']
  method = functools.partial(contender.method, segments=found)
  return contender._replace(method=method)


def drawing(name: str) -> viz.Drawing:
  """Returns how the maps of a method are drawn."""
  return (_RANDOM if name == 'random' else methods.METHODS[name]).drawing


def build(
  contender: Contender,
  apply: types.Apply,
  mesh: jax.sharding.Mesh | None = None,
) -> Callable[..., types.Attribution]:
  """Returns the compiled explainer of a contender: see `explainer.build`."""
  return explainer.build(
    contender.method, apply, contender.entry.score, mesh=mesh
  )


def importance(
  contender: Contender,
  scores: Float[Array, 'n h w c'],
  xs: Float[Array, 'n H W C'],
) -> Float[Array, 'n H W 1']:
  """Returns one number a pixel, by which metrics rank: see `Entry.reading`."""
  read = functools.partial(
    maps.per_pixel, by_size=contender.entry.reading.by_size
  )
  return jax.vmap(read)(scores, xs)[..., None]


def slopes(
  contender: Contender,
  scores: Float[Array, 'n h w c'],
  xs: Float[Array, 'n H W C'],
) -> Float[Array, 'n H W C']:
  """Returns what maps promise a unit of input: see `Entry.units`.

  Differences of the score are divided by the way to the method's own baseline.
  A map without units scores the presence of pixels, which black ends.
  """
  scores = jax.vmap(maps.per_entry)(scores, xs)
  if contender.entry.units in (
    entries.Units.SLOPE,
    entries.Units.CELL_SLOPE,  # The same, but for one factor.
  ):
    return scores
  bound, start = contender.settings, 0
  if contender.entry.units is entries.Units.DIFFERENCE:
    start = bound.get('baseline', 0)
    if 'references' in bound:
      start = jnp.mean(bound['references'], 0)
  return jax.vmap(lambda s, x: fidelity.per_unit(s, x, start))(scores, xs)


def of_one_image(
  chosen: Mapping[str, Contender], apply: types.Apply
) -> Callable[..., dict[str, Float[Array, 'H W 1']]]:
  """Returns what makes the importances of one image by every contender.

  It is called with `(params, x, label, key)`, and compiles each method once.
  """
  programs = {
    name: explainer.build(c.method, apply, c.entry.score)
    for name, c in chosen.items()
  }

  def explain(params, x, label, key):
    batch = (x[None], jnp.asarray(label)[None], key[None])
    return {
      name: importance(chosen[name], program(params, *batch).scores, x[None])[0]
      for name, program in programs.items()
    }

  return explain


def _contender(name, given, spec):
  if name == 'random':
    return Contender(name, given, _RANDOM, random_map)
  entry = methods.METHODS[name]
  bound = methods.complete(name, given, spec)
  return Contender(name, bound, entry, functools.partial(entry.method, **bound))
