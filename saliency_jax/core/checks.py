"""Errors for bad arguments: each names the value and what was expected.

Only what is known while tracing is checked; a traced setting passes.
"""

from collections.abc import Callable, Sequence
import inspect
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# The largest number of draws, steps or pixels that an index of 32 bits counts.
MOST = 2**31 - 1


def within(name: str, value: Any, interval: str) -> None:
  """Raises `ValueError` unless a number lies in an interval.

  Args:
    name: what the number is called where the user set it.
    value: one number; NaN is in no interval.
    interval: its ends, as in '[0, 1)', '(0, inf)' or f'[1, {most}]'; a round
      bracket leaves the end out.
  """
  if isinstance(value, jax.core.Tracer):
    return
  low, high = (float(end) for end in interval[1:-1].split(','))
  above = operator.ge if interval[0] == '[' else operator.gt
  below = operator.le if interval[-1] == ']' else operator.lt
  number = _number(value)
  if number is None or not (above(number, low) and below(number, high)):
    raise ValueError(f'{name} must be in {interval}, got {_shown(value)}')


def count(name: str, value: Any, least: int = 1, most: int = MOST) -> None:
  """Raises `ValueError` unless `value` is a whole number of a range.

  Args:
    name: what the number is called where the user set it.
    value: a whole number.
    least: the smallest that is accepted.
    most: the largest that is accepted.
  """
  if isinstance(value, jax.core.Tracer):
    return
  number = _number(value)
  whole = number is not None and number == np.floor(number)
  if whole and not hasattr(value, '__index__'):
    raise ValueError(
      f'{name} must be an integer, got {value!r}: pass {int(number)}'
    )
  if not whole or not least <= number <= most:
    ends = f'of at least {least}' if most == MOST else f'in [{least}, {most}]'
    if number is not None and number > MOST:
      ends = f'in [{least}, {most}]'
    raise ValueError(
      f'{name} must be a whole number {ends}, got {_shown(value)}'
    )


def image(x: Any) -> None:
  """Raises `ValueError` unless `x` is one image `[H, W, C]`.

  One or three before a last axis that is neither is an image `[C, H, W]`.
  """
  shape = getattr(x, 'shape', None)
  if shape is None or len(shape) != 3:
    row = len(shape or ()) == 1
    hint = f'; a row of numbers is x.reshape(1, {shape[0]}, 1)' if row else ''
    raise ValueError(
      f'expected one image [H, W, C], got shape {shape}{hint}; what is none '
      'is explained with a masker, of saliency_jax.maskers'
    )
  if shape[0] in (1, 3) and shape[-1] not in (1, 3):
    raise ValueError(
      f'expected one image [H, W, C], got shape {tuple(shape)}, its channels '
      'first: pass jnp.moveaxis(x, 0, -1), and explain '
      'lambda x: fn(jnp.moveaxis(x, -1, 0))'
    )


def one_number(score: Any) -> Any:
  """Returns a score, or raises `ValueError` unless it is one number."""
  if np.shape(score):
    raise ValueError(
      f'expected a score of one number, got {np.shape(score)}: take one '
      'output, such as by scores.logit(apply, params, label)'
    )
  return jnp.asarray(score)


def constructor(masker: Any) -> Callable[..., Any]:
  """Returns what makes a masker, or raises `ValueError` if nothing does."""
  if not callable(masker):
    raise ValueError(
      'masker must be a function of saliency_jax.maskers, its settings bound '
      f'by functools.partial, got {masker!r:.80}: pass masker=maskers.entries '
      'for a row, or partial(maskers.steps, width=10) for a series'
    )
  return masker


def no_masker(method: Callable[..., Any], **settings: Any) -> None:
  """Refuses settings of a method's own parts beside a masker.

  Raises:
    ValueError: for one that is not its default.
  """
  defaults = inspect.signature(method).parameters
  for name, value in settings.items():
    default = defaults[name].default
    same = value is default or (np.isscalar(value) and value == default)
    if not same:
      raise ValueError(
        f'{name} is a setting of the parts that {method.__name__} cuts by '
        f'itself: leave it out beside masker=, or bind it to the masker'
      )


def same_shape(name: str, value: Any, x: Any) -> None:
  """Raises `ValueError` unless `value` is shaped and typed as the example."""

  def describe(tree):
    return jax.tree.map(lambda a: (tuple(a.shape), str(a.dtype)), tree)

  if describe(value) != describe(x):
    raise ValueError(
      f'{name} must be like the example, {describe(x)}, got {describe(value)}'
    )


def axes(numbers: Sequence[int], x: Any) -> list[int]:
  """Returns axes of an array, counted from the front.

  Raises:
    ValueError: for an axis that is not there, or twice.
  """
  known = [axis + x.ndim if axis < 0 else axis for axis in numbers]
  if len(set(known)) < len(known) or not set(known) <= set(range(x.ndim)):
    raise ValueError(
      f'an example {x.shape} has no axes {tuple(numbers)}: they count from 0, '
      f'and are at most {x.ndim - 1}, none twice'
    )
  return known


def players(labels: Any, least: int = 0) -> np.ndarray:
  """Returns the player of each entry, in whole numbers of numpy.

  Args:
    labels: whole numbers, those from 0 on all in use.
    least: the smallest that is accepted.

  Raises:
    ValueError: for labels that are anything else.
  """
  labels = np.asarray(labels)
  if least < 0 and labels.size and (labels == least).all():
    raise ValueError(
      f'all of the {labels.size} labels are {least}, which leaves no player: '
      'number those that may be hidden from 0'
    )
  whole = np.issubdtype(labels.dtype, np.integer) and labels.size
  if not whole or labels.min() < least or labels.max() < 0:
    raise ValueError(
      f'labels must be whole numbers from {least}, got {labels!r:.80}'
    )
  counts = np.bincount(labels[labels >= 0])
  if not counts.all():
    raise ValueError(
      f'labels must be of the numbers 0 to {counts.size - 1}, each at least '
      f'once: {int(np.argmin(counts))} is missing'
    )
  return labels


def players_of(labels: Any, num: int | None = None) -> Any:
  """Returns the player of each entry, checked as far as it is known.

  Args:
    labels: see `players`; of a running program, with `num`, anything.
    num: players, or `None`, where the labels name all of them.

  Raises:
    ValueError: as `players`, and for labels of a running program without `num`.
  """
  if num is not None:
    count('num', num)
    return jnp.asarray(labels)
  if isinstance(labels, jax.core.Tracer):
    raise ValueError(
      f'labels {labels.shape} are known only when the program runs: pass num=, '
      'how many players they name'
    )
  return players(labels)


def _number(value):
  """Returns a number as one of Python's, and `None` for what is no number."""
  if isinstance(value, bool | str) or np.ndim(value) != 0:
    return None
  try:
    return int(value) if isinstance(value, int) else float(value)
  except (TypeError, ValueError):
    return None


def _shown(value):
  return repr(value) if isinstance(value, str) else value
