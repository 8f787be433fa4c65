"""Explains one photo by many methods: a figure, the maps, and how good each is.

  python -m experiments.explain
  python -m experiments.explain --image photo.jpg --model squeezenet \\
      --methods smooth_grad,rise --set rise.num_masks=4000 --label goldfish

It writes to `--out`: `explain.png`; `maps.npz`, with the image, the scores of
each method, and its diagnostics as `method.field`; and `info.json`, with the
settings, the times and a summary of the diagnostics.
"""

from concurrent import futures
import os
import time
from typing import Any
import zlib

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from experiments import app
from experiments import choices
from experiments import diagnostics
from experiments import files
from experiments import inputs
from experiments import methods
from experiments import results
from saliency_jax import models
from saliency_jax import viz

_LABEL = flags.DEFINE_string(
  'label', None, 'Class to explain, by index or name; the prediction if unset.'
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


def main(setup: app.Setup) -> None:
  """Explains `--image`."""
  app.alone('explain')
  begin = time.perf_counter()
  names = methods.choose(choices.METHODS.value)
  out = app.out_dir('explain')
  model = models.load(choices.MODEL.value)
  settings = methods.settings_of(names, choices.SETTINGS.value, model.spec)
  x = jnp.asarray(
    inputs.read_image(choices.IMAGE.value, model.spec, fit=choices.FIT.value)
  )
  probs = np.asarray(jax.nn.softmax(jax.jit(model.apply)(model.params, x)))
  if not np.isfinite(probs).all():
    raise ValueError(f'{model.spec.name} gives NaN on {choices.IMAGE.value!r}')
  classes = model.spec.class_names or tuple(map(str, range(probs.size)))
  label = int(probs.argmax())
  if _LABEL.value is not None:
    label = inputs.find_label(_LABEL.value, classes, probs.size)
  top = [(classes[i], float(probs[i])) for i in np.argsort(-probs)[:5]]
  print(f'{model.spec.name} on {choices.IMAGE.value}:')
  print('\n'.join(f'  {p:6.1%}  {name}' for name, p in top))
  explained = (classes[label], float(probs[label]))
  print('explained: {} ({:.1%})'.format(*explained), flush=True)

  found, infos = _explain(setup, model, settings, x, label, explained[1])
  print(app.table(_HEADER, [_row(name, infos[name]) for name in names]))
  for name in names:
    for sentence in infos[name]['warnings']:
      print(f'! {name}: {sentence}')
  refused = {n: why for n in names if (why := results.trouble(found[n]))}
  kept = {n: a for n, a in found.items() if n not in refused}
  if app.is_first():
    about = {
      'image': choices.IMAGE.value,
      'model': model.spec.name,
      'label': label,
      'class': classes[label],
      'predictions': top,
      'seed': setup.seed,
      'methods': infos,
      'refused': refused,
    }
    files.write_json(out / 'info.json', about)
    if kept:
      files.write_npz(out / 'maps.npz', {'image': x, **results.arrays(kept)})
      figure = viz.contact_sheet(
        np.asarray(x),
        [
          viz.Tile(n.replace('_', ' '), a.scores, *_style(n, infos))
          for n, a in kept.items()
        ],
        # The class that is explained is always among those shown.
        predictions=top if explained in top else [*top[:-1], explained],
        explained=classes[label],
        title=f'{classes[label]}, explained for {model.spec.name}',
      )
      files.write_figure(out / 'explain.png', figure)
    seconds = time.perf_counter() - begin
    written = 'explain.png, maps.npz and info.json' if kept else 'info.json'
    print(f'wrote {out}/: {written}, after {seconds:.0f} s')
  if refused:
    raise ValueError(
      f'not saved for {choices.IMAGE.value!r}: '
      + '; '.join(f'{n}: {why}' for n, why in refused.items())
      + f' ({model.spec.name} is finite there: see the settings)'
    )


def _explain(setup, model, settings, x, label, prob):
  """Returns the attribution of each method, and what `info.json` says of it."""
  args, traced, found, infos = {}, {}, {}, {}
  # All are traced before one is run: a bad setting is told within seconds.
  for name in app.progress(settings, what='tracing'):
    # A method's draws do not depend on which others there are.
    key = jax.random.fold_in(setup.key, zlib.crc32(name.encode()))
    args[name] = (model.params, x[None], jnp.array([label]), key[None])
    explain = methods.build(name, settings[name], model.apply)
    try:
      traced[name] = explain.trace(*args[name])
    except ValueError as e:
      raise ValueError(f'{name}: {app.one_line(e)}') from e
  # LLVM keeps one core busy; the maps are made, and timed, when it is done.
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    compiled = dict(
      zip(
        traced,
        app.progress(
          pool.map(_compile, traced.values()),
          what='compiling',
          total=len(traced),
        ),
        strict=True,
      )
    )
  for name in (bar := app.progress(compiled, what='explaining')):
    bar.set_postfix_str(name)
    program, compile_seconds = compiled[name]
    start = time.perf_counter()
    batch = jax.block_until_ready(program(*args[name]))
    seconds = time.perf_counter() - start
    one = found[name] = jax.tree.map(lambda a: np.asarray(a[0]), batch)
    entry = methods.METHODS[name]
    infos[name] = {
      'quality': entry.describe(one),
      'warnings': diagnostics.warnings(one, score=entry.score, prob=prob),
      'compile_seconds': compile_seconds,
      'run_seconds': seconds,
      'calls': entry.cost(settings[name], one.info)._asdict(),
      'settings': {k: results.brief(v) for k, v in settings[name].items()},
      'scores': results.brief(one.scores),
      'info': jax.tree.map(results.brief, results.fields(one.info)),
    }
  return found, infos


def _compile(traced) -> tuple[Any, float]:
  """Returns a program, and the seconds that it took to make."""
  start = time.perf_counter()
  program = traced.lower().compile()
  return program, time.perf_counter() - start


def _style(name: str, infos: dict[str, Any]) -> tuple[viz.Drawing, str, str]:
  warning, *more = infos[name]['warnings'] or ('',)
  warning += f' (and {len(more)} more)' if more else ''
  return methods.METHODS[name].drawing, infos[name]['quality'], warning


def _row(name: str, info: dict[str, Any]) -> tuple[str, ...]:
  times = (info['compile_seconds'], info['run_seconds'])
  seconds = (f'{t:.2f} s' for t in times)
  calls = (str(c) for c in info['calls'].values())
  return (name, *seconds, *calls, info['quality'])


if __name__ == '__main__':
  app.run(main)
