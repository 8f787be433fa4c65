"""Explains one photo by many methods: a figure, the maps, and how good each is.

  python -m experiments.explain
  python -m experiments.explain --text 'The film was unbelievably good.'
  python -m experiments.explain --image photo.jpg --model squeezenet \\
      --methods smooth_grad,rise --set rise.num_masks=4000 --label goldfish

It writes to `--out`: `explain.png`; `maps.npz`, with the image, the scores of
each method, and its diagnostics as `method.field`; and `info.json`, with the
settings, the times and a summary of the diagnostics. All three are written
again whenever there are new maps: a run that is cut off leaves what it has
made. Where no flag names the methods, those that have no rule for a part of the
network are left out, and it says why. With `--segments=50`, methods of
coalitions have superpixels for players, and `segments.png` has their values and
intervals. With `--certify=RHO` it says which part of smoothed maps stays within
that radius: `METHOD.certified.png` and `.npz`. With `--html`, a page of the
maps side by side tells their values under the pointer: `explain.html`. With
`--text`, a sentence by MiniLM, the figures are `words.png` and `tokens.png`,
and `explain.html` has them as text.
"""

import math
import time
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments.core import app
from experiments.core import choices
from experiments.core import files
from experiments.core import inputs
from experiments.core import segments
from experiments.core import subsets
from experiments.core import weights
from experiments.explanation import certifying
from experiments.explanation import pages
from experiments.explanation import programs
from experiments.explanation import sentences
from experiments.explanation import sheets
from experiments.tables import diagnostics
from experiments.tables import methods
from experiments.tables import players

_LABEL = flags.DEFINE_string(
  'label', None, 'Class to explain, by index or name; the prediction if unset.'
)
_TEXT = flags.DEFINE_string(
  'text', None, 'A sentence to explain, by MiniLM, in the place of an image.'
)
_CLASSES = flags.DEFINE_multi_string(
  'against',
  [],
  'With --text, a sentence that describes a class; may be given many times. Of '
  'one the similarity is explained, of several the margin of the nearest.',
)
_HTML = flags.DEFINE_bool(
  'html', False, 'Write explain.html too: a page to point at, in one file.'
)
_CERTIFY = flags.DEFINE_float(
  'certify',
  None,
  'Certify the top fifth of smoothed maps within this radius of the image, as '
  '0.03; adds sparsified_map if --methods has none.',
  lower_bound=0,
)
_HEADER = (
  'method',
  'compile',
  'run',
  'gradients',
  'forwards',
  'products',
  'quality',
)
# Seconds between two drawings of the figure: each takes one or two.
_REDRAW = 10.0
_WRITTEN = 'explain.png, maps.npz and info.json'


def main(setup: app.Setup) -> None:
  """Explains `--image`."""
  app.alone('explain')
  begin = time.perf_counter()
  chosen = subsets.METHODS.value
  if _TEXT.value is not None:
    of_images = {'certify': _CERTIFY, 'segments': segments.SEGMENTS}
    for name, flag in of_images.items():
      if flag.value is not None:
        raise ValueError(f'--{name} is for images: leave it out beside --text')
    sentences.explain(
      setup,
      _TEXT.value,
      classes=_CLASSES.value,
      label=_LABEL.value,
      names=['quick'] if chosen is None else chosen,
      assignments=choices.SETTINGS.value,
    )
    return
  names = methods.choose(['quick'] if chosen is None else chosen)
  if _CERTIFY.value is not None:
    names = certifying.with_a_map(names)
  out = app.out_dir('explain')
  given = methods.given(names, choices.SETTINGS.value)
  model = weights.load(choices.MODEL.value)
  # Jitted, the network is traced once for all methods.
  model = model._replace(apply=jax.jit(model.apply))
  settings = {n: methods.complete(n, given[n], model.spec) for n in names}
  image = inputs.image_name(choices.IMAGE.value, model.spec)
  pixels = inputs.read_image(image, model.spec, fit=choices.FIT.value)
  labels = players.labels(pixels, settings, segments.SEGMENTS.value, given)
  for name, found in labels.items():
    settings[name]['segments'] = found
  x = jnp.asarray(pixels)
  probs = np.asarray(jax.nn.softmax(model.apply(model.params, x)))
  if not np.isfinite(probs).all():
    raise ValueError(f'{model.spec.name} gives NaN on {image!r}')
  classes = model.spec.class_names or tuple(map(str, range(probs.size)))
  label = int(probs.argmax())
  if _LABEL.value is not None:
    label = inputs.find_label(_LABEL.value, classes, probs.size)
  top = [(classes[i], float(probs[i])) for i in np.argsort(-probs)[:5]]
  print(f'{model.spec.name} on {image}:')
  print('\n'.join(f'  {p:6.1%}  {name}' for name, p in top))
  explained = (classes[label], float(probs[label]))
  print('explained: {} ({:.1%})'.format(*explained), flush=True)

  sheet = sheets.Sheet(
    out,
    x,
    {
      'image': image,
      'model': model.spec.name,
      'label': label,
      'class': classes[label],
      # The class that is explained is always among those shown.
      'predictions': top if explained in top else [*top[:-1], explained],
      'seed': setup.seed,
    },
  )
  # What is asked for by name, or has a setting of its own, must have its map.
  may_lack = (
    set()
    if methods.are_named(chosen)
    else {name for name in names if not given[name]}
  )
  found, left_out, drawn = {}, {}, -math.inf
  with app.progress(names, what='maps') as bar:
    maps = programs.maps(
      model, settings, x, label, key=setup.key, bar=bar, may_lack=may_lack
    )
    for name, made in maps:
      if isinstance(made, str):
        left_out[name], whole = made, False
      else:
        made.info['warnings'] = diagnostics.warnings(
          made.out, score=methods.METHODS[name].score, prob=explained[1]
        )
        found[name] = made._replace(labels=labels.get(name))
        found = {n: found[n] for n in names if n in found}
        whole = name == made.info['compiled_with'][-1]
      last = len(found) + len(left_out) == len(names)
      draw = last or whole and time.perf_counter() - drawn > _REDRAW
      sheet.write(found, left_out, draw=draw, last=last)
      drawn = time.perf_counter() if draw else drawn
  refused = sheet.refused(found)
  kept = {n: m for n, m in found.items() if n not in refused}
  if _HTML.value and kept:
    page = pages.html(x, kept, sheet.about)
    files.write_bytes(out / 'explain.html', page.encode())
  print(app.table(_HEADER, [_row(n, m.info) for n, m in found.items()]))
  for name, made in found.items():
    for sentence in made.info['warnings']:
      print(f'! {name}: {sentence}')
  for name, why in left_out.items():
    print(f'- {name} is left out: {why}')
  if _CERTIFY.value is not None:
    certifying.report(out, x, kept, rho=_CERTIFY.value)
  written = 'info.json' if len(refused) == len(found) else _WRITTEN
  if labels.keys() & kept.keys():
    written = f'{sheets.SEGMENTS}, {written}'
  if _HTML.value and kept:
    written = f'explain.html, {written}'
  seconds = time.perf_counter() - begin
  print(f'wrote {out}/: {written}, after {seconds:.0f} s')
  if refused:
    raise ValueError(
      f'not saved for {image!r}: '
      + '; '.join(f'{n}: {why}' for n, why in refused.items())
      + f' ({model.spec.name} is finite there: see the settings)'
    )


def _row(name: str, info: dict[str, Any]) -> tuple[str, ...]:
  first = info['compiled_with'][0]
  compiled = f'{info["compile_seconds"]:.2f} s'
  calls = (str(c) for c in info['calls'].values())
  return (
    name,
    compiled if name == first else f'in {first}',
    f'{info["run_seconds"]:.2f} s',
    *calls,
    info['quality'],
  )


if __name__ == '__main__':
  app.run(main)
