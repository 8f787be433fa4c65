"""Infidelity and sensitivity of a map under perturbations of the example.

    infidelity  = E_I[(beta <I, slopes> - (f(x) - f(x - I)))^2]
    sensitivity = max_{|y - x|_inf <= r} |scores(y) - scores(x)| / |scores(x)|

`beta` is 1, or the factor at which the first is least. The slopes are what a
map promises a unit of `x`. Those of a gradient are its scores; a map that sums
to `f(x) - f(b)`, as integrated gradients', promises its score for the whole way
from `x` to the baseline `b`, and `scores / (x - b)` for a unit of it. (The
authors' code multiplies gradients by `x` where `I` takes pixels down to black,
which is the same seen from the other side.)

References:
  Yeh et al., On the (in)fidelity and sensitivity of explanations, 2019.
  https://arxiv.org/abs/1901.09392
  Ancona et al., Towards better understanding of gradient-based attribution
  methods for deep neural networks, 2018. https://arxiv.org/abs/1711.06104
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from saliency_jax import maskers
from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.metrics import maps

# Draws `I`: `(key, x) -> like x`.
Perturbation = Callable[
  [Key[Array, ''], Float[Array, '*x']], Float[Array, '*x']
]


class Infidelity(NamedTuple):
  """The mean squared error of what a map promises."""

  infidelity: Float[Array, '']
  stderr: Float[Array, '']  # Of the Monte Carlo mean, at the `beta` in use.
  beta: Float[Array, '']  # By which the map was multiplied.


class MaxSensitivity(NamedTuple):
  """The largest relative change of a map found nearby."""

  max_sensitivity: Float[Array, '']  # A lower bound: the worst of some draws.
  mean_sensitivity: Float[Array, '']


def gaussian(
  key: Key[Array, ''], x: Float[Array, '*x'], *, sigma: types.Scalar = 0.2
) -> Float[Array, '*x']:
  """Draws normal noise of deviation `sigma` in the units of `x`."""
  return sigma * sampling.normal(key, x)


def square(
  key: Key[Array, ''], x: Float[Array, 'H W C'], *, size: int = 10
) -> Float[Array, 'H W C']:
  """Draws a square of `size` pixels to take out of the image, down to black.

  Raises:
    ValueError: if the square is larger than the image.
  """
  checks.image(x)
  checks.count('size', size, 1, min(x.shape[:2]))
  corners = [
    jax.random.randint(sampling.draw_key(key, i), (), 0, n - size + 1)
    for i, n in enumerate(x.shape[:2])
  ]
  rows, columns = (
    (jnp.arange(n) >= c) & (jnp.arange(n) < c + size)
    for c, n in zip(corners, x.shape[:2], strict=True)
  )
  inside = rows[:, None, None] & columns[None, :, None]
  return jnp.where(inside, x, jnp.zeros_like(x))


def players(
  key: Key[Array, ''],
  x: Float[Array, '*x'],
  *,
  masker: maskers.Constructor,
  keep_prob: types.Scalar = 0.5,
) -> Float[Array, '*x']:
  """Draws players of a masker to take out of the example, down to its baseline.

  It is for maps of entries, such as gradients; a map that the masker itself has
  spread takes `infidelity(masker=...)`.

  Args:
    key: consumed.
    x: the example.
    masker: says what may be taken out, by regions, columns or times.
    keep_prob: probability that a player stays.
  """
  checks.within('keep_prob', keep_prob, '[0, 1]')
  parts = checks.constructor(masker)(x, key=key)
  unit = jax.random.uniform(sampling.draw_key(key, 0), parts.shape)
  return x - parts.hide((unit < keep_prob).astype(x.dtype))


def infidelity(
  fn: types.ScoreFn,
  x: types.Example,
  scores: types.Example,
  *,
  key: Key[Array, ''],
  perturbation: Perturbation = gaussian,
  baseline: baselines.Baseline | None = None,
  masker: maskers.Constructor | None = None,
  num_samples: int = 100,
  rescale: bool = False,
  batch_size: int | None = None,
) -> Infidelity:
  """Measures how well a map predicts the score's response to perturbations.

  All is NaN where the map is not finite.

  Args:
    fn: score of one example.
    x: the example, of floats; any example with a masker.
    scores: broadcastable against `x`: slopes, or differences of the score.
    key: consumed.
    perturbation: draws `I`: `gaussian`, `square` or `players`, settings bound.
    masker: of a map that a masker has spread, each player's score a difference:
      half of the players are hidden at a time, and promise the sum of theirs.
    baseline: of a map that sums to the score's difference from it, such as 0
      for gradient x input; `None` for slopes, such as a gradient.
    num_samples: draws.
    rescale: whether the map is first multiplied by the least-squares `beta`.
    batch_size: calls of `fn` held in memory at once; `None` holds all.
  """
  checks.count('num_samples', num_samples)
  x = examples.arrays(x)
  whole = fn(x)
  if masker is not None:
    checks.no_masker(infidelity, perturbation=perturbation, baseline=baseline)
    parts = checks.constructor(masker)(x, key=key)
    values = maps.per_player(scores, parts)

    def sample(i):
      hidden = sampling.uniform(sampling.draw_key(key, i), values) < 0.5
      hidden = hidden.astype(values.dtype)
      return jnp.sum(hidden * values), whole - fn(parts.hide(1 - hidden))

  else:
    slopes = maps.per_entry(scores, x)
    if baseline is not None:
      slopes = per_unit(slopes, x, baseline, key=key)

    def sample(i):
      change = perturbation(sampling.draw_key(key, i), x)
      return jnp.sum(change * slopes), whole - fn(x - change)

  promised, changes = sampling.batched_map(
    sample, jnp.arange(num_samples), batch_size=batch_size
  )
  beta = jnp.ones((), examples.result_dtype(x))
  if rescale:
    squares = jnp.sum(promised**2)
    # A map that promises nothing has no scale.
    beta = jnp.sum(promised * changes) / jnp.where(squares > 0, squares, 1)
  errors = (beta * promised - changes) ** 2
  out = Infidelity(
    infidelity=jnp.mean(errors),
    stderr=sampling.standard_error(jnp.var(errors), num_samples),
    beta=beta,
  )
  return maps.if_finite(out, scores)


def per_unit(
  scores: Float[Array, '*x'],
  x: Float[Array, '*x'],
  baseline: baselines.Baseline,
  *,
  key: Key[Array, ''] | None = None,
) -> Float[Array, '*x']:
  """Returns differences of a score as slopes: `scores / (x - baseline)`.

  Where `x` is at its baseline the slope is 0: nothing is claimed there.

  Args:
    scores: they sum to the score's difference from the baseline.
    x: the example.
    baseline: a number, an array or a function.
    key: where the baseline draws.
  """
  way = x - baselines.evaluate(baseline, x, key)
  slopes = jnp.where(way == 0, 0, scores / jnp.where(way == 0, 1, way))
  return maps.if_finite(slopes, scores)


def max_sensitivity(
  fn: types.ScoreFn,
  x: Float[Array, '*x'],
  scores: Float[Array, '...'],
  *,
  method: types.Method,
  key: Key[Array, ''],
  radius: types.Scalar = 0.02,
  num_samples: int = 10,
  batch_size: int | None = 1,
) -> MaxSensitivity:
  """Measures how much a map changes within a box about the example.

  A map that does not change has 0, be it zero; a zero map that changes has
  infinity, and a map that is not finite NaN.

  Args:
    fn: score of one example.
    x: the example.
    scores: the map at `x`.
    method: made the map. A method that draws gets one key for all: its own
      randomness does not count, if the map at `x` was made with
      `sampling.key_for(key, sampling.METHOD)`.
    key: consumed.
    radius: half the side of the box, in the units of `x`.
    num_samples: uniform draws from the box.
    batch_size: maps made at once, one by default; `None` makes all.
  """
  checks.within('radius', radius, '(0, inf)')
  checks.count('num_samples', num_samples)
  maps.matching(scores, x)

  def change(i):
    shift = sampling.uniform(sampling.draw_key(key, i + 1), x, low=-1)
    method_key = sampling.key_for(key, sampling.METHOD)
    other = method(fn, x + radius * shift, key=method_key)
    return jnp.sqrt(jnp.sum((other.scores - scores) ** 2))

  changes = sampling.batched_map(
    change, jnp.arange(num_samples), batch_size=batch_size
  )
  changes = maps.relative(changes, jnp.sqrt(jnp.sum(scores**2)))
  out = MaxSensitivity(jnp.max(changes), jnp.mean(changes))
  return maps.if_finite(out, scores)
