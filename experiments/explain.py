"""Explains one photo by many methods: a figure, the maps, and how good each is.

  python -m experiments.explain
  python -m experiments.explain --image photo.jpg --model squeezenet \\
      --methods smooth_grad,rise --set rise.num_masks=4000 --label goldfish

It writes `explain.png`, `maps.npz` and `info.json` to `--out`.
"""

import time

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments import app
from experiments import inputs
from experiments import methods
from saliency_jax import models
from saliency_jax import viz

_IMAGE = flags.DEFINE_string(
  'image', 'imagenet_00_243', 'Path of an image, or the name of a photo.'
)
_MODEL = flags.DEFINE_string('model', 'efficientnet_lite0', 'Classifier.')
_METHODS = flags.DEFINE_list('methods', ['all'], 'Comma list, or all.')
_LABEL = flags.DEFINE_string(
  'label', None, 'Class to explain, by index or name; the prediction if unset.'
)
_SET = flags.DEFINE_multi_string('set', [], 'method.setting=value.')
_OUT = flags.DEFINE_string('out', 'out/explain', 'Folder of the results.')

_HEADER = ('method', 'compile s', 'run s', 'gradients', 'forwards', 'quality')


def main(setup: app.Setup) -> None:
  """Explains `--image`."""
  names = methods.choose(_METHODS.value)
  out = app.out_dir(_OUT.value)
  model = models.load(_MODEL.value)
  settings = methods.settings_of(names, _SET.value, model.spec)
  x = jnp.asarray(inputs.read_image(_IMAGE.value, model.spec))
  probs = np.asarray(jax.nn.softmax(jax.jit(model.apply)(model.params, x)))
  if not np.isfinite(probs).all():
    raise ValueError(f'{model.spec.name} gives NaN on {_IMAGE.value!r}')
  classes = model.spec.class_names
  label = int(probs.argmax())
  if _LABEL.value is not None:
    label = inputs.find_label(_LABEL.value, classes, probs.size)
  top = [(classes[i], float(probs[i])) for i in np.argsort(-probs)[:5]]
  print(f'{model.spec.name} on {_IMAGE.value}:')
  print('\n'.join(f'  {p:6.1%}  {name}' for name, p in top))
  print(f'explained: {classes[label]} ({probs[label]:.1%})', flush=True)

  rows, tiles, maps, infos, refused = [], [], {}, {}, []
  progress = app.progress(names, what='methods')
  for i, name in enumerate(progress):
    progress.set_description(name)
    entry = methods.METHODS[name]
    explain = methods.build(name, settings[name], model.apply)
    key = jax.random.fold_in(setup.key, i)
    args = (model.params, x[None], jnp.array([label]), key[None])
    start = time.perf_counter()
    compiled = explain.lower(*args).compile()
    middle = time.perf_counter()
    found = jax.block_until_ready(compiled(*args))
    seconds = (middle - start, time.perf_counter() - middle)
    found = jax.tree.map(lambda a: np.asarray(a[0]), found)
    if not np.isfinite(found.scores).all():
      refused.append(name)
      continue
    calls = entry.calls(settings[name], found.info)
    quality = entry.describe(found)
    times = tuple(f'{s:.2f}' for s in seconds)
    rows.append((name, *times, *(str(c) for c in calls), quality))
    maps[name] = found.scores
    infos[name] = {
      'compile_seconds': seconds[0],
      'run_seconds': seconds[1],
      'gradients': calls.gradients,
      'forwards': calls.forwards,
      'quality': quality,
      'info': found.info,
    }
    title = name.replace('_', ' ')
    tiles.append(viz.Tile(title, found.scores, entry.drawing, quality))
  if tiles:
    print(app.table(_HEADER, rows))
    figure = viz.contact_sheet(
      np.asarray(x),
      tiles,
      predictions=top,
      explained=classes[label],
      title=f'{classes[label]}, explained for {model.spec.name}',
    )
    app.write_figure(out / 'explain.png', figure)
    app.write_npz(out / 'maps.npz', {'image': x, **maps})
    about = {'image': _IMAGE.value, 'model': model.spec.name, 'label': label}
    app.write_json(out / 'info.json', {**about, 'methods': infos})
    print(f'wrote {out}/explain.png, maps.npz and info.json')
  if refused:
    raise ValueError(
      f'{", ".join(refused)} gave NaN or infinity on {_IMAGE.value!r}, and was '
      'not saved: a setting is out of range, or the classifier overflows there'
    )


if __name__ == '__main__':
  app.run(main)
