"""Integrated gradients: the gradient along the line from a baseline.

With a baseline `b` the scores are `(x - b) * integral_0^1 grad f(b + a (x - b))
da`, and sum to `f(x) - f(b)` (completeness).

References:
  Sundararajan, Taly, Yan, Axiomatic attribution for deep networks, 2017.
  https://arxiv.org/abs/1703.01365
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np

from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import completeness
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import types
from saliency_jax.gradients import quadrature


class IntegratedGradientsInfo(NamedTuple):
  """How complete the scores are.

  Attributes:
    completeness_error: `|sum of scores - (f(x) - f(b))|`.
    relative_error: the same over `|f(x) - f(b)|`.
    score: `f(x)`.
    baseline_score: `f(b)`.
  """

  completeness_error: Float[Array, '']
  relative_error: Float[Array, '']
  score: Float[Array, '']
  baseline_score: Float[Array, '']


class AdaptiveInfo(NamedTuple):
  """How complete the scores are, and what that took.

  Attributes:
    completeness_error: `|sum of scores - (f(x) - f(b))|`.
    relative_error: the same over `|f(x) - f(b)|`.
    score: `f(x)`.
    baseline_score: `f(b)`.
    num_steps: gradients on the path, its two ends included.
    converged: whether the error met the tolerance.
    change: how much the last doubling moved the map, as a fraction of its L1
      norm: the sum of the scores may be right before each of them is.
  """

  completeness_error: Float[Array, '']
  relative_error: Float[Array, '']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  num_steps: Int[Array, '']
  converged: jax.Array
  change: Float[Array, '']


def integrated_gradients(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  baseline: baselines.Baseline = baselines.black,
  num_steps: int = 64,
  quadrature_fn: quadrature.Rule = quadrature.midpoint,
  batch_size: int | None = 8,
) -> types.Attribution:
  """Integrates `grad fn` along the line from a baseline to `x`.

  The paper sums over the right ends of 20 to 300 intervals
  (`quadrature.right_riemann`); midpoints are one order more accurate. Deep
  networks have kinks, and need many steps all the same: read the error.

  Args:
    fn: score of one example.
    x: the example.
    key: for a baseline that draws.
    baseline: where the path starts: a number, an array or a function.
    num_steps: nodes on the path, each one gradient.
    quadrature_fn: `num_steps -> (nodes, weights)` on [0, 1].
    batch_size: gradients held in memory at once; `None` holds them all.

  Raises:
    ValueError: for a baseline unlike `x`, or too few steps for the rule.

  Examples:
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> fn, x = lambda x: (x**2).sum(), jnp.arange(3.0)
    >>> maps, info = saliency_jax.integrated_gradients(fn, x, baseline=0.0)
    >>> print(np.asarray(maps).round(3), info.baseline_score)
    [0. 1. 4.] 0.0
  """
  x = examples.floats(x)
  start = examples.wide(baselines.evaluate(baseline, x, key))
  fn, wide = examples.widened(fn, x)
  path, difference = line(wide, start)
  nodes, weights = quadrature_fn(num_steps)

  def weighted_grad(step):
    node, weight = step
    grad = jax.grad(fn)(path(node))
    return jax.tree.map(lambda g: g * weight.astype(g.dtype), grad)

  mean_grad = sampling.batched_mean(
    weighted_grad,
    # A mean of n terms is made a weighted sum.
    (jnp.asarray(nodes), jnp.asarray(weights * len(weights))),
    batch_size=batch_size,
  )
  scores = jax.tree.map(jnp.multiply, difference, mean_grad)
  baseline_score, score = _ends(fn, start, wide)
  error, relative = completeness.errors(
    completeness.total(scores), score, baseline_score
  )
  info = IntegratedGradientsInfo(error, relative, score, baseline_score)
  return examples.attribution(x, scores, info)


def adaptive_integrated_gradients(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  baseline: baselines.Baseline = baselines.black,
  tolerance: types.Scalar = 0.01,
  min_steps: int = 32,
  max_steps: int = 2048,
  batch_size: int | None = 8,
) -> types.Attribution:
  """Integrates `grad fn` with as many steps as completeness asks for.

  The trapezoid rule is doubled, its nodes used again, until the sum of the
  scores is within `tolerance |f(x) - f(b)|` of `f(x) - f(b)`. It is one
  compiled loop whose length depends on the example: under `vmap` it runs as
  long as the slowest example, and it has no reverse derivative.

  Args:
    fn: score of one example.
    x: the example.
    key: for a baseline that draws.
    baseline: where the path starts: a number, an array or a function.
    tolerance: largest relative completeness error accepted.
    min_steps: intervals before which no error is believed, a power of two.
    max_steps: intervals after which the loop ends, a power of two; `info` then
      says that it has not converged.
    batch_size: gradients held in memory at once, rounded down to a power of
      two of at most `min_steps`; `None` takes `min_steps`.

  Raises:
    ValueError: for a baseline unlike `x`, a number of steps that is no power of
      two, or `min_steps > max_steps`.

  Examples:
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> fn, x = lambda x: (x**2).sum(), jnp.arange(3.0)
    >>> maps, info = saliency_jax.adaptive_integrated_gradients(fn, x)
    >>> print(np.asarray(maps).round(3), info.converged)
    [0. 1. 4.] True
  """
  checks.within('tolerance', tolerance, '(0, inf)')
  for name, count in (('min_steps', min_steps), ('max_steps', max_steps)):
    checks.count(name, count)
    if count & (count - 1):
      raise ValueError(f'{name} must be a power of two, got {count}')
  checks.count('min_steps', min_steps, 1, max_steps)
  batch_size = min_steps if batch_size is None else batch_size
  checks.count('batch_size', batch_size)
  batch_size = min(1 << (batch_size.bit_length() - 1), min_steps)
  x = examples.floats(x)
  start = examples.wide(baselines.evaluate(baseline, x, key))
  fn, wide = examples.widened(fn, x)
  path, difference = line(wide, start)
  baseline_score, score = _ends(fn, start, wide)
  bits = max_steps.bit_length() - 1

  def batch_scores(i):
    """Returns the summed terms of batch `i` of the nodes."""
    index = i * batch_size + jnp.arange(batch_size, dtype=i.dtype)
    grads = jax.vmap(lambda k: jax.grad(fn)(path(_radical_inverse(k, bits))))(
      index
    )
    # Node 0 stands for both ends, and its gradient is added apart.
    return jax.tree.map(
      lambda d, g: d * jnp.sum(jnp.where(_column(index, g) > 0, g, 0), 0),
      difference,
      grads,
    )

  def step(state):
    total = jax.tree.map(jnp.add, state.total, batch_scores(state.batch))
    steps = (state.batch + 1) * batch_size
    # Only a power of two makes the nodes an evenly spaced rule.
    rule = jnp.bitwise_and(steps, steps - 1) == 0
    new = jax.tree.map(lambda t: t / steps.astype(t.dtype), total)
    moved = _l1(jax.tree.map(jnp.subtract, new, state.scores))
    change = completeness.ratio(moved, _l1(new))
    _, relative = completeness.errors(
      completeness.total(new), score, baseline_score
    )
    converged = rule & (steps >= min_steps) & (relative <= tolerance)
    scores = jax.tree.map(lambda n, o: jnp.where(rule, n, o), new, state.scores)
    return _AdaptiveState(
      batch=state.batch + 1,
      total=total,
      scores=scores,
      change=jnp.where(rule, change, state.change),
      converged=converged,
    )

  zeros = jax.tree.map(jnp.zeros_like, wide)
  ends = jax.vmap(lambda a: jax.grad(fn)(path(a)))(jnp.arange(2.0))
  state = _AdaptiveState(
    batch=jnp.array(0, jnp.int32),
    total=jax.tree.map(lambda d, g: d * jnp.mean(g, 0), difference, ends),
    scores=zeros,
    change=jnp.ones_like(score),
    converged=jnp.array(False),
  )
  state = jax.lax.while_loop(
    lambda s: ~s.converged & (s.batch * batch_size < max_steps), step, state
  )
  error, relative = completeness.errors(
    completeness.total(state.scores), score, baseline_score
  )
  info = AdaptiveInfo(
    completeness_error=error,
    relative_error=relative,
    score=score,
    baseline_score=baseline_score,
    num_steps=state.batch * batch_size + 1,
    converged=state.converged,
    change=state.change,
  )
  return examples.attribution(x, state.scores, info)


class _AdaptiveState(NamedTuple):
  batch: Int[Array, '']
  total: types.Example  # Sum of the terms so far, before division.
  scores: types.Example  # The last whole rule.
  change: Float[Array, '']
  converged: jax.Array


def line(
  x: types.Example, start: types.Example
) -> tuple[Callable[[Float[Array, '']], types.Example], types.Example]:
  """Returns the line `a -> start + a (x - start)`, and `x - start`."""
  difference = jax.tree.map(jnp.subtract, x, start)

  def path(a):
    return jax.tree.map(
      lambda s, d: s + a.astype(s.dtype) * d, start, difference
    )

  return path, difference


def _ends(fn, start, x):
  """Returns `fn(start), fn(x)`, tracing `fn` once."""
  pair = jax.tree.map(lambda *leaves: jnp.stack(leaves), start, x)
  return tuple(jax.vmap(fn)(pair))


def _radical_inverse(k, bits):
  """Returns the `bits`-bit number `k` mirrored at the point: van der Corput.

  The first `2^m` values are the multiples of `2^-m`, so that each doubling
  falls between the nodes before it.
  """
  places = jnp.asarray(0.5 ** np.arange(1, bits + 1))
  digits = jnp.right_shift(k, jnp.arange(bits, dtype=k.dtype)) & 1
  return jnp.sum(digits.astype(places.dtype) * places)


def _column(index, like):
  return index.reshape(-1, *[1] * (like.ndim - 1))


def _l1(tree):
  return sum(jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree))
