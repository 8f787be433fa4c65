"""What an example is where a mask hides it: mixed with a baseline, or several.

    kept = mask * x + (1 - mask) * baseline

A background set has a kept example for every row, and a score is their mean.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Key

from saliency_jax.core import baselines
from saliency_jax.core import batching
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types


class Filling(NamedTuple):
  """What a mask leaves of an example, in float32 at least.

  Attributes:
    blend: a mask to the example that it leaves.
    average: `(fn, mask)` to the mean of `fn` over the examples that it leaves.
    num_rows: how many these are.
  """

  blend: Callable[[types.Example], types.Example]
  average: Callable[[Callable[[types.Example], Any], types.Example], Any]
  num_rows: int


def one(blend: Callable[[types.Example], types.Example]) -> Filling:
  """Returns the filling of masks that leave one example."""
  return Filling(blend, lambda fn, mask: fn(blend(mask)), 1)


def of(
  x: types.Example, key: Key[Array, ''] | None, baseline: baselines.Baseline
) -> Filling:
  """Returns what is seen through the holes of a mask.

  Args:
    x: the example, of JAX's arrays.
    key: for a baseline that draws.
    baseline: a number, an array, a function or a background set.
  """
  wide = examples.wide(x)

  def mixed(mask, fill):
    # Exact at both ends, as `fill + mask * (wide - fill)` is not.
    mix = lambda m, a, b: a * m.astype(a.dtype) + b * (1 - m.astype(a.dtype))
    return jax.tree.map(mix, mask, wide, fill)

  if not isinstance(baseline, baselines.Background):
    fill = examples.wide(baselines.evaluate(baseline, x, key))
    return one(lambda mask: mixed(mask, fill))

  rows = examples.wide(baselines.rows_of(baseline, x))

  def blend(mask):
    del mask
    return baselines.evaluate(baseline, x, key)  # Says that it is not one.

  def average(fn, mask):
    at = lambda fill: fn(mixed(mask, fill))
    return sampling.batched_mean(at, rows, batch_size=baseline.batch_size)

  return Filling(blend, average, batching.length(rows))
