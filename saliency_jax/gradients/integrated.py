"""Integrated and expected gradients: the gradient along paths to a baseline.

With a baseline `b` the scores are `(x - b) * integral_0^1 grad f(b + a (x - b))
da`, and sum to `f(x) - f(b)` (completeness). Expected gradients average them
over baselines drawn from references.

References:
  Sundararajan, Taly, Yan, Axiomatic attribution for deep networks, 2017.
  https://arxiv.org/abs/1703.01365
  Erion et al., Improving performance of deep learning models with axiomatic
  attribution priors and expected gradients, 2021.
  https://arxiv.org/abs/1906.10670
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree
import numpy as np

from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import completeness
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import stopping
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


class ExpectedGradientsInfo(NamedTuple):
  """How far the estimate may be from its expectation, and how complete it is.

  Attributes:
    stderr: standard error of each score.
    completeness_error: `|sum of scores - (f(x) - mean of f(references))|`.
    relative_error: the same over `|f(x) - mean of f(references)|`.
    completeness_stderr: standard error of the sum of the scores, the scale of
      the error that chance alone gives.
    score: `f(x)`.
    baseline_score: the mean of `f` over the references.
    draws: how many they are, and whether a tolerance is met.
  """

  stderr: types.Example
  completeness_error: Float[Array, '']
  relative_error: Float[Array, '']
  completeness_stderr: Float[Array, '']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  draws: stopping.Draws


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
  path, difference = _line(wide, start)
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
  path, difference = _line(wide, start)
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


def expected_gradients(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  references: PyTree[Float[Array | np.ndarray, 'n ...']],
  key: Key[Array, ''] | None = None,
  num_samples: int = 200,
  batch_size: int | None = 8,
  tolerance: types.Scalar | None = None,
  start: types.Attribution | None = None,
) -> types.Attribution:
  """Averages the terms of integrated gradients over baselines and positions.

  Draw `i` is `(x - r) grad f(r + a (x - r))`, with `r` one of the references
  and `a ~ U[0, 1]`.

  Args:
    fn: score of one example.
    x: the example.
    references: `[n, *x]`, examples from the data, equally likely.
    key: consumed; required.
    num_samples: draws; the most of them with a tolerance.
    batch_size: draws held in memory at once; `None` holds them all.
    tolerance: draws until the largest standard error is no more: see
      `core/stopping.py`.
    start: an earlier map with the same key and settings, whose draws are the
      first of these.

  Raises:
    ValueError: without a key or a draw, or for references unlike `x`.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> fn = lambda x: x @ jnp.array([1.0, 2.0, 3.0])
    >>> maps, info = saliency_jax.expected_gradients(
    ...   fn, jnp.ones(3), references=jnp.zeros((4, 3)), key=jax.random.key(0)
    ... )
    >>> print(np.asarray(maps).round(3))
    [1. 2. 3.]
  """
  checks.count('num_samples', num_samples)
  x, references = examples.floats(x), examples.floats(references)
  fn, wide = examples.widened(fn, x)
  num_references = jax.tree.leaves(references)[0].shape[0]
  checks.count('the number of references', num_references)

  def reference(row):
    return examples.wide(jax.tree.map(lambda a: a[row], references))

  checks.same_shape('each of references', reference(0), wide)

  def draw(i):
    which, where = jax.random.uniform(sampling.draw_key(key, i), (2,))
    row = jnp.minimum(
      (which * num_references).astype(jnp.int32), num_references - 1
    )
    path, difference = _line(wide, reference(row))
    grad = jax.grad(fn)(path(where))
    scores = jax.tree.map(jnp.multiply, difference, grad)
    return scores, completeness.total(scores)

  if start is not None:
    earlier = stopping.info_of(start, ExpectedGradientsInfo)
    start = stopping.restored(
      (start.scores, completeness.total(examples.wide(start.scores))),
      (earlier.stderr, earlier.completeness_stderr),
      earlier.draws,
    )
  (scores, total), variances, draws = stopping.moments(
    draw,
    num_samples,
    batch_size=batch_size,
    tolerance=tolerance,
    start=start,
    watched=lambda means, variances: variances[0],
  )
  stderr, total_stderr = stopping.standard_error(variances, draws)
  score = fn(wide)
  baseline_score = sampling.batched_mean(
    lambda row: fn(reference(row)),
    jnp.arange(num_references),
    batch_size=batch_size,
  )
  error, relative = completeness.errors(total, score, baseline_score)
  info = ExpectedGradientsInfo(
    stderr, error, relative, total_stderr, score, baseline_score, draws
  )
  return examples.attribution(x, scores, info)


class _AdaptiveState(NamedTuple):
  batch: Int[Array, '']
  total: types.Example  # Sum of the terms so far, before division.
  scores: types.Example  # The last whole rule.
  change: Float[Array, '']
  converged: jax.Array


def _line(x, start):
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
