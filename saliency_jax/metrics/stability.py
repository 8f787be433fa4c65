"""Relative stability: how much a map changes, by how much the model does.

    max_{x' near x}  ||(e(x) - e(x')) / e(x)|| / ||change||,

`e` the map, divided entry by entry, over neighbours of the same decision. The
change is that of the example, `(x - x') / x` (RIS), of the logits, `h(x) -
h(x')` (ROS), or of a layer, `(L(x) - L(x')) / L(x)` (RRS). Entries of `e`, `x`
and `L` that are zero stand in a denominator as `eps`, so maps and images with
many zeros have large and small numbers that say little: compare methods whose
maps have as many. A map that reads neither the example nor the model, such as
one of random numbers by one key, does not change at all: its three numbers are
0, the best there are. Stability says nothing of whether a map is right.

References:
  Agarwal et al., Rethinking stability for attribution-based explanations, 2022.
  https://arxiv.org/abs/2203.06877
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.metrics import maps


class RelativeStability(NamedTuple):
  """The largest relative changes found nearby: lower bounds, at least 0.

  They are NaN where no neighbour has the decision of the example.
  """

  ris: Float[Array, '']  # By the example.
  ros: Float[Array, '']  # By the logits.
  rrs: Float[Array, '']  # By the layer; NaN without one.
  same: Int[Array, '']  # Neighbours of the same decision.


def relative_stability(
  fn: types.ScoreFn,
  x: Float[Array, '*x'],
  scores: Float[Array, '...'],
  *,
  logits_fn: types.LogitsFn,
  method: types.Method,
  key: Key[Array, ''],
  layer_fn: Callable[[types.Example], Any] | None = None,
  radius: types.Scalar = 0.02,
  num_samples: int = 50,
  eps: types.Scalar = 1e-6,
  batch_size: int | None = 1,
) -> RelativeStability:
  """Measures how much a map changes by how much the model does.

  All is NaN where the map at `x` is not finite.

  Args:
    fn: score of one example, which the method explains.
    x: the example.
    scores: the map at `x`.
    logits_fn: logits of one example.
    method: made the map. A method that draws gets one key for all: its own
      randomness does not count, if the map at `x` was made with
      `sampling.key_for(key, sampling.METHOD)`.
    key: consumed.
    layer_fn: an example to a layer of the network, such as
      `lambda x: taps.split(logits_fn, x, 'features').trunk(x)[0]`.
    radius: half the side of the box of neighbours, in the units of `x`.
    num_samples: uniform draws from the box.
    eps: stands for zeros in denominators, and is the least change.
    batch_size: maps made at once, one by default; `None` makes all.
  """
  checks.within('radius', radius, '(0, inf)')
  checks.within('eps', eps, '(0, inf)')
  checks.count('num_samples', num_samples)
  maps.matching(scores, x)

  def state(y):
    layer = () if layer_fn is None else examples.wide(layer_fn(y))
    return examples.wide(logits_fn(y)), layer

  logits, layer = state(x)
  label = jnp.argmax(logits)

  def relative(a, b):
    """Returns the norm of `(a - b) / a`, entry by entry."""
    over = jnp.where(a == 0, jnp.asarray(eps, a.dtype), a)
    return _norm((a - b) / over)

  def change(i):
    shift = sampling.uniform(sampling.draw_key(key, i + 1), x, low=-1)
    neighbour = x + jnp.asarray(radius, x.dtype) * shift
    method_key = sampling.key_for(key, sampling.METHOD)
    made = method(fn, neighbour, key=method_key).scores
    moved = relative(examples.wide(scores), examples.wide(made))
    near_logits, near_layer = state(neighbour)
    by = lambda size: moved / jnp.maximum(size, jnp.asarray(eps, size.dtype))
    ratios = RelativeStability(
      ris=by(relative(examples.wide(x), examples.wide(neighbour))),
      ros=by(_norm(logits - near_logits)),
      rrs=jnp.full_like(moved, jnp.nan)
      if layer_fn is None
      else by(relative(layer, near_layer)),
      same=jnp.argmax(near_logits) == label,
    )
    return ratios

  ratios = sampling.batched_map(
    change, jnp.arange(num_samples), batch_size=batch_size
  )
  num = jnp.sum(ratios.same, dtype=jnp.int32)

  def largest(values):
    counted = jnp.where(ratios.same, values, -jnp.inf)
    return jnp.where(num > 0, jnp.max(counted), jnp.nan)

  found = [largest(v) for v in (ratios.ris, ratios.ros, ratios.rrs)]
  return RelativeStability(*maps.if_finite(found, scores), num)


def _norm(a):
  return jnp.sqrt(jnp.sum(a**2))
