"""Times a network alone, torch's beside it."""

from collections.abc import Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from experiments.core import app
from experiments.core import timing
from saliency_jax.models import types


def time_model(
  model: types.Model,
  x: Float[np.ndarray, 'H W C'],
  label: int,
  network: Any,
  *,
  sizes: Sequence[int],
  repeats: int,
) -> dict[str, Any]:
  """Times the calls of a network at several batch sizes.

  Args:
    model: the network.
    x: one example.
    label: whose logit is differentiated.
    network: torch's, or `None`.
    sizes: of the batches.
    repeats: timed calls of each, of which the median counts.
  """

  def logit(params, x):
    return model.apply(params, x)[label]

  programs = {
    'forward': jax.jit(jax.vmap(model.apply, (None, 0))),
    'gradient': jax.jit(jax.vmap(jax.value_and_grad(logit, 1), (None, 0))),
  }
  found = {kind: [] for kind in programs}
  for size in app.progress(sizes, what='calls of the model'):
    batch = np.repeat(x[None], size, 0)
    theirs = (None, None)
    if network is not None:
      from experiments.benchmarking import peers

      theirs = peers.model_calls(network, batch, label)
    ours = jnp.asarray(batch)
    for (kind, program), other in zip(programs.items(), theirs, strict=True):
      runs = {'jax': functools.partial(program, model.params, ours)}
      if other is not None:
        runs['torch'] = other
      seconds = timing.in_turns(runs, repeats)
      per_image = {k: float(np.median(v)) / size for k, v in seconds.items()}
      found[kind].append({'batch_size': size, **per_image})
  return found
