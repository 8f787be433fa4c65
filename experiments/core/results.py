"""What launchers keep of an attribution: arrays, summaries, refusals."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from saliency_jax.core import types


def fields(info: Any) -> dict[str, np.ndarray]:
  """Returns a method's `info` as arrays by name: 'stderr', 'inner.stderr'."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(info)
  return {
    jax.tree_util.keystr(path, simple=True, separator='.'): np.asarray(a)
    for path, a in leaves
  }


def arrays(found: Mapping[str, types.Attribution]) -> dict[str, np.ndarray]:
  """Returns the scores of methods by name, and their info as 'name.field'."""
  named = {name: np.asarray(out.scores) for name, out in found.items()}
  for name, out in found.items():
    named |= {f'{name}.{field}': a for field, a in fields(out.info).items()}
  return named


def brief(value: Any) -> Any:
  """Returns a value as JSON can tell it: an array by its shape and range."""
  if not isinstance(value, np.ndarray | jax.Array) or value.ndim == 0:
    return value
  a = np.asarray(value, np.float64)
  ends = {'min': a.min(), 'mean': a.mean(), 'max': a.max()}
  return {'shape': a.shape, **ends}


def trouble(out: types.Attribution) -> str | None:
  """Says why a map must not be saved, or returns `None`."""
  scores = np.asarray(out.scores)
  bad = np.count_nonzero(~np.isfinite(scores))
  if not bad:
    return None
  also = [f for f, a in fields(out.info).items() if not np.isfinite(a).all()]
  return f'{bad} of {scores.size} scores are NaN or infinite' + (
    f', and so is its {" and ".join(also)}' if also else ''
  )
