"""Explains a photo by every method: one figure, the maps, their diagnostics.

  python -m experiments.explain
  python -m experiments.explain --image=cat.jpg --label='tabby cat' \
    --methods=grad_cam,rise --set=rise.num_masks=4000

Writes to --out: `explain.png`; `maps.npz`, with the image, the scores of each
method by its name, and each array of its diagnostics by `method.field`; and
`info.json`, with the settings, the times and a summary of the diagnostics.
"""

import time
from typing import Any, NamedTuple
import zlib

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments import app
from experiments import inputs
from experiments import methods
import saliency_jax
from saliency_jax import models
from saliency_jax import viz
from saliency_jax.core import types

_IMAGE = flags.DEFINE_string(
  'image', inputs.DEFAULT_PHOTO, 'A file, or the name of one of the 20 photos.'
)
_MODEL = flags.DEFINE_string('model', 'efficientnet_lite0', 'The network.')
_METHODS = flags.DEFINE_list('methods', ['all'], "Methods, or 'all'.")
_LABEL = flags.DEFINE_string(
  'label', None, 'Class to explain: index, name or part of it; the top one.'
)
_SET = flags.DEFINE_multi_string(
  'set', [], 'method.setting=value; may be given many times.'
)
_OUT = flags.DEFINE_string('out', 'out/explain', 'Folder to write to.')


class Result(NamedTuple):
  """What one method gave: for one example, on the host."""

  out: types.Attribution
  settings: dict[str, Any]
  calls: methods.Calls
  compile_seconds: float
  run_seconds: float


def main(setup: app.Setup) -> None:
  """Explains one image."""
  begin = time.perf_counter()
  out = app.out_dir(_OUT.value)
  names = methods.choose(_METHODS.value)
  model = models.load(_MODEL.value)
  image = inputs.read_image(_IMAGE.value, model.spec)
  settings = methods.settings_of(names, _SET.value, model.spec)
  probs = np.asarray(
    jax.nn.softmax(jax.jit(model.apply)(model.params, jnp.asarray(image)))
  )
  if not np.isfinite(probs).all():
    raise ValueError(f'{_MODEL.value} gives NaN at {_IMAGE.value!r}')
  class_names = model.spec.class_names
  label = int(np.argmax(probs))
  if _LABEL.value is not None:
    label = inputs.find_label(_LABEL.value, class_names, probs.size)
  named = class_names or tuple(map(str, range(probs.size)))
  print(f'{_IMAGE.value} is, for {_MODEL.value}:')
  top = np.argsort(-probs)[:5].tolist()
  for i in top:
    print(f'  {probs[i]:6.1%}  {named[i]} ({i})')
  print(f'explaining {named[label]} ({label}), {probs[label]:.1%}')
  results = explain(setup, model, image, label, settings)
  bad = {n: why for n, r in results.items() if (why := trouble(r.out))}
  good = {n: r for n, r in results.items() if n not in bad}
  print(_table(results, bad))
  if app.is_first():
    if good:
      app.write_npz(out / 'maps.npz', _arrays(image, good))
      figure = _draw(image, good, probs, top, label, named)
      app.write_figure(out / 'explain.png', figure)
    facts = {
      'version': saliency_jax.__version__,
      'image': _IMAGE.value,
      'model': _MODEL.value,
      'label': label,
      'class': named[label],
      'predictions': {named[i]: probs[i] for i in top},
      'seed': flags.FLAGS.seed,
      'methods': {n: _summary(r) for n, r in results.items()},
      'not_saved': bad,
    }
    app.write_json(out / 'info.json', facts)
    files = ['explain.png', 'maps.npz'] * bool(good) + ['info.json']
    print(f'wrote {", ".join(files)} in {out}/', end=' ')
    print(f'after {time.perf_counter() - begin:.0f} s')
  if bad:
    raise ValueError(
      f'not saved for {_IMAGE.value!r}: '
      + '; '.join(f'{n} ({why})' for n, why in bad.items())
    )


def explain(
  setup: app.Setup,
  model: models.Model,
  image: np.ndarray,
  label: int,
  settings: dict[str, dict[str, Any]],
) -> dict[str, Result]:
  """Runs some methods on one image; all are traced before any is run."""
  xs, labels = jnp.asarray(image)[None], jnp.array([label], jnp.int32)
  traced, args = {}, {}
  for name in app.progress(settings, what='tracing'):
    # The key of a method does not depend on which others there are.
    key = jax.random.fold_in(setup.key, zlib.crc32(name.encode()))
    args[name] = (model.params, xs, labels, key[None])
    run = methods.build(name, settings[name], model.apply)
    try:
      traced[name] = run.trace(*args[name])
    except ValueError as e:
      raise ValueError(f'{name}: {app.one_line(e)}') from e
  results = {}
  for name in (bar := app.progress(traced, what='explaining')):
    bar.set_postfix_str(name)
    start = time.perf_counter()
    compiled = traced[name].lower().compile()
    middle = time.perf_counter()
    batch = jax.block_until_ready(compiled(*args[name]))
    end = time.perf_counter()
    one = jax.tree.map(lambda a: np.asarray(a[0]), batch)
    calls = methods.METHODS[name].calls(settings[name], one.info)
    results[name] = Result(
      one, settings[name], calls, middle - start, end - middle
    )
  return results


def trouble(out: types.Attribution) -> str | None:
  """Says why a map must not be saved, if it must not."""
  scores = np.asarray(out.scores)
  bad = np.count_nonzero(~np.isfinite(scores))
  if not bad:
    return None
  where = [f for f, a in _fields(out.info) if not np.isfinite(a).all()]
  return (
    f'{bad} of {scores.size} scores are NaN or infinite, and the network is '
    'finite at the image: look at the settings'
    + (f', and at {", ".join(where)}' if where else '')
  )


def _fields(info: Any) -> list[tuple[str, np.ndarray]]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(info)
  return [
    (jax.tree_util.keystr(path, simple=True, separator='.'), np.asarray(a))
    for path, a in leaves
  ]


def _arrays(image, results) -> dict[str, np.ndarray]:
  arrays = {'image': image}
  for name, result in results.items():
    arrays[name] = result.out.scores
    fields = _fields(result.out.info)
    arrays.update({f'{name}.{field}': a for field, a in fields})
  return arrays


def _summary(result: Result) -> dict[str, Any]:
  """Returns what JSON tells of one method: no array is written in full."""

  def brief(a):
    if a.ndim == 0:
      return a
    ends = {'min': a.min(), 'mean': a.mean(), 'max': a.max()}
    return {'shape': a.shape, **ends}

  return {
    'settings': {
      k: brief(v) if isinstance(v, jax.Array) else v
      for k, v in result.settings.items()
    },
    'calls': result.calls._asdict(),
    'compile_seconds': result.compile_seconds,
    'run_seconds': result.run_seconds,
    'scores': brief(result.out.scores),
    'info': {field: brief(a) for field, a in _fields(result.out.info)},
  }


def _table(results: dict[str, Result], bad: dict[str, str]) -> str:
  header = ('method', 'compile', 'run', 'gradients', 'forwards', 'diagnostic')
  rows = [
    (
      name,
      f'{r.compile_seconds:.1f} s',
      f'{r.run_seconds:.2f} s',
      str(r.calls.gradients),
      str(r.calls.forwards),
      'NaN' if name in bad else methods.METHODS[name].describe(r.out),
    )
    for name, r in results.items()
  ]
  return app.table(header, rows)


def _draw(image, results, probs, top, label, named):
  tiles = [
    viz.Tile(
      name.replace('_', ' '),
      r.out.scores,
      methods.METHODS[name].drawing,
      methods.METHODS[name].describe(r.out),
    )
    for name, r in results.items()
  ]
  shown = top if label in top else [*top[:4], label]
  return viz.contact_sheet(
    image,
    tiles,
    predictions=[(named[i], float(probs[i])) for i in shown],
    explained=named[label],
    title=f'Why "{named[label]}"? {_MODEL.value} on {_IMAGE.value}',
  )


if __name__ == '__main__':
  app.run(main)
