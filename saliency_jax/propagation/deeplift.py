"""DeepLIFT: what each feature does between a baseline and the example.

Multipliers `m` go back over the equations of `f`, whatever it is written in, by
rules that keep

    sum m (x - b) = f(x) - f(b)

exactly, equation by equation (see `multipliers`). The scores `m (x - b)` are
complete up to rounding; averaged over baselines they are DeepSHAP's.

References:
  Shrikumar, Greenside, Kundaje, Learning important features through propagating
  activation differences, 2017. https://arxiv.org/abs/1704.02685
  Lundberg, Lee, A unified approach to interpreting model predictions, 2017.
  https://arxiv.org/abs/1705.07874
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jax.extend import core
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from typing_extensions import TypeAliasType

from saliency_jax.core import baselines
from saliency_jax.core import checks
from saliency_jax.core import completeness
from saliency_jax.core import examples
from saliency_jax.core import jaxprs
from saliency_jax.core import sampling
from saliency_jax.core import tapes
from saliency_jax.core import types
from saliency_jax.propagation import multipliers

# `(tape at x, tape at the baseline, variables) -> contribution of each`.
Rule = TypeAliasType(
  'Rule', Callable[[tapes.Tape, tapes.Tape, Sequence[core.Var]], list[Any]]
)


class DeepLiftInfo(NamedTuple):
  """How complete the scores are, and how far they depend on the baseline.

  Attributes:
    completeness_error: `|sum of scores - (f(x) - f(b))|`, its mean over the
      baselines.
    relative_error: `|sum of scores - (f(x) - mean f(b))|` over
      `|f(x) - mean f(b)|`.
    score: `f(x)`.
    baseline_score: `f(b)`, its mean over the baselines.
    stderr: standard error of each score over the baselines; infinite for one.
  """

  completeness_error: Float[Array, '']
  relative_error: Float[Array, '']
  score: Float[Array, '']
  baseline_score: Float[Array, '']
  stderr: Any


def deeplift(
  fn: types.ScoreFn,
  x: types.Example,
  *,
  key: Key[Array, ''] | None = None,
  baseline: baselines.Baseline = baselines.black,
  num_baselines: int = 1,
  at: str | None = None,
  rule: Rule = multipliers.rescale,
  unroll: int = 32,
  batch_size: int | None = 8,
) -> types.Attribution:
  """Multiplies the way from a baseline with multipliers that are complete.

  Args:
    fn: score of one example.
    x: the example.
    key: for baselines that are drawn; required for several.
    baseline: a number, an array or a function, which draws each of several
      baselines with a key of its own (`baselines.reference`: one of a set).
    num_baselines: baselines over which the scores are averaged.
    at: the name of an intermediate (`jax.ad_checkpoint.checkpoint_name`) whose
      entries are scored in the place of those of `x`. Their scores are complete
      if all of `x` goes through it.
    rule: what variables contribute between two tapes: `multipliers.rescale`, or
      `reveal_cancel.reveal_cancel`, which keeps apart what pushes up and down.
    unroll: loops by `scan` of at most so many steps are written out; longer
      ones have no rule.
    batch_size: baselines held in memory at once; `None` holds them all.

  Raises:
    ValueError: for more than one score, a baseline unlike `x`, several without
      a key, a name that is not there, or an equation without a rule: a long
      loop, a branch, or a primitive that is not known.

  Examples:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import saliency_jax
    >>> fn = lambda x: jax.nn.relu(x @ jnp.array([3.0, -1.0, 1.0]) - 1)
    >>> maps, info = saliency_jax.deeplift(fn, jnp.ones(3), baseline=0.0)
    >>> print(np.asarray(maps).round(3))  # They sum to fn(x) - fn(0) = 2.
    [ 2.    -0.667  0.667]
  """
  checks.count('num_baselines', num_baselines)
  checks.count('unroll', unroll, 0)
  x = examples.floats(x)
  fn, wide = examples.widened(fn, x)
  tape = _record(fn, wide, unroll)
  outvars = tape.closed.jaxpr.outvars
  score = jnp.asarray(tapes.read(tape, outvars)[0])
  if len(outvars) > 1 or score.ndim:
    shapes = [v.aval.shape for v in outvars]
    raise ValueError(
      f'expected fn to return one number, got shapes {shapes}: take one '
      'output, such as by scores.logit(apply, params, label)'
    )
  invars = tape.closed.jaxpr.invars
  explained = invars if at is None else [tapes.named(tape, at)]

  def against(i):
    draws = key is not None or num_baselines > 1
    own = sampling.draw_key(key, i) if draws else None
    start = examples.wide(baselines.evaluate(baseline, x, own))
    base = tapes.replay(tape, start)
    scores = rule(tape, base, explained)
    (base_score,) = map(jnp.asarray, tapes.read(base, outvars))
    error, _ = completeness.errors(
      completeness.total(scores), score, base_score
    )
    return scores, base_score, error

  mean, variance = sampling.batched_moments(
    against, jnp.arange(num_baselines), batch_size=batch_size
  )
  scores, baseline_score, error = mean
  stderr = sampling.standard_error(variance[0], num_baselines)
  _, relative = completeness.errors(
    completeness.total(scores), score, baseline_score
  )
  if at is None:
    scores, stderr = (
      tape.in_tree.unflatten(leaves)[0] for leaves in (scores, stderr)
    )
  else:
    (scores,), (stderr,) = scores, stderr
  info = DeepLiftInfo(error, relative, score, baseline_score, stderr)
  return examples.attribution(x, scores, info)


def _record(fn, x, unroll):
  """Returns a tape on which all that depends on `x` moves.

  The values of a baseline differ in constants of the gradient too: truth
  values, and what `stop_gradient` holds fast.
  """
  tape = tapes.record(fn, x, unroll=unroll)
  depends = jaxprs.environment(
    tape.closed,
    *(True for _ in tape.closed.jaxpr.invars),
    rule=lambda eqn, *inputs: (
      [any(a is True for a in inputs)] * len(eqn.outvars)
    ),
  )
  moving = frozenset(v for v, value in depends.items() if value is True)
  return tape._replace(moving=moving)
