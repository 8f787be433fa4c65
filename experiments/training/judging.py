"""What the attack does to the maps of a trained network, and how they look.

Of each example, with `m = |gradient|` of the largest logit and `x~` the
neighbour that the attack finds: the overlap of the top quarters of `m(x)` and
`m(x~)`, and of those of the signed gradients, as the authors' evaluation has
it; the Gini index of `m` (1 is sparsest), its relative variation, its deletion
and insertion areas; the certified overlap of sparsified SmoothGrad; and, where
`judge.box` says how, the mean width of the certified box and of the largest
certified cube.

References:
  Levine, Singla and Feizi, Certifiably robust interpretation in deep learning,
  2019. https://arxiv.org/abs/1905.12105
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

from experiments.core import app
from experiments.core import files
from experiments.core import records
from experiments.tables import settings as tables
from experiments.training import feeding
from saliency_jax import attacks
from saliency_jax import certificates
from saliency_jax import metrics
from saliency_jax import scores
from saliency_jax.core import batching
from saliency_jax.core import selection
from saliency_jax.core import types
from saliency_jax.gradients import gradient
from saliency_jax.models import types as model_types
from saliency_jax.optimization import certified_box

FOLDER = 'judged'


class Judged(NamedTuple):
  """What is measured of one example, and its maps."""

  predicted: Int[Array, '']
  feasible: Array
  overlap: Float[Array, '']
  signed_overlap: Float[Array, '']
  sparsity: Float[Array, '']
  total_variation: Float[Array, '']
  deletion: Float[Array, '']
  insertion: Float[Array, '']
  map: Float[Array, 'H W C']
  attacked: Float[Array, 'H W C']
  smoothed: types.Attribution | None
  box_width: Float[Array, ''] | None
  cube_width: Float[Array, ''] | None


# The numbers of a record, in the order of the table.
COLUMNS = (
  'overlap',
  'signed_overlap',
  'certified',
  'box_width',
  'cube_width',
  'sparsity',
  'total_variation',
  'deletion',
  'insertion',
)


def is_judged(config: Mapping[str, Any], folder: pathlib.Path) -> bool:
  """Returns whether a run has all the records that it should have."""
  if not (folder / FOLDER / 'accuracy.json').is_file():
    return False
  records.keep_config(folder / FOLDER, config['judge'])
  return len(records.read(folder / FOLDER)) >= config['judge']['num_examples']


def judge(
  config: Mapping[str, Any],
  folder: pathlib.Path,
  model: model_types.Model,
  test: feeding.Examples,
) -> None:
  """Adds the records that are missing of this process's test examples."""
  settings = config['judge']
  num = min(settings['num_examples'], len(test.labels))
  if num < settings['num_examples']:
    raise ValueError(
      f'config.judge.num_examples is {settings["num_examples"]}, expected at '
      f'most {num}'
    )
  (folder / FOLDER).mkdir(exist_ok=True)
  records.keep_config(folder / FOLDER, settings)
  process, count = jax.process_index(), jax.process_count()
  mesh = app.local_mesh()
  with records.appending(folder / FOLDER, process) as append:
    done = records.read(folder / FOLDER)
    missing = [i for i in range(process, num, count) if i not in done]
    run = batching.over_batch(
      functools.partial(_judge_one, model.apply, settings), mesh
    )
    size = mesh.size * settings['batch_size']
    with app.progress(range(0, len(missing), size), what='judging') as bar:
      for start in bar:
        rows = missing[start : start + size]
        filled = batching.fill(rows, size)
        found = jax.device_get(
          run(model.params, _pixels(test, filled), _keys(filled))
        )
        for j, i in enumerate(rows):
          one = jax.tree.map(lambda a, j=j: a[j], found)
          if i < settings['num_maps']:
            path = folder / FOLDER / f'{i:05d}.npz'
            image = _pixels(test, [i])[0]
            maps = {'map': one.map, 'attacked': one.attacked}
            files.write_npz(path, {'image': image, **maps})
          append(_record(i, int(test.labels[i]), one, settings))
  if app.is_first():
    right = _accuracy(model, test, mesh)
    files.write_json(folder / FOLDER / 'accuracy.json', {'accuracy': right})


def _judge_one(apply, settings, params, x, key) -> Judged:
  """Attacks one example, and measures its maps."""
  logits_fn = functools.partial(apply, params)
  label = scores.predict(apply, params, x)
  fn = scores.logit(apply, params, label)
  attack = functools.partial(attacks.top_k_attack, **settings['attack'])
  attack_key, map_key = jax.random.split(key)
  adversary = attack(logits_fn, x, key=attack_key)
  clean, moved = (gradient.gradient(fn, a).scores for a in (x, adversary.x))
  k = selection.count(0.25, x.size)
  m, m_moved = jnp.abs(clean), jnp.abs(moved)
  areas = metrics.deletion_insertion(
    scores.prob(apply, params, label),
    x,
    m,
    protocol=functools.partial(
      metrics.igos_protocol, resolution=settings['resolution']
    ),
  )
  smoothed = None
  if settings['certificate']['num_samples']:
    smoothed = certificates.sparsified_map(
      fn,
      x,
      key=map_key,
      sigma=settings['certificate']['sigma'],
      tau=settings['certificate']['tau'],
      num_samples=settings['certificate']['num_samples'],
      batch_size=64,
    )
  sizes = None
  if 'box' in settings:
    sizes = _certified(scores.margins(apply, params, label), x, settings['box'])
  return Judged(
    predicted=label,
    feasible=adversary.feasible,
    overlap=metrics.top_k_overlap(m, m_moved, k),
    signed_overlap=metrics.top_k_overlap(clean, moved, k),
    sparsity=metrics.gini(m),
    total_variation=metrics.relative_variation(m),
    deletion=areas.deletion,
    insertion=areas.insertion,
    map=m,
    attacked=m_moved,
    smoothed=smoothed,
    box_width=None if sizes is None else sizes[-1],
    cube_width=None if sizes is None else sizes[0],
  )


def _certified(fn, x, settings):
  """Returns the mean widths of a certified box, from the first cube on."""
  settings = dict(settings)
  bound = tables.FUNCTIONS['bound'][settings.pop('bound')]
  return certified_box.certified_box(fn, x, bound=bound, **settings).info.size


def _record(index, label, one, settings):
  """Returns the numbers of an example; none of an attack that found nothing."""
  found = {c: getattr(one, c) for c in COLUMNS if c != 'certified'}
  values = {c: None if v is None else float(v) for c, v in found.items()}
  if not one.feasible:
    values |= {'overlap': None, 'signed_overlap': None}
  certified = None
  if one.smoothed is not None:
    certificate = settings['certificate']
    k = selection.count(certificate['k'], one.smoothed.scores.size)
    found = certificates.top_k_overlap(one.smoothed, k, rho=certificate['rho'])
    certified = float(np.ravel(found.overlap)[0])
  return {
    'index': index,
    'label': label,
    'predicted': int(one.predicted),
    'feasible': bool(one.feasible),
    **values,
    'certified': certified,
  }


def _accuracy(model, test, mesh) -> float:
  predict = batching.over_batch(
    functools.partial(scores.predict, model.apply), mesh
  )
  size, right = 500, 0
  for start in range(0, len(test.labels), size):
    rows = range(start, min(start + size, len(test.labels)))
    found = predict(model.params, _pixels(test, batching.fill(rows, size)))
    right += int(np.sum(np.asarray(found)[: len(rows)] == test.labels[rows]))
  return right / len(test.labels)


def _keys(rows):
  return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(
    jnp.asarray(rows, jnp.int32)
  )


def _pixels(examples, rows) -> np.ndarray:
  return examples.images[rows].astype(np.float32) / np.float32(255)
