"""Methods of players as methods of images, whose players are cells.

What a flag or a config can spell is the number of cells a side, and what a
hidden cell shows; a masker is neither.
"""

from collections.abc import Callable
import functools
import inspect
from typing import Any

from jaxtyping import Array, Float, Key

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import types


def of_cells(
  method: Callable[..., types.Attribution],
) -> Callable[..., types.Attribution]:
  """Returns the method with `cells` and `baseline` in the place of `masker`."""

  def explain(
    fn: types.ScoreFn,
    x: Float[Array, 'H W C'],
    *,
    key: Key[Array, ''] | None = None,
    cells: int | tuple[int, int] = 14,
    baseline: baselines.Baseline = baselines.black,
    **settings: Any,
  ) -> types.Attribution:
    masker = functools.partial(maskers.grid, cells=cells, baseline=baseline)
    return method(fn, x, key=key, masker=masker, **settings)

  own = [
    p
    for p in inspect.signature(explain).parameters.values()
    if p.kind is not inspect.Parameter.VAR_KEYWORD
  ]
  others = [
    p
    for name, p in inspect.signature(method).parameters.items()
    # What a flag cannot spell.
    if name not in ('fn', 'x', 'key', 'masker', 'edges')
  ]
  explain = functools.wraps(method)(explain)
  explain.__signature__ = inspect.Signature([*own, *others])
  return explain
