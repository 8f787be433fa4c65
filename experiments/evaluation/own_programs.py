"""Maps of methods whose every image has a program of its own.

Superpixels that have neighbours make one graph an image, and the graph says
which coalitions a program calls: see `contenders.on_image`.
"""

from collections.abc import Callable, Sequence
import time
from typing import Any

import jax
from jaxtyping import Array
import numpy as np

from experiments.tables import contenders
from saliency_jax.core import types
from saliency_jax.models import types as model_types


def explain(
  contender: contenders.Contender,
  model: model_types.Model,
  batch: Sequence[Array],
  rows: Sequence[int],
  tell: Callable[[], None],
) -> tuple[types.Attribution, float]:
  """Returns the maps of a batch, and the seconds that they ran.

  Args:
    contender: of any image.
    model: that is explained.
    batch: images, labels and keys.
    rows: the number of each; what fills a batch up stands again.
    tell: called when a program is compiled.
  """
  outs, seconds = {}, 0.0
  device = jax.local_devices()[0]
  for i, row in enumerate(rows):
    if row in outs:
      continue
    tell()
    args = (model.params, *(a[i : i + 1] for a in batch))
    args = jax.device_put(args, device)
    own = contenders.on_image(contender, np.asarray(args[1][0]))
    program = contenders.build(own, model.apply).lower(*args).compile()
    start = time.perf_counter()
    outs[row] = jax.block_until_ready(program(*args))
    seconds += time.perf_counter() - start
  return stacked([outs[row] for row in rows]), seconds


def stacked(outs: Sequence[Any]) -> Any:
  """Returns batches as one; zeros stand for players that an image lacks."""

  def join(*leaves):
    leaves = [np.asarray(leaf) for leaf in leaves]
    size = np.max([leaf.shape for leaf in leaves], 0)
    pad = lambda a: [(0, n - m) for m, n in zip(a.shape, size, strict=True)]
    return np.concatenate([np.pad(leaf, pad(leaf)) for leaf in leaves])

  return jax.tree.map(join, *outs)
