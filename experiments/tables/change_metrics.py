"""Metrics of change: maps made again elsewhere, or of another class.

Each is a `metric(case, x, scores, *, key)`, its other settings numbers that a
config can spell: see `settings.py`. The place `sampling.METHOD` of the key made
the map at hand, so that the randomness of a method does not count.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from experiments.tables import cases
from saliency_jax import metrics
from saliency_jax import taps
from saliency_jax.core import checks
from saliency_jax.core import sampling
from saliency_jax.metrics import maps


def max_sensitivity(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  radius: float = 0.02,
  num_samples: int = 10,
) -> cases.Result:
  """Measures the largest relative change of a map nearby.

  Args:
    case: what made the map.
    x: the example.
    scores: the map at `x`.
    key: consumed; its place `sampling.METHOD` made the map.
    radius: half the side of the box about `x`.
    num_samples: maps made again.
  """
  out = metrics.max_sensitivity(
    case.fn,
    x,
    scores,
    method=case.method,
    key=key,
    radius=radius,
    num_samples=num_samples,
  )
  return cases.Result({'max_sensitivity': out.max_sensitivity}, {})


def relative_stability(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  radius: float = 0.02,
  num_samples: int = 10,
  layer: str = 'features',
) -> cases.Result:
  """Measures changes of a map nearby by changes of image, logits, a layer.

  A random map does not change, and has the best numbers of all.

  Args:
    case: what made the map.
    x: the example.
    scores: the map at `x`.
    key: consumed.
    radius: half the side of the box about `x`.
    num_samples: maps made again.
    layer: name of an intermediate of the network.
  """
  out = metrics.relative_stability(
    case.fn,
    x,
    scores,
    logits_fn=case.logits_fn,
    method=case.method,
    key=key,
    layer_fn=lambda x: taps.split(case.logits_fn, x, layer).trunk(x)[0],
    radius=radius,
    num_samples=num_samples,
  )
  return cases.Result({'ris': out.ris, 'ros': out.ros, 'rrs': out.rrs}, {})


def random_logit(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  num_samples: int = 1,
) -> cases.Result:
  """Measures how like the map of the class the maps of other classes are.

  Args:
    case: what made the map.
    x: the example.
    scores: the map at `x`, which is made again.
    key: consumed.
    num_samples: other classes.
  """
  out = metrics.random_logit(
    case.method,
    case.apply,
    case.params,
    x,
    key=key,
    score=case.score,
    label=case.label,
    num_samples=num_samples,
  )
  values = {
    'ssim': jnp.mean(out.likeness.ssim),
    'rank_correlation': jnp.mean(out.likeness.rank_correlation),
  }
  return cases.Result(maps.if_finite(values, scores), {})


def blind(
  case: cases.Case,
  x: Float[Array, 'H W C'],
  scores: Float[Array, '...'],
  *,
  key: Key[Array, ''],
  side: float = 0.5,
  num_samples: int = 1,
) -> cases.Result:
  """Measures how much of a map is where a blind network can see.

  The network is made blind, to black, outside of a square; its map of the same
  class is made, and should be inside. By chance it is there by the square's
  part of the image.

  Args:
    case: what made the map.
    x: the example.
    scores: the map at `x`, of the network that is not blind.
    key: consumed; square `i` is drawn by draw `i + 1`.
    side: of the square, in sides of the image.
    num_samples: squares, at random places.
  """
  checks.within('side', side, '(0, 1]')

  def found(i):
    region = _square(sampling.draw_key(key, i + 1), x.shape[:2], side)
    apply = metrics.blind(case.apply, region)
    method_key = sampling.key_for(key, sampling.METHOD)
    fn = case.score(apply, case.params, case.label)
    made = case.method(fn, x, key=method_key).scores
    pixels = maps.per_pixel(made, x, by_size=case.by_size)
    return metrics.localization(pixels, region)

  out = sampling.batched_map(found, jnp.arange(num_samples), batch_size=1)
  values = {'mass': jnp.mean(out.mass), 'rank': jnp.mean(out.rank)}
  return cases.Result(maps.if_finite(values, scores), {})


def _square(key, shape, side):
  """Draws a square inside of an image: 1 inside, 0 outside."""

  def along(i, n):
    size = max(1, round(side * n))
    start = jax.random.randint(sampling.draw_key(key, i), (), 0, n - size + 1)
    at = jnp.arange(n)
    return ((at >= start) & (at < start + size)).astype(jnp.float32)

  rows, columns = (along(i, n) for i, n in enumerate(shape))
  return rows[:, None] * columns[None]
