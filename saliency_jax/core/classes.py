"""Classes by their number: the entry of one, and what is none.

A number that is no class must not pass for one. JAX clips or wraps an index
that is out of range, and a NaN filled in for the entry is a constant, whose
derivative is a map of zeros.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer
import numpy as np

Label = int | Integer[Array, ''] | Integer[np.ndarray, ''] | np.integer


def at(values: Float[Array, 'k'], label: Label) -> Float[Array, '']:
  """Returns the entry of a class.

  It is NaN, as is its derivative, for a traced label that is no class.

  Args:
    values: one for each class.
    label: the class.

  Raises:
    ValueError: for a label that is known, and is no class, or for several.
  """
  if not isinstance(label, jax.Array | jax.core.Tracer):
    label = numbers(label)
  if jnp.ndim(label):
    raise ValueError(f'expected one class, got labels {jnp.shape(label)}')
  check(label, values.size)
  value = values.at[label].get(mode='clip', wrap_negative_indices=False)
  if _is_known(label):
    return value
  # A factor of the value is one of its derivatives too.
  exists = (label >= 0) & (label < values.size)
  return value * jnp.where(exists, 1.0, jnp.nan)


def numbers(labels: Any) -> np.ndarray:
  """Returns labels of Python or numpy as an array of whole numbers.

  Raises:
    ValueError: for names, fractions, `None`, or rows of different lengths.
  """
  try:
    known = np.asarray(labels)
  except ValueError:
    known = np.asarray(None)
  if not np.issubdtype(known.dtype, np.integer):
    raise ValueError(
      f'expected classes as whole numbers, got labels {labels!r:.60}: the '
      'index of a class among the outputs, or None for what is predicted'
    )
  return known


def check(labels: Any, num_classes: int) -> None:
  """Raises a `ValueError` for a label that is known, and is no class.

  Args:
    labels: one class, or an array `[n]` of them; what is traced, or lies on
      devices of other processes, passes.
    num_classes: that there are.
  """
  if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
    kind = jnp.result_type(labels)
    raise ValueError(f'expected classes as whole numbers, got labels of {kind}')
  if not _is_known(labels):
    return
  labels = np.asarray(labels)
  for place in np.argwhere((labels < 0) | (labels >= num_classes))[:1]:
    label = labels[tuple(place)]
    where = f' of example {place[0]}' if labels.ndim else ''
    unlabelled = (
      ': -1 marks an example without a label; labels=None of explainer.build, '
      'or scores.predict, takes the class that is predicted'
    )
    raise ValueError(
      f'label {label}{where} is not one of {num_classes} classes (0 to '
      f'{num_classes - 1}){unlabelled if label == -1 else ""}'
    )


def _is_known(labels):
  if isinstance(labels, jax.core.Tracer | jax.ShapeDtypeStruct):
    return False
  return getattr(labels, 'is_fully_addressable', True)
