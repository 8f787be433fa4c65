"""Expected gradients: integrated gradients from baselines that are drawn.

The scores are the mean of `(x - r) * grad f(r + a (x - r))` over references `r`
and `a ~ U[0, 1]`, and sum to `f(x)` less the mean of `f` over the references.

References:
  Erion et al., Improving performance of deep learning models with axiomatic
  attribution priors and expected gradients, 2021.
  https://arxiv.org/abs/1906.10670
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree
import numpy as np

from saliency_jax.core import checks
from saliency_jax.core import completeness
from saliency_jax.core import examples
from saliency_jax.core import sampling
from saliency_jax.core import stopping
from saliency_jax.core import types
from saliency_jax.gradients import integrated


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
    path, difference = integrated.line(wide, reference(row))
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
