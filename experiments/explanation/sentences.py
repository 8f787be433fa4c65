"""Explains a sentence, by its tokens and by its words: `explain --text`."""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any, NamedTuple
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from experiments.core import app
from experiments.core import files
from experiments.core import inputs
from experiments.core import results
from experiments.explanation import stacking
from experiments.tables import methods
from experiments.tables import sentences
from experiments.tables import settings as settings_table
from saliency_jax import explainer
from saliency_jax import maskers
from saliency_jax import models
from saliency_jax import scores
from saliency_jax import viz
from saliency_jax.core import describing
from saliency_jax.core import types
from saliency_jax.models import heads
from saliency_jax.models import text

# What a sentence is held against, if nothing else is named.
CLASSES = ('It is good.', 'It is bad.')
_FILES = ('words.png', 'tokens.png', 'explain.html', 'maps.npz', 'info.json')
TOKENS, WORDS = 'tokens', 'words'


class Part(NamedTuple):
  """What one method says of the tokens, or of the words.

  Attributes:
    values: one each.
    margin: half of the 95% interval of each, where there is one.
    quality: one line of diagnostics.
    warnings: why not to trust the values.
    out: of the method.
  """

  values: np.ndarray
  margin: np.ndarray | None
  quality: str
  warnings: tuple[str, ...]
  out: types.Attribution


def explain(
  setup: app.Setup,
  line: str,
  *,
  classes: Sequence[str],
  label: str | None,
  names: Sequence[str],
  assignments: Sequence[str],
) -> None:
  """Explains a sentence, and writes what was found to `--out`.

  Args:
    setup: of the launcher.
    line: the sentence.
    classes: sentences that describe a class each; of a single one the score is
      the similarity with it.
    label: the class, by index or by its description; `None` is the nearest.
    names: of methods, or 'quick' or 'all'.
    assignments: `method.setting=value`.
  """
  names = methods.choose(names, sentences.METHODS)
  given = methods.given(names, assignments, sentences.METHODS)
  out = app.out_dir('explain')
  classes = tuple(classes) or CLASSES
  sentence = text.read(line)
  model = heads.similarity(
    models.load('minilm'),
    *(text.read(each).ids for each in classes),
    class_names=classes,
  )
  found = np.asarray(jax.jit(model.apply)(model.params, sentence.ids))
  chosen = int(found.argmax())
  if label is not None:
    chosen = inputs.find_label(label, classes, len(classes))
  print(f'{model.spec.name}: {len(sentence.tokens)} tokens, similar to')
  near = zip(found, classes, strict=True)
  print('\n'.join(f'  {s:6.3f}  {name}' for s, name in near))
  print(f'explained: {classes[chosen]}', flush=True)

  score = scores.logit if len(classes) == 1 else scores.margin
  parts = {TOKENS: {}, WORDS: {}}
  for name in (bar := app.progress(names, what='maps')):
    bar.set_postfix_str(name)
    made = _explain(name, given[name], setup, model, score, sentence, chosen)
    for kind, part in made.items():
      parts[kind][name] = part
  rows = [
    (n, parts[WORDS][n].quality, _strongest(parts[WORDS][n], sentence.words))
    for n in names
  ]
  print(app.table(('method', 'quality', 'words'), rows))
  for name, warning in _warned(parts):
    print(f'! {name}: {warning}')
  refused = {
    f'{name} by {kind}': why
    for kind, made in parts.items()
    for name, part in made.items()
    if (why := results.trouble(part.out))
  }
  if refused:
    raise ValueError(
      f'not saved for {line!r:.60}: '
      + '; '.join(f'{name}: {why}' for name, why in refused.items())
    )
  about = {
    'text': line,
    'tokens': sentence.tokens,
    'words': sentence.words,
    'classes': dict(zip(classes, found.tolist(), strict=True)),
    'explained': classes[chosen],
    'score': score.__name__,
    'seed': setup.seed,
    'methods': {
      kind: {n: _told(p) for n, p in made.items()}
      for kind, made in parts.items()
    },
  }
  _write(out, about, parts, sentence)
  print(
    f'wrote {out}/: words.png, tokens.png, explain.html, maps.npz, info.json'
  )


def _explain(name, given, setup, model, score, sentence, label):
  """Returns what a method says of the tokens and of the words."""
  entry = sentences.METHODS[name]
  settings = {**entry.settings, **given}
  owners, ids = sentence.owners, jnp.asarray(sentence.ids)
  free = owners >= 0
  # Each token but the special ones is a word of its own, or a part of one.
  alone = np.where(free, np.cumsum(free) - 1, -1)
  as_players = {
    kind: functools.partial(maskers.tokens, mask_id=text.MASK, words=words)
    for kind, words in ((TOKENS, alone), (WORDS, owners))
  }
  if name in sentences.HIDING:
    choices = {kind: {'masker': m} for kind, m in as_players.items()}
  else:
    known = settings_table.parameters(entry.method)
    hidden = jnp.where(free, ids, text.MASK)
    choices = {TOKENS: {'baseline': hidden} if 'baseline' in known else {}}
  made = {}
  for kind, own in choices.items():
    method = functools.partial(entry.method, **{**own, **settings})
    run = explainer.build(method, model.apply, score)
    key = jax.random.fold_in(setup.key, zlib.crc32(name.encode()))
    try:
      batch = run(model.params, ids[None], label, key[None])
    except ValueError as e:
      raise ValueError(f'{name}: {app.one_line(e)}') from e
    one = jax.tree.map(lambda a: np.asarray(a[0]), batch)
    made[kind] = _part(one, entry, as_players[kind](ids), kind)
  if WORDS not in made:
    # A word's share is the sum of the shares of its tokens.
    part = made[TOKENS]
    sums = np.zeros(len(sentence.words), part.values.dtype)
    np.add.at(sums, owners[free], part.values[free])
    made[WORDS] = part._replace(values=sums)
  return made


def _part(out, entry, masker, kind):
  values, margin = out.scores, getattr(out.info, 'margin', None)
  # Of too few draws there are no intervals.
  if np.shape(margin) != masker.shape or not np.isfinite(margin).all():
    margin = None
  if kind == WORDS:
    values = np.asarray(masker.pool(values))
  elif margin is not None:
    margin = np.asarray(masker.spread(jnp.asarray(margin)))
  # A similarity and a margin are no probabilities.
  told = describing.facts(out), describing.warnings(out, prob=0)
  return Part(values, margin, *told, out)


def _strongest(part: Part, words: Sequence[str]) -> str:
  """Returns the words of the largest values."""
  order = np.argsort(-np.abs(part.values))[:3]
  return ', '.join(f'{words[i]} {part.values[i]:+.3f}' for i in order)


def _warned(
  parts: Mapping[str, Mapping[str, Part]],
) -> Iterator[tuple[str, str]]:
  """Yields methods and why not to trust them, each reason once."""
  for name, by_token in parts[TOKENS].items():
    by_word = parts[WORDS][name]
    for warning in dict.fromkeys((*by_token.warnings, *by_word.warnings)):
      yield name, warning


def _told(part: Part) -> dict[str, Any]:
  return {
    'quality': part.quality,
    'warnings': part.warnings,
    'values': part.values,
    'info': jax.tree.map(results.brief, results.fields(part.out.info)),
  }


def _write(
  out: Any,
  about: Mapping[str, Any],
  parts: Mapping[str, Mapping[str, Part]],
  sentence: text.Sentence,
) -> None:
  """Writes the figures, the page, the maps and the facts."""
  files.write_json(out / 'info.json', about)
  files.write_npz(
    out / 'maps.npz',
    {
      'ids': sentence.ids,
      'owners': sentence.owners,
      **{
        f'{name}.{kind}': part.values
        for kind, made in parts.items()
        for name, part in made.items()
      },
    },
  )
  page = []
  for kind, shown in ((WORDS, sentence.words), (TOKENS, sentence.tokens)):
    figures = []
    for name, part in parts[kind].items():
      told = {
        'margin': part.margin,
        'title': f'{name.replace("_", " ")}, by {kind}',
        'caption': f'for {about["explained"]!r}: {part.quality}',
        'warning': '; '.join(part.warnings),
      }
      figures.append(viz.tokens(part.values, shown, **told))
      page.append(viz.tokens_html(part.values, shown, **told))
    files.write_bytes(out / f'{kind}.png', stacking.png(figures))
  head = '<!doctype html><meta charset="utf-8"><title>explain</title>'
  files.write_bytes(out / 'explain.html', (head + ''.join(page)).encode())
