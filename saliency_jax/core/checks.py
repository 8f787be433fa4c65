"""Errors for bad arguments: each names the value and what was expected.

Only what is known while tracing is checked; a traced setting passes.
"""

from typing import Any

import jax

from saliency_jax.core import types


def at_least(name: str, value: Any, least: types.Scalar) -> None:
  """Raises `ValueError` unless `value >= least`."""
  if not isinstance(value, jax.core.Tracer) and not value >= least:
    raise ValueError(f'{name} must be at least {least}, got {value}')


def positive(name: str, value: Any) -> None:
  """Raises `ValueError` unless `value > 0`."""
  if not isinstance(value, jax.core.Tracer) and not value > 0:
    raise ValueError(f'{name} must be positive, got {value}')


def between(
  name: str, value: Any, least: types.Scalar, most: types.Scalar
) -> None:
  """Raises `ValueError` unless `least <= value <= most`."""
  if not isinstance(value, jax.core.Tracer) and not least <= value <= most:
    raise ValueError(f'{name} must be between {least} and {most}, got {value}')


def image(x: Any) -> None:
  """Raises `ValueError` unless `x` is one image `[H, W, C]`."""
  shape = getattr(x, 'shape', None)
  if shape is None or len(shape) != 3:
    raise ValueError(f'expected one image [H, W, C], got shape {shape}')


def same_shape(name: str, value: Any, x: Any) -> None:
  """Raises `ValueError` unless `value` is shaped and typed as the example."""

  def describe(tree):
    return jax.tree.map(lambda a: (tuple(a.shape), str(a.dtype)), tree)

  if describe(value) != describe(x):
    raise ValueError(
      f'{name} must be like the example, {describe(x)}, got {describe(value)}'
    )
